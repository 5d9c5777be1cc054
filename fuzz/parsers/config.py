"""A configuration: it is right, or ConfigError names the file."""

from collections.abc import Iterator
from pathlib import Path

from netlog.config.file import parse_gateways
from netlog.errors import ConfigError

ROOT = Path(__file__).parents[2]
FENCE = "```toml\n"


def seeds() -> Iterator[bytes]:
    """Every example of the documentation, and what TOML reads with difficulty."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for text in path.read_text().split(FENCE)[1:]:
            yield text.partition("```")[0].encode()
    yield b"a = " + b"9" * 4301
    yield b"a = " + b"[" * 1000


def fuzz(data: bytes) -> None:
    """Read it."""
    try:
        parse_gateways(data.decode("utf-8", "replace"), "x.toml")
    except ConfigError as error:
        assert str(error).startswith("x.toml")
