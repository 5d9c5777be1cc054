"""Imports of many modules, made cheap."""

import contextlib
import gc
import os
from collections.abc import Iterator

__all__ = ["importing"]

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""How many threads numpy starts for matrix products. netlog has none, and the default of one thread
per CPU costs more CPU time than the rest of numpy's import."""


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Keep imports cheap: numpy starts no threads, and the garbage collector does not run.

    Imports create no garbage. The environment is restored at the end, so a command's child
    processes get the environment that the user gave.
    """
    unset = BLAS_THREADS not in os.environ
    if unset:
        os.environ[BLAS_THREADS] = "1"
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # imported objects live as long as the process: never search them again
        if collected:
            gc.enable()
        if unset:
            del os.environ[BLAS_THREADS]
