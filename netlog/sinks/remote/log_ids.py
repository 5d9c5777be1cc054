"""The ids that an upload to a logtail server goes by."""

import hashlib
import re
import secrets

__all__ = ["check_private_id", "new_private_id", "public_id"]

ID = re.compile(r"[0-9a-fA-F]{64}")
ID_BYTES = 32


def new_private_id() -> str:
    """Make a private id: 64 hexadecimal digits that are the only credential of an upload.

    Source: Tailscale's types/logid.
    """
    number = bytearray(secrets.token_bytes(ID_BYTES))
    number[0] &= 248
    number[31] = (number[31] & 127) | 64
    return number.hex()


def public_id(private_id: str) -> str:
    """The id that names the log of a private id, and does not let anybody write to it.

    Args:
        private_id: 64 hexadecimal digits.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: that is no private id. It is not repeated in the text.
    """
    return hashlib.sha256(bytes.fromhex(check_private_id(private_id, "private_id"))).hexdigest()


def check_private_id(text: str, name: str) -> str:
    """The id in lower case.

    Args:
        text: of the id.
        name: what the caller calls it, for the error.

    Raises:
        ValueError: that is no private id. It is not repeated in the text.
    """
    if not ID.fullmatch(text):
        raise ValueError(f"{name}: expected 64 hexadecimal digits, as `netlog newid` makes them")
    number = bytes.fromhex(text)
    if number[0] & 7 or number[31] & 192 != 64:  # noqa: PLR2004 - the bits that are fixed
        raise ValueError(f"{name}: not a private id, as `netlog newid` makes them")
    return text.lower()
