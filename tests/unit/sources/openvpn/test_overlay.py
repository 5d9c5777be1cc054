"""OpenVPN: what the status of a server says, read from what clients can choose a part of."""

import ipaddress
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netlog import Node, Peer
from netlog.sources import Overlay
from netlog.sources.openvpn.overlay import (
    SharedNames,
    State,
    client_overlay,
    overlay_of,
    parse_state,
)
from netlog.sources.openvpn.status import parse_status, read_endpoint
from tests.unit.sources.openvpn.answers import (
    OF_A_CLIENT,
    STATE_OF_CLIENT,
    STATE_OF_CLIENT_6,
    STATE_OF_SERVER,
    VERSION_1,
    VERSION_2,
    in_version_3,
)

VERSION_3 = in_version_3(VERSION_2)
VERSIONS = pytest.mark.parametrize("status", [VERSION_1, VERSION_2, VERSION_3], ids=["1", "2", "3"])

ALICE = Peer("192.0.2.2:47775", ("10.8.0.3/32", "fd00:8::1001/128"), "alice")
BJORN_0 = Peer("192.0.2.2:59805", ("10.8.0.2/32", "fd00:8::1000/128"), "Bjørn")
BJORN_2 = Peer(
    "192.0.2.2:34810",
    ("10.8.0.4/32", "fd00:8::1002/128", "10.7.7.7/32", "10.9.2.0/24", "fd00:9::/64"),
    "Bjørn",
)


def overlay(status: bytes, state: State | None = None) -> Overlay:
    """The overlay of a server that was never asked before."""
    return overlay_of(parse_status(status), state or State(), SharedNames())


def nodes(status: bytes) -> dict[str, Node]:
    """The nodes of a status by their ids."""
    known = overlay(status).nodes
    assert known is not None
    return {node.node_id: node for node in known.by_address.values()}


@VERSIONS
def test_all_versions_say_the_same(status: bytes) -> None:
    """Peers have their addresses first and then what is behind them; nothing that is cached."""
    told = overlay(status)
    assert {client.name for client in parse_status(status).clients} == {"alice", "Bjørn"}
    assert told.peers == (BJORN_2, ALICE, BJORN_0)
    assert sorted(map(str, told.routes)) == sorted(
        {prefix for peer in told.peers for prefix in peer.allowed_ips}
    )
    assert not told.local_addrs
    assert told.nodes is not None
    assert told.nodes.self_node is None
    assert set(map(str, told.nodes.by_address)) == {
        *("10.8.0.2", "10.8.0.3", "10.8.0.4"),
        *("fd00:8::1000", "fd00:8::1001", "fd00:8::1002"),
    }


@VERSIONS
def test_order_and_line_ends_make_no_difference(status: bytes) -> None:
    """The tables are in the order of a hash, and the management interface ends lines with CRLF."""
    lines = status.split(b"\n")
    turned = [line for line in lines if not line.startswith((b"CLIENT_LIST", b"ROUTING_TABLE"))]
    rows = [line for line in lines if line.startswith((b"CLIENT_LIST", b"ROUTING_TABLE"))]
    random.Random(1).shuffle(rows)  # noqa: S311 - an order
    at = max(i for i, line in enumerate(turned) if line.startswith((b"HEADER", b"OpenVPN"))) + 1
    assert overlay(b"\r\n".join([*turned[:at], *rows, *turned[at:]])) == overlay(status)


def test_nodes_are_the_clients() -> None:
    """By common name, with the user if it is another, and apart where a name is shared."""
    assert list(nodes(VERSION_2).values()) == [
        Node("Bjørn#10.8.0.2", "Bjørn", ("10.8.0.2", "fd00:8::1000")),
        Node("alice", "alice", ("10.8.0.3", "fd00:8::1001")),
        Node("Bjørn#10.8.0.4", "Bjørn", ("10.8.0.4", "fd00:8::1002"), user="bj"),
    ]


def test_a_shared_name_stays_shared() -> None:
    """Who stays keeps his id when the other one leaves; others are not touched."""
    shared = SharedNames()
    one_left = b"".join(
        line for line in VERSION_2.splitlines(keepends=True) if b"59805" not in line
    )
    assert "Bjørn" in nodes(one_left)
    first = overlay_of(parse_status(VERSION_2), State(), shared).nodes
    then = overlay_of(parse_status(one_left), State(), shared).nodes
    assert first is not None
    assert then is not None
    assert {node.node_id for node in then.by_address.values()} == {"alice", "Bjørn#10.8.0.4"}
    assert then.by_address.items() <= first.by_address.items()


def test_columns_go_by_their_header() -> None:
    """Also in another order, with some more, and without those that can be missing."""
    status = b"""TITLE\tOpenVPN 9
HEADER\tCLIENT_LIST\tNew\tReal Address\tCommon Name\tVirtual Address
HEADER\tOTHERS\tNew
OTHERS\tone
CLIENT_LIST\tx\tudp4:192.0.2.2:1\talice\t10.8.0.3
END
"""
    assert overlay(status).peers == (Peer("192.0.2.2:1", ("10.8.0.3/32",), "alice"),)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.2:47775", "192.0.2.2:47775"),
        ("udp4:192.0.2.2:47775", "192.0.2.2:47775"),
        ("tcp4-server:192.0.2.2:47775", "192.0.2.2:47775"),
        ("udp6:[2001:db8::2]:47775", "[2001:db8::2]:47775"),
        ("[2001:db8::2]:47775", "[2001:db8::2]:47775"),
        ("2001:db8::2", "[2001:db8::2]:0"),
        ("udp6:2001:db8::2", "[2001:db8::2]:0"),
        ("::ffff:192.0.2.2", "192.0.2.2:0"),
        ("[::ffff:192.0.2.2]:5", "192.0.2.2:5"),
        ("fe80::2%eth0", "[fe80::2]:0"),
    ],
)
def test_endpoints_in_all_their_forms(text: str, endpoint: str) -> None:
    """IPv4 and IPv6, with and without port and protocol."""
    assert read_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":", "1194", "192.0.2.2:", "192.0.2.2:65536", "192.0.2.2:x", "[192.0.2.2", "192.0.2.2:-1"],
)
def test_what_is_no_endpoint(text: str) -> None:
    """It is said without the text."""
    with pytest.raises(ValueError, match=r"^Real Address: expected an? (address|port)$"):
        read_endpoint(text)


def test_ipv6_clients_without_ports() -> None:
    """A peer stands for all ports of its address, unless another client is there too."""
    status = VERSION_3.replace(b"192.0.2.2:47775", b"2001:db8::a")
    assert overlay(status).peers[-1] == Peer(
        "[2001:db8::a]:0", ALICE.allowed_ips, "alice", any_port=True
    )
    for port in (b"47775", b"34810", b"59805"):
        status = status.replace(b"192.0.2.2:" + port, b"2001:db8::a")
    told = overlay(status)
    assert not told.peers
    # Which of the two that share a name is the network behind, cannot be told: it is a route.
    assert "10.9.2.0/24" in map(str, told.routes)
    assert len(nodes(status)) == 3


def test_tap_has_macs_and_addresses_of_the_pool() -> None:
    """A MAC is no route; a client of a bridge may have no address at all."""
    told = overlay(b"""TITLE,OpenVPN
HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Client ID
CLIENT_LIST,alice,192.0.2.2:1,10.8.0.2,,0
CLIENT_LIST,bob,192.0.2.3:1,,,1
HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)
ROUTING_TABLE,56:e4:ef:e7:24:89@0,alice,192.0.2.2:1,2026-11-23 17:35:59,1795455359
ROUTING_TABLE,56:e4:ef:e7:24:8A,bob,192.0.2.3:1,2026-11-23 17:35:59,1795455359
END
""")
    assert told.peers == (Peer("192.0.2.2:1", ("10.8.0.2/32",), "alice"),)
    assert told.routes == (ipaddress.ip_network("10.8.0.2/32"),)


@pytest.mark.parametrize("status", [VERSION_2, VERSION_1], ids=["2", "1"])
def test_commas_in_a_name(status: bytes) -> None:
    """A name with commas is read where there is one way to, as the other columns say."""
    told = nodes(status.replace(b"alice", b"al,1,,UNDEF,ice"))
    assert told["al,1,,UNDEF,ice"].addresses == ("10.8.0.3", "fd00:8::1001")
    assert len(told) == 3


FORGED = b"al,192.0.2.2:34810,10.8.0.9,,1,1,2026-11-23 17:35:26,1,x"


def test_a_name_that_forges_columns_is_left_out() -> None:
    """A line that can be read as another client's says nothing; the others do."""
    told = nodes(VERSION_2.replace(b"CLIENT_LIST,alice", b"CLIENT_LIST," + FORGED))
    assert set(told) == {"Bjørn#10.8.0.2", "Bjørn#10.8.0.4"}
    assert nodes(VERSION_3.replace(b"CLIENT_LIST\talice", b"CLIENT_LIST\t" + FORGED)).keys() == {
        FORGED.decode(),
        *told,
    }


def test_a_name_can_not_look_like_the_id_of_another() -> None:
    """What has the mark in its name has it in its id once more."""
    told = nodes(VERSION_2.replace(b"alice", b"Bj\xc3\xb8rn#10.8.0.2"))
    assert set(told) == {"Bjørn#10.8.0.2", "Bjørn#10.8.0.4", "Bjørn#10.8.0.2#10.8.0.3"}
    assert told["Bjørn#10.8.0.2"].addresses[0] == "10.8.0.2"


def test_names_that_are_no_text() -> None:
    """What is no UTF-8 and what controls a terminal is replaced; all else is kept."""
    told = nodes(VERSION_2.replace(b"alice", b"a\xff\x1b[2J\xc2\x85\xe2\x80\xa8\x0bb"))
    assert "a\ufffd_[2J_\u2028_b" in told
    # Two that differ in these only are two that share a name.
    status = VERSION_2.replace("Bjørn,192.0.2.2:34810".encode(), b"x\xff,192.0.2.2:34810")
    told = nodes(status.replace("Bjørn,192.0.2.2:59805".encode(), b"x\xfe,192.0.2.2:59805"))
    assert set(told) == {"alice", "x\ufffd#10.8.0.2", "x\ufffd#10.8.0.4"}


def test_a_name_that_is_too_long_is_no_node() -> None:
    """It still is a peer, with its addresses."""
    status = VERSION_2.replace(b"alice", b"a" * 300)
    assert len(nodes(status)) == 2
    assert len(overlay(status).peers) == 3


@VERSIONS
def test_a_half_of_it_is_an_error(status: bytes) -> None:
    """Wherever it ends, and where the end of an older one follows."""
    for end in range(len(status)):
        with pytest.raises(ValueError, match=r"."):
            parse_status(status[:end])
    with pytest.raises(ValueError, match="incomplete"):
        parse_status(status + b"x,1\nEND\n")
    lines = status.splitlines(keepends=True)
    for number in range(3, len(lines) - 5):
        if lines[number].startswith((b"GLOBAL", b"UNDEF")):
            continue
        with pytest.raises(ValueError, match=r"line "):
            # The end of the line that stood there before.
            parse_status(b"".join([*lines[:number], lines[number][20:], *lines[number + 1 :]]))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(b"10.8.0.3,", b"10.8.0.300,", "Virtual Address", id="address"),
        pytest.param(b"192.0.2.2:47775,10", b"192.0.2.2:x,10", "Real Address", id="port"),
        pytest.param(b"2846,2877", b"2846,-", "Bytes Sent", id="bytes"),
        pytest.param(b"10.9.2.0/24", b"10.9.2.0/33", "Virtual Address", id="prefix"),
        pytest.param(b"10.9.2.0/24", b"10.9.2.0/x", "Virtual Address", id="no-prefix"),
        pytest.param(b",Real Address,Virtual", b",Real,Virtual", "no column", id="column"),
        pytest.param(b"HEADER,CLIENT", b"HEADED,CLIENT", "unknown kind of line", id="kind"),
        pytest.param(b"alice", b"a" * 20000, "expected 12 columns", id="long"),
        pytest.param(VERSION_2, OF_A_CLIENT, "status of an OpenVPN client", id="client"),
        pytest.param(VERSION_2, b"END\n", "title", id="end"),
        pytest.param(VERSION_2, b"nonsense\nEND\n", "title", id="nonsense"),
        pytest.param(VERSION_2, b"", "incomplete", id="nothing"),
    ],
)
def test_what_is_wrong_is_said(old: bytes, new: bytes, said: str) -> None:
    """The line, the table and the column; never what is in it."""
    with pytest.raises(ValueError, match=said) as caught:
        parse_status(VERSION_2.replace(old, new, 1))
    assert "alice" not in str(caught.value)


# -- a client's state ------------------------------------------------------------------------------


def test_states() -> None:
    """Own addresses, and the endpoint of the other end; nothing while it is not connected."""
    own = ipaddress.ip_address("10.8.0.3"), ipaddress.ip_address("fd00:8::1001")
    assert parse_state(STATE_OF_CLIENT) == State(own, "192.0.2.1:1194")
    assert parse_state(STATE_OF_CLIENT_6).remote == "[fd00:2::1]:1194"
    assert parse_state(STATE_OF_SERVER).remote == ""
    assert len(parse_state(STATE_OF_SERVER).local_addrs) == 2
    assert parse_state(b"1,CONNECTED,SUCCESS,10.8.0.3") == State(own[:1])
    assert parse_state(b"1,RECONNECTING,x,,,,,") == State()


@pytest.mark.parametrize("line", [b"", b"x", b"1,CONNECTED,,x", b"1,CONNECTED,,,x,1"])
def test_what_is_no_state(line: bytes) -> None:
    """It is an error."""
    with pytest.raises(ValueError, match=r"^state: "):
        parse_state(line)


def test_a_client_knows_its_own_addresses() -> None:
    """It names no peer whose overlay address is not known: a user may."""
    told = client_overlay(parse_state(STATE_OF_CLIENT))
    assert tuple(map(str, told.local_addrs)) == ("10.8.0.3/32", "fd00:8::1001/128")
    assert not told.peers
    assert told.nodes is None


# -- anything -----------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.sampled_from(
        [
            *(b",", b"\t", b"\n", b"\r\n", b"END\n", b"\0", b"\xff", b"UNDEF", b"C", b"/33", b"%x"),
            *(b"OpenVPN CLIENT LIST\n", b"ROUTING TABLE\n", b"TITLE,", b"TITLE\t", b"HEADER,"),
            *(b"CLIENT_LIST", b"ROUTING_TABLE", b"Common Name", b"Real Address", b"Username"),
            *(b"192.0.2.2:1", b"10.8.0.3", b"fd00::1", b"fe80::1%1", b"9" * 30, b"-1", b"1e3"),
        ]
    ),
    st.binary(max_size=20),
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A status in which some places have something else."""
    status = draw(st.sampled_from([VERSION_1, VERSION_2, VERSION_3]))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(status)))
        end = at + draw(st.integers(0, 30))
        status = status[:at] + draw(_PIECES) + status[end:]
    return status


@given(st.one_of(_damaged(), st.lists(_PIECES, max_size=40).map(b"".join), st.binary()))
@example(VERSION_2.replace(b"alice", "\u0661".encode()))
def test_anything_is_an_overlay_or_a_value_error(status: bytes) -> None:
    """No status makes another error, and none an overlay that has other ids for the same nodes."""
    try:
        told = overlay(status)
    except ValueError:
        return
    assert told == overlay(status)
    assert told.nodes is not None
    by_id: dict[str, Node] = {}
    for node in told.nodes.by_address.values():
        assert by_id.setdefault(node.node_id, node) == node


@given(st.binary(), st.binary())
def test_any_line_is_a_state_or_a_value_error(before: bytes, after: bytes) -> None:
    """No answer to `state` makes another error."""
    for line in (before, STATE_OF_CLIENT[: len(before)] + after, STATE_OF_CLIENT + after):
        try:
            client_overlay(parse_state(line))
        except ValueError:
            continue


_names = st.text(
    st.characters(exclude_characters="\n\r\t", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name != "UNDEF")


@given(_names, _names, st.sampled_from([1, 2, 3]))
def test_names_harm_nobody_else(name: str, user: str, version: int) -> None:
    """Whatever a client is called, the others are what they were; in version 3 it is called so."""
    status = {1: VERSION_1, 2: VERSION_2, 3: VERSION_3}[version].replace(b"alice", name.encode())
    separator = b"\t" if version == 3 else b","
    status = status.replace(
        b"1795455326" + separator + b"UNDEF" + separator + b"1",
        separator.join([b"1795455326", user.encode(), b"1"]),
    )
    told = overlay(status)
    assert BJORN_2 in told.peers or name == "Bjørn"
    assert told.nodes is not None
    at = ipaddress.ip_address("10.8.0.4")
    assert told.nodes.by_address[at].name == "Bjørn"
    if version == 3 and name != "Bjørn":
        assert [peer.name for peer in told.peers if peer.endpoint == ALICE.endpoint] == [name]
