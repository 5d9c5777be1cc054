"""Spools in memory: they sync after every message."""

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(fast_dir: Path) -> Path:
    """As pytest's, but in memory."""
    return fast_dir
