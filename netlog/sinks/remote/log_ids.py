"""The ids of an upload to a logtail server."""

import hashlib
import re
import secrets

__all__ = ["check_private_id", "new_private_id", "public_id"]

ID = re.compile(r"[0-9a-fA-F]{64}")
ID_BYTES = 32


def new_private_id() -> str:
    """Make a private id: 64 hexadecimal digits, the only credential of an upload.

    Source: Tailscale's types/logid.
    """
    number = bytearray(secrets.token_bytes(ID_BYTES))
    number[0] &= 248
    number[31] = (number[31] & 127) | 64
    return number.hex()


def public_id(private_id: str) -> str:
    """Return the public id of a private id. It names the log but does not permit writing to it.

    Args:
        private_id: 64 hexadecimal digits.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: `private_id` is not valid. The text does not contain it.
    """
    return hashlib.sha256(bytes.fromhex(check_private_id(private_id, "private_id"))).hexdigest()


def check_private_id(text: str, name: str) -> str:
    """Return the id in lower case.

    Args:
        text: the id.
        name: the caller's name for it, for the error.

    Raises:
        ValueError: the id is not a private id. The text does not contain it.
    """
    if not ID.fullmatch(text):
        raise ValueError(f"{name}: expected 64 hexadecimal digits; make one with `netlog newid`")
    number = bytes.fromhex(text)
    if number[0] & 7 or number[31] & 192 != 64:  # noqa: PLR2004 - the bits that are fixed
        raise ValueError(f"{name}: not a private id; make one with `netlog newid`")
    return text.lower()
