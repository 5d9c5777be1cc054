"""Moments as nanoseconds since the epoch, and their RFC 3339 text."""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = ["Moment", "format_rfc3339", "parse_rfc3339", "to_ns"]

Moment: TypeAlias = int | str | datetime

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

# RFC 3339 section 5.6, with at most 9 digits of a second's fraction
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def to_ns(moment: Moment, name: str) -> int:
    """Nanoseconds since the epoch of a moment in any of its forms.

    Args:
        moment: nanoseconds since the epoch, RFC 3339 text, or a datetime that knows its zone.
        name: what the caller calls it, for the error.

    Returns:
        Nanoseconds since the epoch, exact.

    Raises:
        TypeError: it is nothing of these.
        ValueError: the text is no RFC 3339, the datetime has no zone, or it is not in the years
            1 to 9999.

    Thread safety: any thread.
    """
    match moment:
        case datetime():
            if moment.tzinfo is None:
                raise ValueError(f"{name}: {moment} has no time zone")
            since = moment - _EPOCH
            return since // _SECOND * _NS + since.microseconds * 1000
        case str():
            return parse_rfc3339(moment)
        case int() if not isinstance(moment, bool):
            format_rfc3339(moment)
            return moment
        case _:
            raise TypeError(f"{name}: expected nanoseconds, RFC 3339 text or a datetime")


def format_rfc3339(ns: int) -> str:
    """RFC 3339 text in UTC, with as many of nine fractional digits as it needs.

    Args:
        ns: nanoseconds since the epoch.

    Returns:
        Such as `2022-10-01T00:00:05.45Z`.

    Raises:
        ValueError: it is not in the years 1 to 9999.
    """
    seconds, fraction = divmod(ns, _NS)
    try:
        moment = _EPOCH + seconds * _SECOND
    except OverflowError:
        raise ValueError(f"{ns} ns is not in the years 1 to 9999") from None
    digits = f"{fraction:09d}".rstrip("0")
    # isoformat() writes all four digits of a year; strftime() does not everywhere
    return moment.replace(tzinfo=None).isoformat() + ("." + digits if digits else "") + "Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch of RFC 3339 text.

    Args:
        text: with any offset from UTC and up to nine fractional digits.

    Returns:
        Nanoseconds since the epoch, exact.

    Raises:
        ValueError: it is no such text.

    Source: RFC 3339. A leap second (:60) is refused; the clocks that stamp messages have none.
    """
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r}: expected a time such as 2022-10-01T00:00:05.25Z")
    date, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{zone.upper()}")
        since = moment.astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r}: {error}") from None
    return since // _SECOND * _NS + int((fraction or "").ljust(9, "0"))
