"""Moments as nanoseconds since the epoch (1970), and as RFC 3339 text."""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = ["Moment", "format_rfc3339", "parse_rfc3339", "to_ns"]

Moment: TypeAlias = int | str | datetime

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

# RFC 3339 section 5.6, with at most nine fractional digits of a second
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def to_ns(moment: Moment, name: str) -> int:
    """Convert a moment in any of its forms to nanoseconds since the epoch.

    Args:
        moment: nanoseconds since the epoch, RFC 3339 text, or a datetime with a time zone.
        name: the name of the argument in errors.

    Returns:
        Nanoseconds since the epoch, exact.

    Raises:
        TypeError: `moment` has another type.
        ValueError: the text is not RFC 3339, the datetime has no time zone, or the moment is not in
            the years 1 to 9999.

    Thread safety: any thread.
    """
    match moment:
        case datetime():
            if moment.tzinfo is None:
                raise ValueError(f"{name}: expected a datetime with a time zone, got {moment}")
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
    """Write a moment as RFC 3339 text in UTC, with up to nine fractional digits, as needed.

    Args:
        ns: nanoseconds since the epoch.

    Returns:
        Text such as `2022-10-01T00:00:05.45Z`.

    Raises:
        ValueError: the moment is not in the years 1 to 9999.
    """
    seconds, fraction = divmod(ns, _NS)
    try:
        moment = _EPOCH + seconds * _SECOND
    except OverflowError:
        raise ValueError(f"{ns} ns is not in the years 1 to 9999") from None
    digits = f"{fraction:09d}".rstrip("0")
    # isoformat() always writes a year with four digits; strftime() does not on every platform.
    return moment.replace(tzinfo=None).isoformat() + ("." + digits if digits else "") + "Z"


def parse_rfc3339(text: str) -> int:
    """Convert RFC 3339 text to nanoseconds since the epoch.

    Args:
        text: RFC 3339 text with any offset from UTC, and up to nine fractional digits.

    Returns:
        Nanoseconds since the epoch, exact.

    Raises:
        ValueError: the text has another form.

    Source: RFC 3339. A leap second (:60) is refused, because the clocks that date messages never
        show one.
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
