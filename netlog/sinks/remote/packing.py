"""Bodies made smaller: gzip, or zstd where it is there."""

import gzip
import importlib

from netlog.errors import MissingExtraError

__all__ = ["COMPRESSIONS", "check_compression", "pack"]

COMPRESSIONS = ("none", "gzip", "zstd")
GZIP_LEVEL = 1
ZSTD_LEVEL = 1
"""The fastest: flow logs shrink to a tenth already, and the gateway has packets to move."""
ZSTD_MODULES = ("compression.zstd", "backports.zstd")


def check_compression(how: str) -> None:
    """Raise if bodies can not be packed like that here.

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
        return _zstd(body)
    return body


def _zstd(body: bytes) -> bytes:
    for name in ZSTD_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        packed: bytes = module.compress(body, ZSTD_LEVEL)
        return packed
    raise MissingExtraError("packing bodies with zstd", "zstd")
