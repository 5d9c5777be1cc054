"""The expressions of `--filter`: conditions on a connection, joined by and, or, not.

expression = conjunction { "or" conjunction }
conjunction = negation { "and" negation }
negation   = "not" negation | "(" expression ")" | condition
condition  = [ "src" | "dst" ] end | "proto" PROTOCOL | "class" CLASS | PROTOCOL
end        = [ "addr" ] ADDRESS | [ "net" ] PREFIX | "port" PORT [ "-" PORT ] | "node" NODE
"""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

from netlog.fmt.record import Endpoint, FlowLog, Node, endpoint
from netlog.fmt.select import Predicate
from netlog.model.classes import CLASSES
from netlog.model.protocols import protocol_number

__all__ = ["FilterError", "parse_filter"]

MAX_DEPTH = 100
"""The greatest depth of parentheses and negations. It limits the parser's recursion."""
MAX_PORT = 65535
"""RFC 9293 section 3.1: a port is 16 bits."""

TOKEN = re.compile(r'\s*(?:([()])|"([^"]*)"|([^\s()"]+))')
END_KINDS = ("addr", "net", "port", "node")
KEYWORDS = frozenset(("and", "or", "not", "src", "dst", "proto", "class", *END_KINDS))


EndTest: TypeAlias = Callable[[Endpoint, FlowLog], bool]
_T = TypeVar("_T")


class FilterError(ValueError):
    """The expression is wrong. The text says where, and what was expected."""


class _Token(NamedTuple):
    column: int
    text: str
    word: str  # the text in lower case; "" at the end, and for quotes, which are never keywords


def parse_filter(text: str) -> Predicate:
    """Compile a filter expression.

    Args:
        text: an expression of the grammar above. Keywords may have any case. A node's name may be
            in quotes.

    Returns:
        A function that says whether a connection matches.

    Raises:
        FilterError: `text` is not such an expression.

    Thread safety: any thread.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokenize(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._expression()
        if not self._at_end():
            raise self._expected("and, or, or the end")
        return predicate

    def _expression(self) -> Predicate:
        terms = [self._conjunction()]
        while self._accept("or"):
            terms.append(self._conjunction())
        return terms[0] if len(terms) == 1 else lambda c: any(term(c) for term in terms)

    def _conjunction(self) -> Predicate:
        terms = [self._negation()]
        while self._accept("and"):
            terms.append(self._negation())
        return terms[0] if len(terms) == 1 else lambda c: all(term(c) for term in terms)

    def _negation(self) -> Predicate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"expected at most {MAX_DEPTH} nested parentheses and negations")
        try:
            if self._accept("not"):
                inner = self._negation()
                return lambda c: not inner(c)
            if self._accept("("):
                inner = self._expression()
                if not self._accept(")"):
                    raise self._expected("and, or, or )")
                return inner
            return self._condition()
        finally:
            self._depth -= 1

    def _condition(self) -> Predicate:
        for side in ("src", "dst"):
            if self._accept(side):
                return self._end(side)
        if self._accept("proto"):
            return _is_protocol(self._take("a protocol such as tcp or 6", protocol_number))
        if self._accept("class"):
            kind = self._take(f"one of {', '.join(CLASSES)}", _class)
            return lambda c: c.kind == kind
        token = self._peek()
        number = None if token.word.isdigit() else protocol_number(token.word)
        if number is not None:
            self._next += 1
            return _is_protocol(number)
        return self._end("")

    def _end(self, side: str) -> Predicate:
        for kind in END_KINDS:
            if self._accept(kind):
                break
        else:
            kind = "net"
            if self._peek().word in KEYWORDS or _network(self._peek().text) is None:
                raise self._expected(
                    "an address, a prefix" + (", " if side else ", a protocol, ") + "or one of "
                    f"{', '.join(END_KINDS if side else sorted(KEYWORDS - {'and', 'or'}))}"
                )
        if kind == "node":
            return _is_node(side, self._take("a node's id, name, user or tag", _any_text).lower())
        if kind == "port":
            low, high = self._take("a port or a range of ports such as 8000-8080", _ports)
            return _any_end(side, lambda end, _: low <= end.port <= high)
        if kind == "addr":
            return _any_end(side, self._take("an address", _address))
        return _any_end(side, self._take("a prefix such as 100.64.0.0/10", _network))

    def _take(self, what: str, read: Callable[[str], _T | None]) -> _T:
        """The value of the next word, read by `read`; `what` names it in the error."""
        token = self._peek()
        value = None if self._at_end() or token.word in ("(", ")") else read(token.text)
        if value is None:
            raise self._expected(what)
        self._next += 1
        return value

    def _accept(self, word: str) -> bool:
        if self._peek().word != word:
            return False
        self._next += 1
        return True

    def _at_end(self) -> bool:
        return self._next == len(self._tokens) - 1

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _expected(self, what: str) -> FilterError:
        got = "the end" if self._at_end() else repr(self._peek().text)
        return self._error(f"expected {what}, got {got}")

    def _error(self, what: str) -> FilterError:
        return _error(self._text, self._peek().column, what)


def _error(text: str, column: int, what: str) -> FilterError:
    return FilterError(f"{text!r}, column {column}: {what}")


def _tokenize(text: str) -> list[_Token]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            column = at + len(text[at:]) - len(text[at:].lstrip()) + 1
            raise _error(text, column, "expected a closing quote")
        bracket, quoted, word = match.groups()
        column = match.start(match.lastindex or 0) + 1
        tokens.append(
            _Token(column, bracket or quoted or word or "", (bracket or word or "").lower())
        )
        at = match.end()
    return [*tokens, _Token(len(text) + 1, "", "")]


def _any_text(text: str) -> str | None:
    return text or None


def _class(text: str) -> str | None:
    return text.lower() if text.lower() in CLASSES else None


def _network(text: str) -> EndTest | None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    return lambda end, _: end.address is not None and end.address in network


def _address(text: str) -> EndTest | None:
    wanted = endpoint(text)
    if wanted.address is None or wanted.port:
        return None
    return lambda end, _: end.address == wanted.address


def _ports(text: str) -> tuple[int, int] | None:
    low, dash, high = text.partition("-")
    numbers = (low, high if dash else low)
    if not all(n.isascii() and n.isdigit() and int(n[:6]) <= MAX_PORT for n in numbers):
        return None
    return (int(numbers[0]), int(numbers[1])) if int(numbers[0]) <= int(numbers[1]) else None


def _is_protocol(number: int) -> Predicate:
    return lambda c: c.entry.protocol_number == number


def _any_end(side: str, test: EndTest) -> Predicate:
    return lambda c: any(test(end, c.record) for end in c.ends(side))


def _is_node(side: str, name: str) -> Predicate:
    def test(end: Endpoint, record: FlowLog) -> bool:
        node = record.node_at(end)
        return node is not None and _goes_by(node, name)

    at_end = _any_end(side, test)
    if side:
        return at_end
    return lambda c: c.record.node_id.lower() == name or _goes_by(c.record.own, name) or at_end(c)


def _goes_by(node: Node, name: str) -> bool:
    full = (node.name or "").lower().rstrip(".")
    names = (node.node_id.lower(), full, full.partition(".")[0], (node.user or "").lower())
    return name in names or name in (tag.lower() for tag in node.tags or ())
