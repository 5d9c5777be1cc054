"""What all tests share: the `root` marker, hypothesis without deadlines, and what suite.py has."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.namespace import missing_rights
from tests.support.suite import pytest_runtest_makereport

__all__ = ["fast_dir", "pytest_collection_modifyitems", "pytest_runtest_makereport"]

# Time never decides whether a test passes: machines are shared.
settings.register_profile("netlog", deadline=None)
settings.load_profile("netlog")


@pytest.fixture
def fast_dir() -> Iterator[Path]:
    """A directory in memory, if there is one: for tests that sync thousands of times."""
    shm = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as made:
        yield Path(made)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `root` where a namespace with a TUN cannot be made, and say why."""
    marked = [item for item in items if item.get_closest_marker("root")]
    reason = missing_rights() if marked else None
    if reason is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
