"""How long to wait after a failure."""

import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """Exponential, with full jitter, so that many clients do not come back at once.

    Attributes:
        first_s: the longest wait after the first failure.
        max_s: after any; reached by doubling.
        max_retry_after_s: the longest that the other side can ask for.
        between: a number between two, at random.

    Source: Tailscale's logtail for the five minutes.
    """

    first_s: float = 1.0
    max_s: float = 60.0
    max_retry_after_s: float = 300.0
    between: Callable[[float, float], float] = random.uniform
    _failures: int = 0

    def after_failure(self, retry_after_s: float | None = None) -> float:
        """How long to wait now.

        Args:
            retry_after_s: what the other side asked for, if it did.

        Returns:
            Seconds.
        """
        doublings = min(self._failures, 32)
        self._failures += 1
        if retry_after_s is not None:
            return max(0.0, min(retry_after_s, self.max_retry_after_s))
        return self.between(0.0, min(self.max_s, self.first_s * 2**doublings))

    def succeeded(self) -> None:
        """Begin anew at the next failure."""
        self._failures = 0
