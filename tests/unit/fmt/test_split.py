"""The splitter: a stream of JSON as values, however it arrives."""

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog.fmt.damage import Damage, read_values
from netlog.fmt.split import MAX_DEPTH, MAX_MISSES, ReadError, Splitter, Value

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(['"', "\\", '\\"', "[{", "}]", '{"logs":[', "\n"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["logs", "a", "[", '"', "\\"]) | st.text(), inner)
    ),
    max_leaves=20,
)
STREAMS = st.lists(st.tuples(VALUES, st.sampled_from(["", "\n", " \r\n\t"])), max_size=12)


def split(chunks: list[bytes], splitter: Splitter | None = None) -> list[Value]:
    """All values of a stream that comes in these chunks."""
    splitter = splitter or Splitter()
    values = [value for chunk in chunks for value in splitter.feed(chunk)]
    return values + list(splitter.finish())


def entered(value: object) -> list[object]:
    """The values that a value is handed out as: what the module says it enters, said again."""
    if isinstance(value, list):
        return [part for element in value for part in entered(element)]
    if isinstance(value, dict) and value:
        first, *others = value.items()
        if first[0] == "logs" and isinstance(first[1], list):
            rest = [part for _, other in others for part in entered(other)]
            return entered(first[1]) + rest
    return [value]


@given(STREAMS, st.sampled_from([None, 2]), st.randoms(use_true_random=False))
def test_any_chunks_give_the_same_values(
    stream: list[tuple[Any, str]], indent: int | None, rng: random.Random
) -> None:
    """Values come out equal and at their offsets, wherever the borders of chunks are."""
    text = ""
    for value, gap in stream:
        # two numbers without space between them would be one
        space = gap or ("" if isinstance(value, str | list | dict) and text[-1:] in '"]}' else " ")
        text += space + json.dumps(value, indent=indent, ensure_ascii=False) + gap
    data = text.encode("utf-8", "surrogatepass")
    whole = split([data])
    assert [json.loads(value.data) for value in whole] == [
        part for value, _ in stream for part in entered(value)
    ]
    assert all(data.startswith(bytes(value.data), value.offset) for value in whole)
    borders = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    ends = [0, *borders, len(data)]
    assert split([data[a:b] for a, b in itertools.pairwise(ends)]) == whole
    assert split([bytes([byte]) for byte in data]) == whole


def test_lines_are_taken_up_again_after_other_forms() -> None:
    """Neither form of a stream hides the other, whatever was seen before."""
    line, pretty = b'{"a":[{"b":1}]}\n', b'{"a":\n[{"b":1}]}\n'
    data = line * 3 + pretty * (MAX_MISSES + 2) + line * 3
    assert [json.loads(value.data) for value in split([data])] == [{"a": [{"b": 1}]}] * 16


def test_a_huge_array_is_not_held() -> None:
    """Elements of arrays, and of `{"logs": [...]}`, come while the array goes on."""
    for head in (b"[", b'{"logs":[', b'[{ "logs" : [ '):
        splitter = Splitter(max_value_bytes=1000)
        assert list(splitter.feed(head)) == []
        for _ in range(1000):
            values = list(splitter.feed(b'{"a":"' + b"x" * 500 + b'"},'))
            assert len(values) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{} xyz", "byte 3: expected a JSON value, got 'x'"),
        (b"[1, 2}", "byte 5: expected a comma or the closing bracket, got '}'"),
        (b"[1,]", "byte 3: expected a JSON value, got ']'"),
        (b"[{} {}]", "byte 4: expected a comma or the closing bracket, got '{'"),
        (b'{"logs":[],1}', "byte 11: expected a member's name, got '1'"),
        (b'{"logs":[],"a",', "byte 14: expected a colon, got ','"),
        (b"\xff", "byte 0: expected a JSON value, got byte 0xff"),
        (b'{}{"a":1', "byte 8: the stream ends within a value that began at byte 2"),
        (b"[{},", "byte 4: the stream ends within an array"),
        (b' "abc', "byte 5: the stream ends within a string"),
        (b"[" * (MAX_DEPTH + 1), f"byte {MAX_DEPTH}: more than {MAX_DEPTH} nested arrays"),
    ],
    ids=repr,
)
def test_what_is_no_json_is_named(data: bytes, message: str) -> None:
    """The error has the offset of what is wrong, in one chunk and byte by byte."""
    for chunks in ([data], [bytes([byte]) for byte in data]):
        with pytest.raises(ReadError) as caught:
            split(chunks)
        assert str(caught.value).startswith(message)


def test_what_came_before_an_error_is_given() -> None:
    """Values in the chunk that ends in an error are not lost."""
    values = Splitter().feed(b'{"a":1}{"b":2}}')
    assert [next(values).data, next(values).data] == [b'{"a":1}', b'{"b":2}']
    with pytest.raises(ReadError):
        next(values)


def test_a_value_without_end_is_refused() -> None:
    """Memory has a bound."""
    splitter = Splitter(max_value_bytes=100)
    with pytest.raises(ReadError, match="byte 2: value longer than 100 bytes"):
        list(splitter.feed(b'{}{"a":"' + b"x" * 100))


PIECES = st.sampled_from(
    [
        *(b'{"a": 1}\n', b'[{"b": "]"},\n', b'{"c": [2]}]\n', b'{"logs": [\n', b"{}]}\n", b"7 "),
        *(b'{"torn', b"\n", b"\xff\0", b'"no end', b"} ]\n", b'{"d": [}\n', b'  {"e": 1}\n'),
    ]
)


@given(st.lists(PIECES, max_size=10), st.randoms(use_true_random=False))
def test_damage_is_skipped_wherever_chunks_end(pieces: list[bytes], rng: random.Random) -> None:
    """Values and damage are the same in any chunks; stretches are in order and apart."""
    text = b"".join(pieces)
    cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(6)))
    chunks = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    found: list[list[tuple[int, int]]] = []
    for stream in ([text], chunks, [bytes([byte]) for byte in text]):
        spans: list[tuple[int, int]] = []

        def damaged(damage: Damage, spans: list[tuple[int, int]] = spans) -> None:
            spans.append((damage.begin, damage.end))

        for value in read_values(stream, damaged):
            assert text[value.offset :].startswith(value.data)
            spans.append((value.offset, value.offset + len(value.data)))
        assert all(begin <= end for begin, end in spans)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
        found.append(spans)
    assert found[0] == found[1] == found[2]


def test_a_long_value_is_skipped_and_the_next_line_read() -> None:
    """The limit holds for one value; what is behind it comes, and little is held meanwhile."""
    large = b'{"x": "' + b"y" * 3000
    splitter = Splitter(max_value_bytes=1000)
    with pytest.raises(ReadError, match="longer than 1000 bytes"):
        list(splitter.feed(large))
    assert splitter.resync() == 0
    assert list(splitter.feed(b"y" * 5000)) == []
    (value,) = splitter.feed(b'"}\n{"a": 1}\n')
    assert (bytes(value.data), value.offset) == (b'{"a": 1}', len(large) + 5000 + 3)
    assert list(splitter.finish()) == []
