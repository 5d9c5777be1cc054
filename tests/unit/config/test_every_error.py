"""All errors of a configuration at once, each with the line in which it is."""

from pathlib import Path

import pytest

from netlog import ConfigError
from netlog.config.file import load_gateways, parse_gateways
from netlog.config.lines import line_of

WRONG = """# a comment with [brackets] and "quotes
node.id = 5
unknown = '''
[not.a.table]
x = 1
'''

[tun]
name = "a/b"   # line 9
addresses = [
    "100.64.0.1/32",
    "100.64.0.300",
]
mtu = "1400"

[sock]
listen = "vpn.example.com:1"

[[peers]]
endpoint = "192.0.2.1:1"
allowed_ips = ["100.64.0.2"]

[[peers]]
"endpoint" = "[fe80::1%eth0]:1"
allowed_ips = []

[[sinks]]
type = "hec"
url = "ftp://x"

[[ sinks ]]
type = 'file'
rotate_bytes = 0

[routes]
default = "yes"
"""
SAID = [
    "line 3: unknown: no such key; expected type, node, ",
    "line 2: node.id: expected a string, got 5",
    "line 29: sinks[0].url: expected a URL such as ",
    "line 27: sinks[0].spool: expected a value, but the key is missing",
    "line 31: sinks[1].path: expected a value, but the key is missing",
    "line 33: sinks[1].rotate_bytes: expected at least 1 byte and at most 4096 TiB, got 0",
    "line 24: peers[1].endpoint: expected an address without a zone",
    "line 25: peers[1].allowed_ips: expected a list with at least one entry",
    "line 9: tun.name: expected an interface name",
    "line 10: tun.addresses[1]: expected an IP address with a prefix length",
    "line 14: tun.mtu: expected a whole number, got a string",
    "line 17: sock.listen: expected an IP address: names are not supported",
    "line 36: routes.default: expected true or false, got a string",
]


def refused(path: Path, text: str) -> list[str]:
    """The lines about a wrong file, without its name."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_gateways(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_every_error_is_told_with_its_line(tmp_path: Path) -> None:
    """Errors of types hide none of another key, and each has the line of its key or table."""
    found = refused(tmp_path / "gateway.toml", WRONG)
    assert len(found) == len(SAID), "\n".join(found)
    for line, said in zip(sorted(found), sorted(SAID), strict=True):
        assert line.startswith(said), line


def test_every_gateway_is_looked_at(tmp_path: Path) -> None:
    """Errors of one gateway hide none of another one, nor of one that contradicts itself."""
    text = """[[gateways]]
type = "watch"
[gateways.tun]
name = "wg0"
[[gateways.socks]]
port = 1
[[gateways.socks]]
port = 1
[[gateways.sinks]]
type = "file"
path = "a"
keep = 1

[[gateways]]
type = "exec"
sock_ports = [0, 1, 70000]
[[gateways]]
type = "rely"
"""
    assert [line.partition(": expected")[0] for line in refused(tmp_path / "g.toml", text)] == [
        "line 7: gateways[0]: socks[1]",
        "line 12: gateways[0]: sinks[0].keep",
        "line 16: gateways[1]: sock_ports[0]",
        "line 16: gateways[1]: sock_ports[2]",
        "line 18: gateways[2]: type",
    ]


def test_the_number_of_errors_has_an_end() -> None:
    """A file of nothing but errors does not fill a terminal for ever."""
    peers = '[[peers]]\nendpoint = "x"\n' * 10_000
    with pytest.raises(ConfigError) as caught:
        parse_gateways(peers, "g.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "g.toml: and further errors"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a = 1", "a", 1),
        ("a = 1", "b", None),
        ("\n\r\na.b = 1\r\n", "a.b", 3),
        ("\na.b = 1", "a", 2),
        ("[a]\n[a.b]\nc = 1", "a.b.c", 3),
        ("[[a]]\n[[a.b]]\n[[a.b]]\nc = 1\n[[a]]\n[[a.b]]\nc = 1", "a[0].b[1].c", 4),
        ("[[a]]\n[[a.b]]\n[[a.b]]\nc = 1\n[[a]]\n[[a.b]]\nc = 1", "a[1].b[0].c", 7),
        ("a = { b = 1, c = 2 }", "a.c", 1),
        ("a = [\n { b = 1 },\n { b = 2 },\n]\nb = 1", "a[1].b", 1),
        ("a = [\n { b = 1 },\n { b = 2 },\n]\nb = 1", "b", 5),
        ('a = """\nb = 1\n\\"""\n"""\nb = 2', "b", 5),
        ("a = '''\n[b]\n'''\n[b]", "b", 4),
        ("a = '[' # ]\nb = 1", "b", 2),
        ('a = "\\"[" # {{{\nb = 1', "b", 2),
        ("a = 1979-05-27T07:32:00Z\nb = 1", "b", 2),
        ('"a" = 1\n\'b\' = 2\n"c" . d = 1', "c.d", 3),
        ('a = """x""""\nb = 1', "b", 2),
        ("", "a", None),
    ],
)
def test_the_line_of_a_key(text: str, key: str, line: int | None) -> None:
    """Whatever strings, comments and brackets are around it."""
    assert line_of(text, key) == line
