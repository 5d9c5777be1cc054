"""The reference of the command line, from the parsers of the commands."""

import argparse
import importlib
import re
from collections.abc import Iterator

from netlog.cli.commands import COMMANDS

__all__ = ["page"]

WIDTH = 88


def page() -> str:
    """The reference of all commands, as Markdown."""
    return "\n".join(_lines())


def _parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    commands = argparse.ArgumentParser(prog="netlog").add_subparsers()
    for name in COMMANDS:
        importlib.import_module(f"netlog.cli.{name}").add_parser(commands)
    return dict(commands.choices)


def _lines() -> Iterator[str]:
    for name, parser in _parsers().items():
        yield f"## netlog {name} {{ #{name} }}\n"
        yield _block(_usage(parser), "text")
        yield from _paragraphs(parser.description or "")
        for action in parser._actions:  # noqa: SLF001 - argparse tells of its arguments nowhere else
            if not isinstance(action, argparse._HelpAction):  # noqa: SLF001 - as above
                yield _definition(parser, action)
        yield from _epilog(parser)


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, "")  # noqa: SLF001 - as above
    return formatter.format_help().strip()


def _definition(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An argument or option, as an entry of a definition list."""
    value = action.metavar or ""
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if isinstance(value, tuple):
        value = " ".join(value)
    names = [f"{option} {value}".strip() for option in action.option_strings] or [value]
    help_text = (action.help or "") % {**vars(action), "prog": parser.prog}
    return f"`{', '.join(names)}`\n:   {_prose(help_text)}\n"


def _epilog(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The text below the options: paragraphs, then an example to copy."""
    text, _, example = (parser.epilog or "").rpartition("example: ")
    yield from _paragraphs(text)
    if example:
        yield "Example:\n"
        yield _block(example.strip(), "sh")


def _paragraphs(text: str) -> Iterator[str]:
    """Prose; a paragraph with indented lines, such as a grammar, stays as it is."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n ")):
        if re.search(r"^  ", paragraph, re.MULTILINE):
            yield _block(paragraph, "text")
        elif paragraph:
            yield f"{_prose(paragraph[0].upper() + paragraph[1:])}\n"


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```\n"


def _prose(text: str) -> str:
    """Text of a help message as Markdown: what looks like code is code, nothing else is markup."""
    words = re.split(r"(`[^`]*`|(?<![\w-])--[a-z][a-z-]*)", text)
    return "".join(
        f"`{word.strip('`')}`" if index % 2 else _escaped(word) for index, word in enumerate(words)
    )


def _escaped(text: str) -> str:
    """Text in which nothing is markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\*_\[\]{}|#])", r"\\\1", text)
