"""The first step of the `netlog` command: while imports run, Ctrl-C simply ends the process.

This module stands outside the package, because importing any module of the package first imports
the package itself. While imports run, Python's own handler would answer Ctrl-C with a traceback.
"""

import signal

__all__ = ["main"]


def main() -> int:
    """Load the command line and run it; see `netlog.cli.main`."""
    # Nothing exists yet that needs to be cleaned up.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from netlog.cli import main as command  # noqa: PLC0415 - see above

    return command()


if __name__ == "__main__":
    raise SystemExit(main())
