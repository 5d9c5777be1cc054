"""Splits a JSON stream into values, and never holds more than one of them.

The splitter enters sequences: concatenated values (with or without white space between them),
arrays, and the array of an object that begins with `"logs": [`, which is the form of API responses.
It hands out every other value whole and not decoded. Errors inside such a value are left to its
decoder.

If an object ends at the end of its line, a decoder that only skips finds that end, ten times as
fast. For all other objects, regular expressions with possessive repeats skip brackets and strings.
Python code then runs a few times per message, not once per byte. Only a string that crosses the
border of a chunk is scanned twice.
"""

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from netlog.errors import NetlogError

__all__ = ["MAX_DEPTH", "MAX_VALUE_BYTES", "ReadError", "Splitter", "Value"]

MAX_VALUE_BYTES = 64 * 1024 * 1024
"""The greatest length of a value. A message has at most 512 KiB (Tailscale's logtail); the rest is
for envelopes."""
MAX_DEPTH = 64
"""How deep nested arrays are entered; envelopes need two levels."""

MAX_MISSES = 8
"""After so many objects in a row that do not end at the end of their line, the splitter no longer
tries lines in this stream."""

_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+'
_STRING = _TEXT + rb'"'
_FLAT = rb'[^][{}"]*+(?:' + _STRING + rb'[^][{}"]*+)*+'
STRING = re.compile(_STRING, re.DOTALL)
FLAT = re.compile(_FLAT, re.DOTALL)
"""Everything up to a bracket outside strings, or up to a string whose end is not in the buffer."""
RUN = re.compile(
    _FLAT + rb"(?:(?:\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])" + _FLAT + rb")*+", re.DOTALL
)
"""FLAT, and whole brackets without inner brackets: all entries of a message in one match."""
TORN = re.compile(_TEXT + rb"(?=[\x00-\x1f])", re.DOTALL)
"""A string up to a character that no string may contain (RFC 8259 section 7). Mostly this is the
newline at the end of a torn line."""
SPACE = re.compile(rb"[ \t\r\n]*+")
STRAY = re.compile(rb"[ \t\r\n,\]}]*+")
"""The bytes between values after damage: commas and brackets may belong to skipped values."""
SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")
WRAPPER = re.compile(rb'\{[ \t\r\n]*"logs"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
SKIPPER = msgspec.json.Decoder(msgspec.Raw)
SCALAR_STARTS = frozenset(b"-0123456789tfn")
BRACE, BRACE_END, BRACKET, BRACKET_END, QUOTE, COMMA, COLON = b'{}[]",:'


class ReadError(NetlogError, ValueError):
    """The stream is not valid at a certain byte.

    Args:
        text: what is wrong.
        offset: the offset of the wrong byte, from the start of the stream.
    """

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(f"byte {offset}: {text}")
        self.text = text
        self.offset = offset


class Value(NamedTuple):
    """A JSON value, not decoded, and the offset of its first byte in the stream."""

    offset: int
    data: bytearray


class _Expect(enum.Enum):
    VALUE = "a JSON value"
    FIRST = "a JSON value or ]"
    AFTER = "a comma or the closing bracket"
    KEY = "a member's name"
    COLON = "a colon"


class Splitter:
    """Splits a stream into values.

    Args:
        max_value_bytes: the greatest length of a value; a longer value is an error.

    Thread safety: one thread.
    """

    def __init__(self, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        self._max_value_bytes = max_value_bytes
        self._buffer = bytearray()
        self._base = 0  # the stream's offset of the buffer's first byte
        self._at = 0  # the place in the buffer where the next expected thing may begin
        self._expect = _Expect.VALUE
        self._entered: list[int] = []  # the closing brackets of the sequences that were entered
        self._open = bytearray()  # the closing brackets that the object at _at needs; empty: none
        self._scan = 0  # the place in the buffer up to which that object was scanned
        self._bracket_seen = False  # whether that object has an inner bracket
        self._misses = 0
        self._found: Value | None = None
        self._skipping = False
        self._lenient = False
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Value]:
        """Add the next bytes of the stream.

        Args:
            chunk: bytes of any number; copied.

        Returns:
            An iterator over the values that end in the chunk. Exhaust it before the next call.

        Raises:
            ReadError: the stream is not JSON, or a value is too long.
        """
        self._buffer += chunk
        while self._advance():
            if self._found is not None:
                yield self._found
                self._found = None
        del self._buffer[: self._at]
        self._base += self._at
        self._scan -= self._at
        self._at = 0
        if len(self._buffer) > self._max_value_bytes:
            raise ReadError(f"value longer than {self._max_value_bytes} bytes", self._base)

    def finish(self) -> Iterator[Value]:
        """Add the end of the stream.

        Returns:
            An iterator over the last value, if only the end of the stream ends it: a number or a
            literal.

        Raises:
            ReadError: the stream ends within a value.
        """
        ending = b"" if self._ended else b" "  # ends a number
        self._ended = True
        yield from self.feed(ending)
        if self._buffer[self._at :].strip() or self._entered:
            end = self._base + len(self._buffer) - 1
            what = f"a value that began at byte {self._base + self._at}"
            if not self._open:
                what = "an array" if self._entered else "a string"
            raise ReadError(f"the stream ends within {what}", end)

    def resync(self) -> int:
        """Continue after an error, at the next line that begins with a bracket.

        That line may not have arrived yet. From there on, commas and closing brackets between
        values are ignored, because they may belong to values that were skipped.

        Returns:
            The offset of the first byte that is skipped: the start of the wrong value.
        """
        begun = self._expect in (_Expect.VALUE, _Expect.FIRST)
        here = bytes(self._buffer[self._at : self._at + 1]) in (b"{", b"[")
        # If a separator is missing before an object or array, that value itself is valid.
        self._skipping = begun or not here
        self._lenient = True
        self._open.clear()
        self._entered.clear()
        self._misses = 0
        self._expect = _Expect.VALUE
        return min(self._base + self._at, self.offset)

    @property
    def offset(self) -> int:
        """The offset of the next byte of the stream: how many bytes were added."""
        return self._base + len(self._buffer) - self._ended

    def _advance(self) -> bool:
        """Take one step; False: the next step needs more bytes."""
        if self._open or self._skipping:
            return self._within_object() if self._open else self._skip_damage()
        at = self._at = _skip(self._between(), self._buffer, self._at)
        if at == len(self._buffer):
            return False
        byte = self._buffer[at]
        match self._expect:
            case _Expect.FIRST if byte == BRACKET_END:
                self._leave()
            case _Expect.VALUE | _Expect.FIRST:
                return self._begin_value(byte)
            case _Expect.AFTER if byte == COMMA:
                array = self._entered[-1] == BRACKET_END
                self._move(1, _Expect.VALUE if array else _Expect.KEY)
            case _Expect.AFTER if byte == self._entered[-1]:
                self._leave()
            case _Expect.KEY if byte == QUOTE:
                end = self._string_end()
                if end == at:
                    return False
                self._move(end - at, _Expect.COLON)
            case _Expect.COLON if byte == COLON:
                self._move(1, _Expect.VALUE)
            case _:
                raise self._unexpected(byte)
        return True

    def _between(self) -> re.Pattern[bytes]:
        return STRAY if self._lenient and not self._entered else SPACE

    def _skip_damage(self) -> bool:
        found = [self._buffer.find(begin, self._at) for begin in (b"\n{", b"\n[")]
        found = [at for at in found if at >= 0]
        if not found:
            self._at = max(self._at, len(self._buffer) - self._buffer.endswith(b"\n"))
            return False
        self._at = min(found) + 1
        self._skipping = False
        return True

    def _begin_value(self, byte: int) -> bool:
        at = self._at
        if byte == BRACE:
            if self._take_line():
                return True
            self._open.append(BRACE_END)
            self._scan, self._bracket_seen = at + 1, False
            return True
        if byte == BRACKET:
            self._enter(at, BRACKET_END)
            return True
        if byte == QUOTE:
            end = self._string_end()
            if end == at:
                return False
        elif byte in SCALAR_STARTS:
            end = _skip(SCALAR, self._buffer, at)
            if end == len(self._buffer):
                return False
        else:
            raise self._unexpected(byte)
        self._take(end)
        return True

    def _take_line(self) -> bool:
        """Take the object that begins here, if it ends at the end of its line."""
        if self._misses >= MAX_MISSES or self._is_wrapper():
            return False
        line_end = self._buffer.find(b"\n", self._at)
        self._misses += 1
        if line_end < 0:
            return False
        try:
            with memoryview(self._buffer) as view, view[self._at : line_end] as line:
                SKIPPER.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return False
        self._misses = 0
        self._take(line_end)
        return True

    def _within_object(self) -> bool:
        pattern = RUN if self._bracket_seen else FLAT
        scan = self._scan = _skip(pattern, self._buffer, self._scan)
        if scan == len(self._buffer):
            return False
        byte = self._buffer[scan]
        if byte == QUOTE:
            self._check_string(scan)
            return False
        if byte == BRACKET and not self._bracket_seen and self._is_wrapper():
            self._open.clear()
            self._entered.append(BRACE_END)
            self._enter(scan, BRACKET_END)
            return True
        self._bracket_seen = True
        self._scan = scan + 1
        if byte in (BRACE, BRACKET):
            self._open.append(BRACE_END if byte == BRACE else BRACKET_END)
        elif byte != self._open.pop():
            raise ReadError(f"unexpected {chr(byte)}: it closes nothing", self._base + scan)
        if not self._open:
            self._take(scan + 1)
        return True

    def _string_end(self) -> int:
        """The end of the string that begins here; its start if the end is not in the buffer."""
        end = _skip(STRING, self._buffer, self._at)
        if end == self._at:
            self._check_string(end)
        return end

    def _check_string(self, at: int) -> None:
        """Raise an error if the unfinished string at `at` is torn, so that no end can follow."""
        torn = _skip(TORN, self._buffer, at)
        if torn > at:
            raise ReadError("a string has no end on its line", self._base + torn)

    def _is_wrapper(self) -> bool:
        return WRAPPER.match(self._buffer, self._at) is not None

    def _enter(self, at: int, closing: int) -> None:
        if len(self._entered) >= MAX_DEPTH:
            raise ReadError(f"more than {MAX_DEPTH} nested arrays", self._base + at)
        self._entered.append(closing)
        self._at = at
        self._move(1, _Expect.FIRST)

    def _leave(self) -> None:
        self._entered.pop()
        self._move(1, self._after())

    def _take(self, end: int) -> None:
        self._found = Value(self._base + self._at, self._buffer[self._at : end].rstrip())
        self._move(end - self._at, self._after())

    def _after(self) -> _Expect:
        return _Expect.AFTER if self._entered else _Expect.VALUE

    def _move(self, n_bytes: int, expect: _Expect) -> None:
        self._at += n_bytes
        self._expect = expect

    def _unexpected(self, byte: int) -> ReadError:
        got = ascii(chr(byte)) if byte < 0x80 else f"byte 0x{byte:02x}"  # noqa: PLR2004 - ASCII
        return ReadError(f"expected {self._expect.value}, got {got}", self._base + self._at)


def _skip(pattern: re.Pattern[bytes], buffer: bytearray, at: int) -> int:
    """The end of the pattern's match. The match object must not stay alive: it pins the buffer."""
    match = pattern.match(buffer, at)
    return match.end() if match else at
