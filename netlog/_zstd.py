"""The module that packs and unpacks zstd: part of Python since 3.14, a backport before."""

import importlib
import sys
from types import ModuleType

from netlog.errors import MissingExtraError

__all__ = ["load_zstd"]

_NAME = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def load_zstd(what: str) -> ModuleType:
    """Import the module.

    Args:
        what: what needs it, for the error's text.

    Raises:
        MissingExtraError: it is not installed; the text names the extra.

    Thread safety: any thread.
    """
    try:
        return importlib.import_module(_NAME)
    except ImportError as error:
        raise MissingExtraError(what, "zstd") from error
