"""Times: RFC 3339 in UTC, exact to the nanosecond both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog.model.times import format_rfc3339, parse_rfc3339, to_ns

YEAR_1_NS = -62135596800 * 10**9
YEAR_9999_NS = 253402300800 * 10**9 - 1


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1664582405454961230, "2022-10-01T00:00:05.45496123Z"),
        (1664582405500000000, "2022-10-01T00:00:05.5Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (YEAR_1_NS, "0001-01-01T00:00:00Z"),
        (YEAR_9999_NS, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_both_ways(ns: int, text: str) -> None:
    """Trailing zeros are trimmed, a whole second has no fraction."""
    assert format_rfc3339(ns) == text
    assert parse_rfc3339(text) == ns


@given(st.integers(YEAR_1_NS, YEAR_9999_NS))
def test_round_trip(ns: int) -> None:
    """Every nanosecond of the years 1 to 9999 survives."""
    assert parse_rfc3339(format_rfc3339(ns)) == ns


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2022-10-01T02:00:05.25+02:00", "2022-10-01T00:00:05.25Z"),
        ("2022-10-01t00:00:05z", "2022-10-01T00:00:05Z"),
        ("2022-09-30T19:30:05.000-04:30", "2022-10-01T00:00:05Z"),
    ],
)
def test_offsets(text: str, utc: str) -> None:
    """Any offset is read; UTC is written."""
    assert format_rfc3339(parse_rfc3339(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2022-10-01",
        "2022-10-01T00:00:05",
        "2022-10-01 00:00:05Z",
        "2022-10-01T00:00:05.Z",
        "2022-10-01T00:00:05.1234567890Z",
        "2022-13-01T00:00:05Z",
        "2022-10-01T00:00:60Z",
        "2022-10-01T00:00:05+25:00",
        "\u0662022-10-01T00:00:05Z",
        "0001-01-01T00:00:00+01:00",
        "2022-10-01T00:00:05Z\n",
    ],
    ids=repr,
)
def test_no_time(text: str) -> None:
    """What is no RFC 3339, or has no moment in UTC, raises ValueError."""
    with pytest.raises(ValueError, match=r"2|''|0001"):
        parse_rfc3339(text)


def test_to_ns() -> None:
    """Nanoseconds, text and datetimes of any zone name the same moment."""
    moment = datetime(2022, 10, 1, 0, 0, 5, 250000, tzinfo=UTC)
    ns = 1664582405250000000
    east = timezone(timedelta(hours=2))
    for form in (ns, "2022-10-01T00:00:05.25Z", moment, moment.astimezone(east)):
        assert to_ns(form, "start") == ns
    assert to_ns(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "start") == -1000


@pytest.mark.parametrize("wrong", [None, 1.5, True, b"2022-10-01T00:00:05Z", []], ids=repr)
def test_wrong_type(wrong: Any) -> None:  # noqa: ANN401 - what is no moment
    """Anything else raises TypeError and names the argument."""
    with pytest.raises(TypeError, match=r"^end: "):
        to_ns(wrong, "end")


@pytest.mark.parametrize(
    "wrong",
    [datetime(2022, 10, 1), YEAR_1_NS - 1, YEAR_9999_NS + 1, 10**40],  # noqa: DTZ001 - no zone
    ids=repr,
)
def test_wrong_value(wrong: Any) -> None:  # noqa: ANN401 - what is out of range
    """A datetime without a zone, or a moment that RFC 3339 cannot write, raises ValueError."""
    with pytest.raises(ValueError, match=r"time zone|years 1 to 9999"):
        to_ns(wrong, "end")
