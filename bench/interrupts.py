"""Interrupts, and the batches that they prolonged: what says nothing about a meter is left out.

An interrupt prolongs one batch. So as many of the longest batches are left out as there were
interrupts; if something else made batches as long, that many of them remain and are seen.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERRUPTS", "interrupts", "longest_left_out"]

INTERRUPTS = Path("/proc/interrupts")


def interrupts(processor: int) -> int:
    """How many a processor has had since the machine started, of all kinds."""
    heading, *lines = INTERRUPTS.read_text().splitlines()
    column = heading.split().index(f"CPU{processor}")
    # Behind the name of a kind stands a number for each processor, or for all of them one.
    kinds = [line.split()[1:] for line in lines]
    return sum(int(kind[column]) for kind in kinds if len(kind) > column and kind[column].isdigit())


def longest_left_out(times: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """All but the n longest, sorted; of no more than n none."""
    return np.sort(times)[: max(0, len(times) - n)]
