"""Bodies made smaller: gzip, or zstd where it is there."""

import gzip

from netlog._zstd import load_zstd

__all__ = ["COMPRESSIONS", "check_compression", "pack"]

COMPRESSIONS = ("none", "gzip", "zstd")
GZIP_LEVEL = 1
ZSTD_LEVEL = 1
"""The fastest: flow logs shrink to a tenth already, and the gateway has packets to move."""


def check_compression(how: str) -> None:
    """Raise if bodies cannot be packed like that here.

    Args:
        how: one of COMPRESSIONS.

    Raises:
        ValueError: it is none of these.
        MissingExtraError: zstd is not there; the text names what brings it.
    """
    if how not in COMPRESSIONS:
        raise ValueError(f"compression: expected one of {', '.join(COMPRESSIONS)}, got {how!r}")
    pack(b"", how)


def pack(body: bytes, how: str) -> bytes:
    """Pack a body.

    Args:
        body: any bytes.
        how: one of COMPRESSIONS.

    Returns:
        One gzip member or zstd frame; for `none` the body itself.

    Raises:
        MissingExtraError: zstd is not there.
    """
    if how == "gzip":
        return gzip.compress(body, GZIP_LEVEL, mtime=0)
    if how == "zstd":
        packed: bytes = load_zstd("packing bodies with zstd").compress(body, ZSTD_LEVEL)
        return packed
    return body
