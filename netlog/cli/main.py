"""The command line's frame: arguments, diagnostics on standard error, exit status."""

import argparse
import contextlib
import gc
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from netlog._version import __version__
from netlog.cli.diagnostics import advice_on, describe, say
from netlog.errors import ConfigError, NetlogError

__all__ = ["main"]

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""

COMMANDS = ("run", "exec", "watch", "read", "check", "demo", "fmt", "newid")
"""Modules of this package, one per command. Only the requested one is imported: importing the
modules of a gateway takes longer than reading a capture of a million packets."""

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""How many threads numpy starts for matrix products. netlog has none, and the default of one thread
per CPU costs more CPU time than the rest of numpy's import."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the arguments after the program's name; None: those of the process.

    Returns:
        The exit status: 0 on success, 1 on failure, 2 on wrong usage or a wrong configuration.

    Thread safety: the main thread only, because commands handle signals.
    """
    _guard_standard_descriptors()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(arguments[0] if arguments else None)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="netlog: %(message)s")
    try:
        return int(options.execute(options))
    except ConfigError as error:
        say(str(error))
        return EXIT_USAGE
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_FAILURE
    except (NetlogError, OSError, MemoryError) as error:
        for line in (describe(error), *advice_on(error)):
            say(line)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of all commands if the name is not one of them."""
    parser = argparse.ArgumentParser(
        prog="netlog",
        description="Network flow logs for overlay gateways: netlog counts what crosses a TUN\n"
        "interface and a UDP socket, per connection.",
        epilog="`netlog COMMAND --help` describes a command.\nexample: netlog demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"netlog {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    with _importing():
        for name in (command,) if command in COMMANDS else COMMANDS:
            importlib.import_module(f"netlog.cli.{name}").add_parser(commands)
    return parser


@contextlib.contextmanager
def _importing() -> Iterator[None]:
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


def _guard_standard_descriptors() -> None:
    """Open descriptors 0, 1 and 2 if they are closed, so that no device gets such a number.

    Code that prints to standard output or error would otherwise write into that device.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # open(2) returns the lowest free number. That is this one: lower ones are open now.
            os.open(os.devnull, os.O_RDWR)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - for the process's life


def _abandon_stdout() -> None:
    """Redirect standard output, whose reader is gone: the interpreter flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
