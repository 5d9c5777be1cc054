"""`netlog watch` as a process of its own, for the tests."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from namespace import Namespace
from runs import ROOT, Running

WATCH = (sys.executable, "-W", "error", "-m", "netlog", "watch", "--poll-period", "0.2")


@contextlib.contextmanager
def watching(
    namespace: Namespace, folder: Path, *options: str, prefix: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a watch, not necessarily to the point where it counts; whatever happens, end it.

    `prefix` is a command that becomes the watch.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = namespace.popen(
            *prefix,
            *WATCH,
            *options,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    try:
        yield Running(process, namespace, folder)
    finally:
        process.kill()
        process.wait()


def counts(running: Running, name: str, times: int = 1) -> bool:
    """Whether a tap has begun to count so often; a process that has ended never will."""
    assert running.process.poll() is None, running.said
    return running.said.count(f"{name}: counting") >= times
