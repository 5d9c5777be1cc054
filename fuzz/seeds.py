"""Inputs that the harnesses of the core begin with, by the generators of the tests."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.captures import ETHERNET, RAW, SLL, SLL2, Interface, pcap, pcapng
from tests.unit.cli.test_read import PACKETS
from tests.unit.cli.test_read_links import LINKS, OTHERS, records, version

__all__ = ["captures", "write_parser_seeds", "write_seeds"]

# fmt: off
FRAME_LINKS = (
    0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 107, 108, 113, 127, 147, 149, 219, 228, 229, 239,
    258, 276,
)
# fmt: on
"""As in core/frame.c."""


def captures() -> Iterator[bytes]:
    """Capture files of every format, and of every link type."""
    for order in "<>":
        for nano in (False, True):
            yield pcap(PACKETS, ETHERNET, order=order, nano=nano)
        for kind in (2, 3, 6):
            interfaces = [Interface(RAW), Interface(SLL, 9, 5), Interface(SLL2, 0x94)]
            yield pcapng(PACKETS, interfaces, order=order, kind=kind)
    for link, wrap in LINKS.values():
        yield records(link, [wrap(packet.data) for packet in PACKETS])
    yield records(ETHERNET, [frame for link, frame in OTHERS.values() if link == ETHERNET])


def _capture() -> Iterator[bytes]:
    for i, text in enumerate(captures()):
        yield bytes([i * 37 & 0xFF, 99]) + text


def _frame() -> Iterator[bytes]:
    for link, wrap in LINKS.values():
        for of in (4, 6):
            packet = next(packet.data for packet in PACKETS if version(packet.data) == of)
            yield bytes([FRAME_LINKS.index(link), 0]) + wrap(packet)


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {"capture": _capture, "frame": _frame}
"""Those of other harnesses make what they need from any bytes."""


def write_seeds(harness: str, folder: Path) -> None:
    """Write the seeds of a harness into a folder, a file each."""
    for i, text in enumerate(SEEDS.get(harness, lambda: iter(()))()):
        (folder / f"seed-{i}").write_bytes(text)


def write_parser_seeds(harness: str, folder: str) -> None:
    """Write the seeds of a harness of parsers/, which has them beside it."""
    for i, text in enumerate(importlib.import_module(f"fuzz.parsers.{harness}").seeds()):
        Path(folder, f"seed-{i}").write_bytes(text)
