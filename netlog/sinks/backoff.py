"""How long to wait after a failure."""

import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter, so that many clients do not retry at the same moment.

    Attributes:
        first_s: the longest wait after the first failure, in seconds.
        max_s: the longest wait after any failure, in seconds; reached by doubling.
        max_retry_after_s: the longest wait that the other side can ask for, in seconds.
        between: returns a random number between its two arguments.

    Source: Tailscale's logtail for the five minutes of `max_retry_after_s`.
    """

    first_s: float = 1.0
    max_s: float = 60.0
    max_retry_after_s: float = 300.0
    between: Callable[[float, float], float] = random.uniform
    _failures: int = 0

    def after_failure(self, retry_after_s: float | None = None) -> float:
        """Record a failure and return how long to wait.

        Args:
            retry_after_s: the wait that the other side asked for, in seconds; None: it did not ask.

        Returns:
            Seconds.
        """
        doublings = min(self._failures, 32)
        self._failures += 1
        if retry_after_s is not None:
            return max(0.0, min(retry_after_s, self.max_retry_after_s))
        return self.between(0.0, min(self.max_s, self.first_s * 2**doublings))

    def succeeded(self) -> None:
        """Start again from `first_s` at the next failure."""
        self._failures = 0
