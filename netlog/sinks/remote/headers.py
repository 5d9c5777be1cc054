"""What a header of a request may be. Needs no urllib3: configurations are checked by it too."""

import re
from collections.abc import Mapping

__all__ = ["check_headers", "is_header_name", "is_header_value"]

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2."""


def is_header_name(text: str) -> bool:
    """Whether a header can have this name. Thread safety: any thread."""
    return _TOKEN.fullmatch(text) is not None


def is_header_value(text: str) -> bool:
    """Whether a header can have this value: printable ASCII. Thread safety: any thread."""
    return text.isascii() and text.isprintable()


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise if these headers cannot be sent.

    Raises:
        ValueError: a name or a value is invalid. The text does not contain the value.

    Thread safety: any thread.
    """
    for name, value in headers.items():
        if not is_header_name(name):
            raise ValueError(f"headers: {name!r} is not a valid header name")
        if not is_header_value(value):
            raise ValueError(f"headers: {name}: expected printable ASCII")
