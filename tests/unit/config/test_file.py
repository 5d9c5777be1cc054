"""netlog.config.file: a gateway's TOML file."""

from pathlib import Path

import pytest

from netlog import ConfigError
from netlog.config.file import load_gateways, parse_gateways
from netlog.config.relay import RelayConfig
from netlog.config.sinks import FileSinkConfig, StdoutSinkConfig

WHOLE = """
poll_period_s = 2.5
exit_traffic = "log"
max_flows = 1024

[node]
id = "gateway-a"

[tun]
name = "netlog0"
addresses = ["100.64.0.1", "fd7a:115c:a1e0:0::1/64"]
mtu = 1400

[sock]
listen = "[::]:41641"

[[peers]]
name = "b"
endpoint = "198.51.100.2:41641"
allowed_ips = ["100.64.0.2", "192.168.7.0/24", "0.0.0.0/0"]

[[peers]]
endpoint = "[2001:DB8::2]:41641"
allowed_ips = ["fd7a:115c:a1e0::2/128"]

[routes]
subnets = ["10.1.0.0/16"]
default = true

[[sinks]]
type = "stdout"

[[sinks]]
type = "file"
path = "flows.jsonl"
"""

SMALL = """
[node]
id = "a"
[tun]
name = "tun0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:1"
"""

PEER = '[[peers]]\nendpoint = "192.0.2.1:1"\nallowed_ips = ["100.64.0.9"]\n'


def parsed(text: str) -> RelayConfig:
    """The one gateway of a text."""
    (placed,) = parse_gateways(text, "gateway.toml")
    assert isinstance(placed.config, RelayConfig)
    assert placed.origin == "gateway.toml"
    return placed.config


def refused(text: str) -> str:
    """What is said about a wrong configuration, without the file's name before it."""
    with pytest.raises(ConfigError) as caught:
        parse_gateways(text, "gateway.toml")
    said = str(caught.value)
    assert said.startswith("gateway.toml: ")
    return said.removeprefix("gateway.toml: ")


def test_a_whole_configuration_is_read_in_canonical_form() -> None:
    """Every key is read, and addresses, prefixes and endpoints become canonical."""
    config = parsed(WHOLE)
    assert (config.node.id, config.poll_period_s, config.exit_traffic) == ("gateway-a", 2.5, "log")
    assert (config.tun.name, config.tun.mtu, config.max_flows) == ("netlog0", 1400, 1024)
    assert config.tun.addresses == ("100.64.0.1/32", "fd7a:115c:a1e0::1/64")
    assert [address.host for address in config.tun.addresses] == ["100.64.0.1", "fd7a:115c:a1e0::1"]
    assert (config.sock.listen.host, config.sock.listen.port) == ("::", 41641)
    first, second = config.peers
    assert (first.name, first.endpoint.host, first.endpoint.version) == ("b", "198.51.100.2", 4)
    assert first.allowed_ips == ("100.64.0.2/32", "192.168.7.0/24", "0.0.0.0/0")
    assert [prefix.is_default for prefix in first.allowed_ips] == [False, False, True]
    assert (second.name, second.endpoint, second.endpoint.version) == ("", "[2001:db8::2]:41641", 6)
    assert (config.routes.subnets, config.routes.default) == (("10.1.0.0/16",), True)
    assert config.sinks == (StdoutSinkConfig(), FileSinkConfig(path="flows.jsonl"))


def test_what_may_be_left_out_has_a_default() -> None:
    """Only the node, the TUN and the socket must be there."""
    config = parsed(SMALL)
    assert (config.poll_period_s, config.exit_traffic, config.max_flows) == (
        5.0,
        None,
        65536,
    )
    assert (config.max_message_bytes, config.meter, config.nodes) == (262144, None, None)
    assert (config.tun.mtu, config.peers, config.sinks) == (1280, (), (StdoutSinkConfig(),))
    assert config.tun.offload
    assert (config.routes.subnets, config.routes.default) == ((), False)


def changed(old: str, new: str) -> str:
    """The whole configuration with one thing else."""
    assert old in WHOLE
    return WHOLE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("x", "expected TOML: ", id="no-toml"),
        pytest.param(
            "[node]\nid = " + "9" * 5000,
            "line 2: expected a number with at most 4300 digits",
            id="digits",
        ),
        pytest.param(
            "[node]\nid = 0x" + "f" * 5000,
            "node.id: expected a whole number of at most 64 bits",
            id="hexadecimal-digits",
        ),
        pytest.param(
            "type = 0x" + "f" * 5000,
            "type: expected a whole number of at most 64 bits",
            id="a-type-of-many-digits",
        ),
        pytest.param(
            "[node]\n\nid = " + "[" * 1000,
            "line 3: tables or lists are nested too deeply",
            id="nested",
        ),
        pytest.param(
            "x = " + "{a = " * 5000,
            "line 1: tables or lists are nested too deeply",
            id="nested-tables",
        ),
        pytest.param("", "node: expected a value, but the key is missing", id="empty"),
        pytest.param(
            changed('id = "gateway-a"', ""),
            "node.id: expected a value, but the key is missing",
            id="missing-key",
        ),
        pytest.param(
            changed("mtu", "mut"),
            "tun.mut: no such key; expected name, addresses, mtu, offload",
            id="unknown-key",
        ),
        pytest.param(
            changed('name = "b"', 'nick = "b"'),
            "peers[0].nick: no such key; expected endpoint, allowed_ips, name",
            id="unknown-key-in-a-list",
        ),
        pytest.param(
            "pol = 1\n" + WHOLE,
            "pol: no such key; expected type, node, sinks, poll_period_s, exit_traffic, max_flows, "
            "max_message_bytes, meter, nodes, peers, tun, sock, routes",
            id="unknown-key-at-the-top",
        ),
        pytest.param(
            changed("mtu = 1400", 'mtu = "1400"'),
            "tun.mtu: expected a whole number, got a string",
            id="type",
        ),
        pytest.param(
            changed("mtu = 1400", "mtu = 1279"),
            "tun.mtu: expected a whole number >= 1280",
            id="mtu-low",
        ),
        pytest.param(
            changed("mtu = 1400", "mtu = 65536"),
            "tun.mtu: expected a whole number <= 65535",
            id="mtu-high",
        ),
        pytest.param(
            changed('["100.64.0.1", "fd7a:115c:a1e0:0::1/64"]', "[]"),
            "tun.addresses: expected a list with at least one entry",
            id="no-address",
        ),
        pytest.param(
            changed('"100.64.0.1", "fd7a', '"100.64.0.1/33", "fd7a'),
            "tun.addresses[0]: expected an IP address with a prefix length, such as 100.64.0.1/32, "
            "got '100.64.0.1/33'",
            id="address",
        ),
        pytest.param(
            changed('"100.64.0.1", "fd7a', '7, "fd7a'),
            "tun.addresses[0]: expected a string, got 7",
            id="address-type",
        ),
        pytest.param(
            changed('"100.64.0.1", "fd7a', '"fe80::1%eth0/64", "fd7a'),
            "tun.addresses[0]: expected an address without a zone, got 'fe80::1%eth0/64'",
            id="zone",
        ),
        pytest.param(
            changed('"fd7a:115c:a1e0:0::1/64"', '"100.64.0.1/24"'),
            "tun.addresses[1]: expected a unique value, but '100.64.0.1' is also in "
            "tun.addresses[0]",
            id="address-twice",
        ),
        pytest.param(
            changed('"192.168.7.0/24"', '"192.168.7.1/24"'),
            "peers[0].allowed_ips[1]: expected an IP prefix without host bits, such as "
            "192.168.7.0/24, got '192.168.7.1/24'",
            id="prefix",
        ),
        pytest.param(
            changed('"fd7a:115c:a1e0::2/128"', '"192.168.7.0/24"'),
            "peers[1].allowed_ips[0]: expected a unique prefix, but '192.168.7.0/24' is also in "
            "peers[0].allowed_ips",
            id="prefix-of-two-peers",
        ),
        pytest.param(
            changed('"fd7a:115c:a1e0::2/128"', '"100.64.0.1"'),
            "peers[1].allowed_ips[0]: expected a unique prefix, but '100.64.0.1/32' is also in "
            "tun.addresses",
            id="prefix-of-our-own",
        ),
        pytest.param(
            changed("[2001:DB8::2]:41641", "198.51.100.2:41641"),
            "peers[1].endpoint: expected a unique value, but '198.51.100.2:41641' is also in "
            "peers[0].endpoint",
            id="endpoint-twice",
        ),
        pytest.param(
            changed('listen = "[::]:41641"', 'listen = "0.0.0.0:41641"'),
            "peers[1].endpoint: expected an IPv4 endpoint, because sock.listen is '0.0.0.0:41641', "
            "got '[2001:db8::2]:41641'",
            id="endpoint-family",
        ),
        pytest.param(
            changed('"198.51.100.2:41641"', '"0.0.0.0:41641"'),
            "peers[0].endpoint: expected the peer's own address, got '0.0.0.0:41641'",
            id="endpoint-unspecified",
        ),
        pytest.param(
            changed('type = "file"', 'type = "socket"'),
            "sinks[1].type: expected 'stdout' or 'file' or 'http' or 'http-json' or 'hec', got "
            "'socket'",
            id="sink-type",
        ),
        pytest.param(
            changed('path = "flows.jsonl"', ""),
            "sinks[1].path: expected a value, but the key is missing",
            id="sink-path",
        ),
        pytest.param(
            changed('path = "flows.jsonl"', 'path = " "'),
            "sinks[1].path: expected text that is not empty, got ' '",
            id="sink-path-empty",
        ),
        pytest.param(
            changed('type = "stdout"', 'type = "stdout"\npath = "x"'),
            "sinks[0].path: no such key; expected type",
            id="sink-of-another-type",
        ),
        pytest.param(
            changed('type = "file"\npath = "flows.jsonl"', 'type = "stdout"'),
            "sinks[1]: expected a unique value, but 'stdout' is also in sinks[0]",
            id="stdout-twice",
        ),
        pytest.param(
            'meter = "run/netlog"\n' + WHOLE,
            "meter: expected the absolute path of a file, got 'run/netlog'",
            id="meter-relative",
        ),
        pytest.param(
            "max_message_bytes = 100\n" + WHOLE,
            "max_message_bytes: expected a whole number >= ",
            id="message-small",
        ),
        pytest.param(
            "max_message_bytes = 1048577\n" + WHOLE,
            "max_message_bytes: expected a whole number <= 1048576",
            id="message-big",
        ),
        pytest.param(
            "nodes = {}\n" + WHOLE,
            "nodes.file: expected a value, but the key is missing",
            id="nodes",
        ),
        pytest.param(
            "sinks = []\n" + SMALL,
            "sinks: expected a list with at least one entry",
            id="no-sink",
        ),
        pytest.param(
            changed('"log"', '"all"'),
            "exit_traffic: expected 'aggregate' or 'anonymize' or 'drop' or 'log', got 'all'",
            id="exit-mode",
        ),
        pytest.param(
            changed("2.5", "0.05"), "poll_period_s: expected a number >= 0.1", id="period-short"
        ),
        pytest.param(
            changed("2.5", "1e9"), "poll_period_s: expected a number <= 3600.0", id="period-long"
        ),
        pytest.param(
            changed("2.5", "nan"),
            "poll_period_s: expected a number >= 0.1",
            id="period-nan",
        ),
        pytest.param(changed("1024", "0"), "max_flows: expected a whole number >= 1", id="flows"),
        pytest.param(
            "tun = 1\n[node]\nid = 'a'\n[sock]\nlisten = '0.0.0.0:1'",
            "tun: expected a table, got a whole number",
            id="no-table",
        ),
        pytest.param(
            changed('id = "gateway-a"', 'id = ""'),
            "node.id: expected text that is not empty, got ''",
            id="node-id",
        ),
    ],
)
def test_a_wrong_configuration_is_named_by_file_key_and_expectation(text: str, said: str) -> None:
    """The error says which file, which key, and what was expected there."""
    assert refused(text).startswith(said)


@pytest.mark.parametrize(
    "endpoint",
    [
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:٣",
        "192.0.2.256:1",
        "2001:db8::1:41641",
        "[2001:db8::1]",
        "[192.0.2.1]:1",
        "224.0.0.1:1",
        "[ff02::1]:1",
        "",
        ":1",
        "192.0.2.1:" + "9" * 5000,
    ],
)
def test_an_endpoint_is_an_address_and_a_port(endpoint: str) -> None:
    """What is no unicast address with a port is refused."""
    said = refused(SMALL + PEER.replace("192.0.2.1:1", endpoint))
    assert said.startswith("peers[0].endpoint: expected a unicast address and a port, such as ")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("example.com:1", "expected an IP address: names are not supported"),
        ("vpn-1.example.com.:1", "expected an IP address: names are not supported"),
        ("localhost:1", "expected an IP address: names are not supported"),
        ("[fe80::1%eth0]:1", "expected an address without a zone"),
        ("[fe80::1%25eth0]:1", "expected an address without a zone"),
        ("[::ffff:192.0.2.1]:1", "expected an IPv4 address as such, 192.0.2.1:1"),
    ],
)
def test_an_endpoint_that_is_not_supported_is_told_as_such(endpoint: str, said: str) -> None:
    """In clear words: a user of WireGuard has reason to expect a name to work."""
    found = refused(SMALL + PEER.replace("192.0.2.1:1", endpoint))
    assert found.startswith(f"peers[0].endpoint: {said}")
    assert found.endswith(f", got {endpoint!r}")


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "tun%d", "x" * 16, "é" * 8])
def test_an_interface_name_is_one_that_linux_takes(name: str) -> None:
    """A name that the kernel would refuse, or fill in, is refused before."""
    assert refused(SMALL.replace("tun0", name)).startswith("tun.name: expected an interface name")


def test_the_longest_interface_name_is_right() -> None:
    """15 bytes are the most, in UTF-8."""
    assert parsed(SMALL.replace("tun0", "é" * 7 + "x")).tun.name == "é" * 7 + "x"


@pytest.mark.parametrize("listen", ["[::]:1", "[2001:db8::1]:1"])
def test_only_an_unbound_ipv6_socket_reaches_ipv4_peers(listen: str) -> None:
    """[::] carries both families, an IPv6 address only its own."""
    text = SMALL.replace("0.0.0.0:1", listen) + PEER
    if listen == "[::]:1":
        parsed(text)
    else:
        assert refused(text).startswith("peers[0].endpoint: expected an IPv6 endpoint")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and one that is not UTF-8 are configuration errors."""
    with pytest.raises(ConfigError, match=r"missing\.toml: expected a readable file: No such file"):
        load_gateways(tmp_path / "missing.toml")
    (tmp_path / "latin1.toml").write_bytes(b"x = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin1\.toml: expected UTF-8, but byte 5 is not"):
        load_gateways(tmp_path / "latin1.toml")
