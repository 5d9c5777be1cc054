"""Tests that are run in two lengths: `make test` has the short one, `make test-all` both."""

import pytest

__all__ = ["short_and_soak"]


def short_and_soak(name: str, short: int, soak: int) -> pytest.MarkDecorator:
    """Parametrize a test by how long it is; the longer one has the marker `soak`.

    Args:
        name: of the parameter, such as the rounds or the lines between two kills.
        short: what `make test` has time for.
        soak: what finds more.
    """
    return pytest.mark.parametrize(name, [short, pytest.param(soak, marks=pytest.mark.soak)])
