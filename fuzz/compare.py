"""Compares `netlog read` with tshark, per connection: `python -m fuzz.compare FOLDER`.

Both read the same captures. tshark says what each frame is; RULES say where netlog counts it in
another way, and each of them has a line in docs/counting.md. What then differs in packets or bytes
of a connection is listed, by its kind. Directions are left aside: what they are is configured.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

__all__ = ["RULES", "Comparison", "Connection", "Frame", "compare"]

Connection = tuple[int, str, str]
"""Protocol and both ends, in an order of their own."""

UNATTRIBUTED: Connection = (0, "", "")
WITH_PORTS = {6, 17, 33, 132, 136}
CHAIN = (
    "ip.proto",
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.dstopts.nxt",
    "ah.next_header",
    "mip6.proto",
    "hip.proto",
    "shim6.nxt",
)
"""Fields that name what follows a header."""
PORTS = ("tcp", "udp", "dccp", "sctp")
FIELDS = (
    "frame.number",
    "frame.len",
    "frame.cap_len",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ip.len",
    "ip.frag_offset",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.plen",
    "ipv6.opt.jumbo",
    "ipv6.fraghdr.offset",
    "_ws.malformed",
    *CHAIN,
    *(f"{proto}.{end}port" for proto in PORTS for end in ("src", "dst")),
)
OPTIONS = (
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "ip.tso_support:TRUE",
    "tcp.desegment_tcp_streams:FALSE",
    # What tailscaled writes, of a packet without addresses of NAT, and Darwin's old number.
    'uat:user_dlts:"User 0 (DLT=147)","ip","4","","0",""',
    'uat:user_dlts:"User 2 (DLT=149)","pktap","0","","0",""',
)
BETWEEN = "\x1f"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as tshark sees it: the values of each field, the outermost first."""

    values: dict[str, list[str]]

    def first(self, name: str) -> str:
        """The outermost value; empty: there is none."""
        return next(iter(self.values[name]), "")

    def number(self, name: str) -> int:
        """The outermost value as a number; 0: there is none."""
        text = self.first(name)
        return int(text, 0) if text else 0

    @property
    def version(self) -> int:
        """Of the outermost IP header; 0: there is none."""
        layers = self.values["frame.protocols"][0].split(":")
        if layers.count("ip") > len(self.values["ip.src"]) and "ip" in layers:
            # A payload that tshark was told to be IP is `ip` even if it is IPv6.
            layers.remove("ip")
        return next(({"ip": 4, "ipv6": 6}[name] for name in layers if name in ("ip", "ipv6")), 0)

    @property
    def proto(self) -> int:
        """Of the upper layer of the outermost IP packet; of a chain that is cut, its last header.

        Each field of the chain has its values in order, those of inner packets last.
        """
        chain = {name: list(self.values[name]) for name in CHAIN}
        head = "ip.proto" if self.version == 4 else "ipv6.nxt"  # noqa: PLR2004 - IP's
        after = {0: "hopopts", 43: "routing", 44: "fraghdr", 60: "dstopts"}
        names = {number: f"ipv6.{name}.nxt" for number, name in after.items()}
        names |= {51: "ah.next_header", 135: "mip6.proto", 139: "hip.proto", 140: "shim6.nxt"}
        proto = int(chain[head].pop(0))
        while proto in names and chain[names[proto]]:
            if self.version == 4 and proto != 51:  # noqa: PLR2004 - AH alone
                break
            proto = int(chain[names[proto]].pop(0))
        return proto

    @property
    def is_later_fragment(self) -> bool:
        """Whether it is a fragment other than the first."""
        return bool(self.number("ip.frag_offset") or self.number("ipv6.fraghdr.offset"))

    @property
    def ports(self) -> tuple[int, int] | None:
        """Those of the outermost packet, if tshark found any."""
        if self.proto not in WITH_PORTS:
            return None
        name = {6: "tcp", 33: "dccp", 132: "sctp"}.get(self.proto, "udp")
        src, dst = self.first(f"{name}.srcport"), self.first(f"{name}.dstport")
        return (int(src), int(dst)) if src and dst else None

    @property
    def n_bytes(self) -> int:
        """Of the outermost packet, by its own headers as tshark reads them."""
        if self.version == 4:  # noqa: PLR2004 - IP's
            return self.number("ip.len")
        return 40 + (self.number("ipv6.opt.jumbo") or self.number("ipv6.plen"))


def _has_no_ports(frame: Frame) -> bool:
    if not frame.version:
        return False
    return frame.proto in WITH_PORTS and not frame.is_later_fragment and frame.ports is None


def _is_super_packet(frame: Frame) -> bool:
    return (
        frame.version == 6  # noqa: PLR2004 - IP's
        and not frame.number("ipv6.plen")
        and not frame.number("ipv6.opt.jumbo")
        and frame.proto in WITH_PORTS
    )


Holds = Callable[[Frame], bool]

UNREAD: dict[str, Holds] = {
    "frames that tshark does not read": lambda frame: not frame.version,
    "IPv6 super-packets": _is_super_packet,
}
"""Frames that tshark does not see as packets of a connection, and netlog may."""

UNATTRIBUTED_RULES: dict[str, Holds] = {
    "packets without ports": _has_no_ports,
}
"""Frames that netlog counts as unattributed, and tshark as packets of a connection."""

RULES = [*UNREAD, *UNATTRIBUTED_RULES]
"""Each is a line of docs/counting.md."""


@dataclass(slots=True)
class Comparison:
    """What a capture was compared to.

    Attributes:
        connections: of both.
        rules: frames that a rule explains, by its name.
        differences: a line each, by its kind.
        error: why netlog ended before the end of the file.
    """

    connections: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    differences: dict[str, list[str]] = field(default_factory=dict)
    error: str = ""

    def differs(self, kind: str, what: str) -> None:
        """Note a difference."""
        self.differences.setdefault(kind, []).append(what)


def _joined(address: str, port: int) -> str:
    host = str(ip_address(address))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _between(proto: int, one: str, other: str) -> Connection:
    low, high = sorted((one, other))
    return proto, low, high


def frames_of(capture: Path) -> Iterator[Frame]:
    """What tshark says of each frame.

    Raises:
        OSError: tshark is missing, or fails.
    """
    tshark = shutil.which("tshark")
    if tshark is None:
        raise FileNotFoundError("tshark is missing: apt install tshark")
    command = [tshark, "-n", "-r", str(capture), "-T", "fields", "-E", "occurrence=a"]
    command += ["-E", f"separator={BETWEEN}", "-E", "aggregator=,"]
    for option in OPTIONS:
        command += ["-o", option]
    for name in FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode and not done.stdout:
        raise OSError(f"tshark: {done.stderr.strip()}")
    for line in done.stdout.splitlines():
        values = [text.split(",") if text else [] for text in line.split(BETWEEN)]
        yield Frame(dict(zip(FIELDS, values, strict=True)))


@dataclass(slots=True)
class Counts:
    """Packets and bytes of each connection."""

    packets: Counter[Connection] = field(default_factory=Counter)
    n_bytes: Counter[Connection] = field(default_factory=Counter)


def by_tshark(capture: Path, rules: Counter[str], unread: Counter[str]) -> Counts:
    """What tshark counts; frames to which a rule applies are added to `rules` or `unread`."""
    packets: Counter[Connection] = Counter()
    n_bytes: Counter[Connection] = Counter()
    for frame in frames_of(capture):
        version = frame.version
        if rule := next((name for name, holds in UNREAD.items() if holds(frame)), ""):
            unread[rule] += 1
            continue
        if rule := next((name for name, holds in UNATTRIBUTED_RULES.items() if holds(frame)), ""):
            rules[rule] += 1
            packets[UNATTRIBUTED] += 1
            continue
        layer = "ip" if version == 4 else "ipv6"  # noqa: PLR2004 - IP's
        src, dst = (0, 0) if frame.is_later_fragment else frame.ports or (0, 0)
        ends = _joined(frame.first(f"{layer}.src"), src), _joined(frame.first(f"{layer}.dst"), dst)
        connection = _between(frame.proto, *ends)
        packets[connection] += 1
        n_bytes[connection] += frame.n_bytes
    return Counts(packets, n_bytes)


def by_netlog(capture: Path) -> tuple[Counts, str]:
    """The same as `netlog read` counts it; and its error, empty without one."""
    packets: Counter[Connection] = Counter()
    n_bytes: Counter[Connection] = Counter()
    command = [sys.executable, "-m", "netlog", "read", "--exit-traffic", "log", str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    for line in done.stdout.splitlines():
        for member, entries in json.loads(line).items():
            for entry in entries if member.endswith("Traffic") else ():
                ends = entry.get("src", ""), entry.get("dst", "")
                connection = _between(entry.get("proto", 0), *ends)
                packets[connection] += entry.get("txPkts", 0) + entry.get("rxPkts", 0)
                n_bytes[connection] += entry.get("txBytes", 0) + entry.get("rxBytes", 0)
    return Counts(packets, n_bytes), done.stderr.strip() if done.returncode else ""


def _explained(surplus: int, unread: Counter[str], rules: Counter[str]) -> bool:
    """Whether frames that tshark does not read can be what netlog counted beyond it."""
    if not 0 < surplus <= unread.total():
        return False
    for rule in UNREAD:
        taken = min(surplus, unread[rule])
        unread[rule] -= taken
        surplus -= taken
        rules[rule] += taken
    return True


def compare(capture: Path) -> Comparison:
    """Compare both, connection by connection; the unattributed ones in packets alone."""
    comparison = Comparison()
    unread: Counter[str] = Counter()
    theirs = by_tshark(capture, comparison.rules, unread)
    own, comparison.error = by_netlog(capture)
    for connection in sorted(theirs.packets.keys() | own.packets.keys()):
        comparison.connections += 1
        want, have = theirs.packets[connection], own.packets[connection]
        if _explained(have - want, unread, comparison.rules):
            continue
        want_bytes, have_bytes = theirs.n_bytes[connection], own.n_bytes[connection]
        if want != have:
            kind = "only in tshark" if not have else "only in netlog" if not want else "packets"
        elif connection != UNATTRIBUTED and want_bytes != have_bytes:
            kind = "bytes"
        else:
            continue
        what = f"tshark {want} packets, {want_bytes} bytes; netlog {have}, {have_bytes}"
        comparison.differs(kind, f"{capture.name}: {connection}: {what}")
    comparison.rules = +comparison.rules
    return comparison


def captures_in(folder: Path) -> Iterator[Path]:
    """The captures below a folder, by what they are called."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.removesuffix(".gz").endswith((".pcap", ".pcapng", ".cap")):
            yield path


def main() -> int:
    """Compare each capture; the status is 1 if something differs that no rule explains."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the captures are")
    parser.add_argument("--show", type=int, default=5, help="lines of each kind")
    options = parser.parse_args()
    rules: Counter[str] = Counter()
    kinds: dict[str, list[str]] = {}
    captures = connections = equal = failed = 0
    for path in captures_in(options.folder):
        captures += 1
        try:
            found = compare(path)
        except OSError as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
            continue
        connections += found.connections
        equal += not found.differences
        rules += found.rules
        if found.error:
            kinds.setdefault("netlog ended early", []).append(f"{path}: {found.error}")
        for kind, lines in found.differences.items():
            kinds.setdefault(kind, []).extend(lines)
    print(
        f"{captures} captures, {connections} connections; {equal} captures equal, {failed} failed"
    )
    for rule, frames in rules.most_common():
        print(f"explained: {rule}: {frames} frames")
    for kind, lines in kinds.items():
        print(f"{kind}: {len(lines)}", *lines[: options.show], sep="\n    ")
    return 1 if kinds or failed or not captures else 0


if __name__ == "__main__":
    sys.exit(main())
