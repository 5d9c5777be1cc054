"""A thread of a test: what goes wrong in it is the test's failure."""

import threading
from collections.abc import Callable


class Checked(threading.Thread):
    """A thread whose failure is the test's; it runs from the beginning."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Work."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in finish()
            self._error = error

    def finish(self) -> None:
        """Wait, and raise what it raised."""
        self.join()
        if self._error is not None:
            raise self._error
