"""Default routes that are written as several prefixes: `0.0.0.0/1` and `128.0.0.0/1`, for example.

A default route does not say to whom an address belongs, so it makes no traffic subnet traffic. That
must not depend on how it is written. The routes of one family are a default route if together they
cover public address space, but for at most a part of 1/64: applications often leave out the
server's own address. The outermost routes then do not count as routes, except those that lie in a
range that organisations number themselves. A prefix inside another one is a subnet of its own, and
counts.
"""

import ipaddress
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from netlog.model.routes import Network, PrefixArray

__all__ = ["without_default_routes"]

SLACK = 64
_SPECIAL = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
)
"""What is not public in IPv4. Source: IANA's special-purpose address registry."""
_PUBLIC_6 = ("2000::/3",)
"""All public IPv6 addresses are in it. Source: RFC 4291 section 2.4, IANA's address space."""
_OWN = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("198.18.0.0/15", "fc00::/7", "fe80::/10"),
)
"""What organisations number themselves: a route in it is a subnet."""

Span = tuple[int, int]
"""The first address, and the one after the last, as numbers."""


def _span(network: Network) -> Span:
    first = int(network.network_address)
    return first, first + network.num_addresses


def _public_4() -> list[Span]:
    """The gaps between the special ranges."""
    ends = sorted(_span(ipaddress.ip_network(text)) for text in _SPECIAL)
    starts = [0, *(end for _, end in ends)]
    return [(a, b) for a, (b, _) in zip(starts, ends, strict=False) if a < b]


_PUBLIC = {4: _public_4(), 6: [_span(ipaddress.ip_network(text)) for text in _PUBLIC_6]}
_OWN_SPANS = {
    version: [_span(net) for net in map(ipaddress.ip_network, _OWN) if net.version == version]
    for version in (4, 6)
}
_BITS = {4: 32, 6: 128}


def _size(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


_NEEDED = {version: _size(spans) * (SLACK - 1) // SLACK for version, spans in _PUBLIC.items()}


def without_default_routes(prefixes: PrefixArray) -> PrefixArray:
    """Remove the prefixes that are a default route, or a part of one.

    Args:
        prefixes: PREFIX_DTYPE, shape (n,): all that are reached through the overlay in one period.
            What the node itself offers is not a part of them.

    Returns:
        The others, in the same order.
    """
    kept = prefixes[prefixes["length"] > 0]
    for version in (4, 6):
        of_version = np.flatnonzero(kept["version"] == version)
        if _may_cover(kept["length"][of_version], version):
            kept = np.delete(kept, of_version[_parts(kept[of_version], version)])
    return kept


def _may_cover(lengths: npt.NDArray[np.uint8], version: int) -> bool:
    """Return whether the prefixes are large enough; usually they are not, and that is all."""
    shares = np.exp2(-lengths.astype(np.float64)).sum()
    return bool(shares >= 0.99 * _NEEDED[version] / 2 ** _BITS[version])


def _parts(prefixes: PrefixArray, version: int) -> list[int]:
    """Return the positions of the prefixes that are parts of a default route."""
    raw, bits = prefixes["address"].tobytes(), _BITS[version]
    mask = (1 << bits) - 1
    spans = []
    for position, length in enumerate(prefixes["length"].tolist()):
        start = int.from_bytes(raw[16 * position : 16 * position + 16]) & mask
        spans.append((start, start + (1 << (bits - length)), position))
    # The outer one first, where two begin with the same address.
    spans.sort(key=lambda span: (span[0], -span[1]))
    parts: list[int] = []
    while True:
        outer, inner = _outermost(spans)
        if _covered([(start, end) for start, end, _ in outer], version) < _NEEDED[version]:
            return parts
        # What is removed may have been written twice: as halves, and as quarters.
        removed = [span for span in outer if not _is_own(span[:2], version)]
        parts += [position for *_, position in removed]
        spans = inner


def _outermost(
    spans: Sequence[tuple[int, int, int]],
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Split sorted prefixes: those that lie in no larger one, and the others."""
    outer: list[tuple[int, int, int]] = []
    inner: list[tuple[int, int, int]] = []
    for span in spans:
        is_outer = not outer or span[0] >= outer[-1][1] or span[:2] == outer[-1][:2]
        (outer if is_outer else inner).append(span)
    return outer, inner


def _covered(spans: list[Span], version: int) -> int:
    """Return how many public addresses disjoint (or equal) spans cover."""
    distinct = dict.fromkeys(spans)
    return sum(
        max(0, min(end, public_end) - max(start, public_start))
        for start, end in distinct
        for public_start, public_end in _PUBLIC[version]
    )


def _is_own(span: Span, version: int) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in _OWN_SPANS[version])
