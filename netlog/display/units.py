"""Quantities as text for a person."""

__all__ = ["binary_rate", "binary_size", "counted", "decimal_rate", "plural"]

KIBI = 1024
SMALLER_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
KILO = 1000
MAX_PLAIN = 100_000
"""Rates below it have no prefix: six digits and a point are no wider than `1000.0k`."""


def counted(count: int, noun: str, nouns: str = "") -> str:
    """A number of things: `1 packet`, `2 packets`; `nouns` for a plural that is not `noun` + s."""
    return f"{count} {plural(count, noun, nouns)}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """The word for a number of things, without the number."""
    return noun if count == 1 else nouns or f"{noun}s"


def binary_size(n_bytes: int) -> str:
    """A number of bytes in a binary unit (IEC 80000-13), with one decimal; plain below 1 KiB."""
    return f"{n_bytes} B" if n_bytes < KIBI else binary_rate(n_bytes)


def binary_rate(bytes_per_s: float) -> str:
    """Bytes per second in a binary unit, with one decimal and without the `/s`."""
    size = float(bytes_per_s)
    for unit in SMALLER_UNITS:
        if size < KIBI:
            return f"{size:.1f} {unit}"
        size /= KIBI
    return f"{size:.1f} PiB"


def decimal_rate(per_s: float) -> str:
    """Events per second with one decimal, and with an SI prefix from 100 000 on."""
    rate, prefixes = per_s, ["", "k", "M", "G", "T"]
    if rate < MAX_PLAIN:
        return f"{rate:.1f}"
    while rate >= KILO and len(prefixes) > 1:
        rate /= KILO
        prefixes.pop(0)
    return f"{rate:.1f}{prefixes[0]}"
