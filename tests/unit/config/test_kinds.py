"""netlog.config.file: the types of gateways, and several of them in one file."""

from pathlib import Path

import pytest

from netlog import ConfigError
from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.file import COMMAND_LINE, load_config, parse_config, parse_gateways
from netlog.config.gateway import GatewayConfig
from netlog.config.relay import RelayConfig

RELAY = """
node.id = "a"
tun = { name = "tun0", addresses = ["100.64.0.1/32"] }
sock.listen = "0.0.0.0:1"
"""
EXEC = 'type = "exec"\ncommand = ["openvpn"]\n'
WATCH = 'type = "watch"\ntun.name = "wg0"\n'


def several(*gateways: str) -> str:
    """A file with gateways."""
    return "".join(f"[[gateways]]\n{gateway}" for gateway in gateways)


def refused(text: str) -> str:
    """What is said about a wrong file, without its name."""
    with pytest.raises(ConfigError) as caught:
        parse_gateways(text, "x.toml")
    return str(caught.value).removeprefix("x.toml: ")


def kinds(text: str) -> list[type[GatewayConfig]]:
    """The types of a file's gateways."""
    return [type(placed.config) for placed in parse_gateways(text, "x.toml")]


def test_a_file_says_what_it_is() -> None:
    """A relay, unless it says."""
    assert kinds(RELAY) == [RelayConfig]
    assert kinds(f'type = "relay"\n{RELAY}') == [RelayConfig]
    assert kinds(EXEC) == [ExecConfig]
    assert kinds(WATCH) == [WatchConfig]


def test_several_gateways_keep_their_order_and_their_place() -> None:
    """Each is known by where it stands in the file."""
    placed = parse_gateways(several(RELAY, EXEC, WATCH), "x.toml")
    assert [type(each.config) for each in placed] == [RelayConfig, ExecConfig, WatchConfig]
    assert placed[2].origin == "x.toml: gateways[2]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            'type = "vpn"', "type: expected 'relay' or 'exec' or 'watch', got 'vpn'", id="type"
        ),
        pytest.param("type = 1", "type: expected 'relay' or", id="type-no-text"),
        pytest.param("gateways = []", "gateways: expected a list with at least", id="empty"),
        pytest.param("gateways = 1", "gateways: expected a list with at least", id="no-list"),
        pytest.param("gateways = [1]", "gateways[0]: expected a table", id="no-table"),
        pytest.param(
            "max_flows = 1\n" + several(WATCH),
            "max_flows: expected inside a [[gateways]] table",
            id="beside",
        ),
        pytest.param(several(RELAY, WATCH + "x = 1\n"), "gateways[1]: x: no such key", id="key"),
        pytest.param(
            several(RELAY, RELAY.replace(":1", ":2")),
            "gateways[1].tun.name: expected a unique value, but 'tun0' is also in gateways[0]",
            id="tun",
        ),
        pytest.param(
            several(RELAY, RELAY.replace("tun0", "tun1")), "gateways[1].sock.listen: ", id="listen"
        ),
        pytest.param(
            several(*[each + 'meter = "/run/m"\n' for each in (EXEC, WATCH)]),
            "gateways[1].meter: expected a unique value",
            id="meter",
        ),
        pytest.param(
            several(
                EXEC + 'sinks = [{ type = "stdout" }, { type = "file", path = "a/../b" }]\n',
                WATCH + 'sinks = [{ type = "file", path = "b" }]\n',
            ),
            "gateways[1].sinks[0].path: expected a unique path, but 'b' is also in gateways[0]",
            id="file",
        ),
        pytest.param(
            WATCH + 'source = { type = "nebula" }', "source.type: expected 'wireguard' or", id="src"
        ),
        pytest.param(
            WATCH + 'source = { type = "wireguard" }',
            "source.interface: expected a value, but the key is missing",
            id="source-without-interface",
        ),
        pytest.param(
            WATCH + 'source = { type = "wireguard", interface = "wg0", names = { abc = "d" } }',
            "source.names: expected a public key in base64",
            id="no-key",
        ),
        pytest.param(
            WATCH + "threads = 17", "threads: expected a whole number <= 16", id="threads"
        ),
        pytest.param(
            WATCH + 'nodes.file = "n"\nmax_message_bytes = 20000',
            "max_message_bytes: expected a whole number >= ",
            id="nodes-need-room",
        ),
        pytest.param(EXEC + "sock_ports = [0]", "sock_ports[0]: expected a whole", id="port"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    """By the gateway, the key, and what was expected."""
    assert refused(text).startswith(said)


def test_several_can_share_standard_output() -> None:
    """A line is a line, whoever wrote it."""
    assert len(parse_gateways(several(RELAY, EXEC, WATCH), "x")) == 3


def test_a_command_wants_its_own_kind() -> None:
    """A file of another type is refused, one that does not say is right."""
    assert parse_config('tun.name = "wg0"', "x", WatchConfig).tun.name == "wg0"
    with pytest.raises(ConfigError, match=r"x: type: expected 'watch', got 'exec'"):
        parse_config(EXEC, "x", WatchConfig)
    with pytest.raises(ConfigError, match=r"gateways: expected one gateway"):
        parse_config(several(WATCH), "x", WatchConfig)


def test_a_command_line_is_laid_over_a_file(tmp_path: Path) -> None:
    """Keys win, lists are added, tables are merged."""
    path = tmp_path / "watch.toml"
    path.write_text(
        'poll_period_s = 2\ntun.name = "wg0"\n[routes]\noverlay = ["10.0.0.0/8"]\n'
        'subnets = ["10.1.0.0/16"]\n'
    )
    changes = {"poll_period_s": 1.0, "routes": {"overlay": ["10.2.0.0/16"]}}
    config = load_config(path, WatchConfig, changes)
    assert config.poll_period_s == 1.0
    assert config.routes.overlay == ("10.0.0.0/8", "10.2.0.0/16")
    assert config.routes.subnets == ("10.1.0.0/16",)
    with pytest.raises(ConfigError, match=f"^{COMMAND_LINE}: tun: expected a value"):
        load_config(None, WatchConfig, {})
