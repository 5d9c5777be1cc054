"""Running the tools that build and try wheels."""

import subprocess
from pathlib import Path

__all__ = ["WheelError", "only", "run"]


class WheelError(Exception):
    """A wheel cannot be built or tried, or is not what it should be; the text says why."""


def run(
    *command: object, folder: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run a command to its end.

    Args:
        command: its words.
        folder: where it runs; None: here.
        environment: its variables; None: this process's.

    Returns:
        Its standard output.

    Raises:
        WheelError: it failed; the text has all that it wrote.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WheelError(
            f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    """The one file of a folder that matches.

    Raises:
        WheelError: there is none, or there are several.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise WheelError(f"{folder}: expected one {pattern}, found {len(found)}")
    return found[0]
