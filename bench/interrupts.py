"""Interrupts, and removing the batches that they prolonged, which say nothing about a meter.

An interrupt prolongs one batch. So as many of the longest batches are left out as there were
interrupts. If something else made batches as long, that many of them remain and are seen.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERRUPTS", "interrupts", "longest_left_out"]

INTERRUPTS = Path("/proc/interrupts")


def interrupts(processor: int) -> int:
    """Return how many interrupts of all kinds a processor has had since the machine started."""
    heading, *lines = INTERRUPTS.read_text().splitlines()
    column = heading.split().index(f"CPU{processor}")
    # After the name of a kind there is a number for each processor, or one for all of them.
    kinds = [line.split()[1:] for line in lines]
    return sum(int(kind[column]) for kind in kinds if len(kind) > column and kind[column].isdigit())


def longest_left_out(times: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """Return all but the n longest, sorted; none if there are at most n."""
    return np.sort(times)[: max(0, len(times) - n)]
