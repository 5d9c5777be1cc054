"""What interrupts prolonged is left out of a writer's stalls, and nothing else."""

import os
import time

import numpy as np
import pytest

from bench.interrupts import interrupts, longest_left_out

BOUND_S = 30


@pytest.mark.parametrize(
    ("times", "n", "left"),
    [
        pytest.param([5, 1, 9, 7], 0, [1, 5, 7, 9], id="no interrupt"),
        pytest.param([5, 1, 9, 7], 2, [1, 5], id="the longest, wherever they were"),
        pytest.param([5, 60, 60, 1, 60], 2, [1, 5, 60], id="one as long that was none"),
        pytest.param([5, 1], 3, [], id="more than batches"),
    ],
)
def test_longest_are_left_out(times: list[int], n: int, left: list[int]) -> None:
    """As many as there were interrupts."""
    assert longest_left_out(np.array(times, np.uint32), n).tolist() == left


def test_interrupts_of_a_processor_are_counted() -> None:
    """One that is busy has a timer's, sooner or later; one that the machine has not is an error."""
    processor = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        counted, deadline = interrupts(processor), time.monotonic() + BOUND_S
        while interrupts(processor) == counted:
            assert time.monotonic() < deadline
    finally:
        os.sched_setaffinity(0, before)
    with pytest.raises(ValueError, match="CPU100000"):
        interrupts(100_000)
