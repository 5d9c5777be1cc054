"""What these tests share with those of `tests/`."""

from tests.support.suite import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
