"""Waiting for descriptors, whatever their numbers: select(2) knows those below 1024 only."""

import select
from collections.abc import Iterable

__all__ = ["ready"]


def ready(descriptors: Iterable[int], timeout_s: float | None = None) -> set[int]:
    """Wait until there is something to read, an end or an error.

    Args:
        descriptors: open ones.
        timeout_s: at most so long; None: no limit.

    Returns:
        Those where it is so; none: the time is over, or a signal came.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else max(0.0, timeout_s) * 1000
    return {descriptor for descriptor, _ in waiting.poll(timeout_ms)}
