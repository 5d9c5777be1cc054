"""The `netlog` command's first step: until all of it is loaded, Ctrl-C just ends it.

This stands outside of the package because loading a package's module loads the package, and numpy
with it; in that time Python's own handler would answer Ctrl-C with a traceback.
"""

import signal

__all__ = ["main"]


def main() -> int:
    """Load the command line and run it; see `netlog.cli.main`."""
    # Nothing is made yet that would have to be cleaned up.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from netlog.cli import main as command  # noqa: PLC0415 - see above

    return command()


if __name__ == "__main__":
    raise SystemExit(main())
