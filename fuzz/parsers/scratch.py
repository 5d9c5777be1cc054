"""A folder of a harness's own, for as long as its process runs."""

import atexit
import shutil
import tempfile
from pathlib import Path

__all__ = ["scratch_folder"]


def scratch_folder() -> Path:
    """Make one; the runner removes those of harnesses that were killed."""
    folder = Path(tempfile.mkdtemp(prefix="netlog-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
