"""The command line's frame: arguments, diagnostics on standard error, exit status."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from netlog._version import __version__
from netlog.cli.commands import COMMANDS, add_command
from netlog.cli.diagnostics import advice_on, describe, say
from netlog.cli.importing import importing
from netlog.errors import ConfigError, NetlogError

__all__ = ["main"]

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""

SILENT = ("fmt", "newid")
"""Commands that log nothing: they start sooner without `logging`."""


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
    parser = _parser(next((each for each in arguments if not each.startswith("-")), None))
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    if options.command not in SILENT:
        _show_log()
    try:
        return int(options.execute(options))
    except ConfigError as error:
        for line in str(error).split("\n"):
            say(line)
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
    # With `prog`, argparse does not format a usage line to find it out, for which it loads shutil.
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog=parser.prog
    )
    with importing():
        if command in COMMANDS:
            importlib.import_module(f"netlog.cli.{command}").add_parser(commands)
        else:
            for name in COMMANDS:
                add_command(commands, name)
    return parser


def _show_log() -> None:
    """Write what netlog logs to standard error, in the form of its other lines there."""
    import logging  # noqa: PLC0415 - see SILENT

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="netlog: %(message)s")


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
