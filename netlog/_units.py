"""Quantities as a person reads them."""

__all__ = ["binary_size"]

KIBI = 1024


def binary_size(n_bytes: int) -> str:
    """A number of bytes in a binary unit (IEC 80000-13), with one digit behind the point."""
    size, units = float(n_bytes), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= KIBI and len(units) > 1:
        size /= KIBI
        units.pop(0)
    return f"{n_bytes} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
