"""`netlog watch`: its options, alone and with a configuration; and what the tap refuses."""

import argparse
import ipaddress
from pathlib import Path

import pytest

from netlog import DeviceError, Meter
from netlog.cli.watch import add_options, changes_of
from netlog.config.external import WatchConfig
from netlog.config.file import load_config, parse_config
from netlog.devices.tap import Tap, TapCounters
from netlog.errors import ConfigError
from netlog.gateways.settings import with_node
from netlog.gateways.watch import SockPoint, WatchSettings, watch_settings
from netlog.model.routes import RouterConfig
from netlog.netlink.interfaces import addresses_of, index_of
from netlog.sources import WireGuardSource

WATCH = """
poll_period_s = 2.0
exit_traffic = "log"
max_flows = 128
meter = "/run/netlog/watch"
[node]
id = "node-1"
[tun]
name = "wg7"
[[socks]]
port = 51820
[[peers]]
endpoint = "192.0.2.2:51820"
allowed_ips = ["100.64.0.2/32"]
[routes]
overlay = ["100.64.0.2/32"]
subnets = ["10.1.0.0/16"]
[source]
type = "wireguard"
interface = "wg7"
"""


def settings(*arguments: str, config: str | None = None) -> WatchSettings:
    """What arguments, and the text of a configuration, make of a watch."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    changes = changes_of(parser.parse_args(arguments))
    if config is None:
        return watch_settings(with_node(load_config(None, WatchConfig, changes)))
    return watch_settings(with_node(parse_config(config, "watch.toml", WatchConfig, changes)))


def test_options_alone() -> None:
    """Everything can be said without a file."""
    made = settings(
        *("--tun", "wg0", "--sock", "51820@eth0", "--sock", "51821", "--route", "10.0.0.0/8"),
        *("--node-id", "n1", "--poll-period", "0.5", "--threads", "2"),
        *("--source", "wireguard:wg0"),
    )
    assert made.tun == "wg0"
    assert made.socks == (SockPoint(51820, "eth0"), SockPoint(51821))
    assert made.routes == RouterConfig(routes=["10.0.0.0/8"])
    assert (made.node_id, made.poll_period_s, made.threads) == ("n1", 0.5, 2)
    assert isinstance(made.source, WireGuardSource)
    assert made.source_name == "wireguard wg0"


def test_a_configuration_says_what_the_options_do_not() -> None:
    """Options win; routes and sockets are added up."""
    made = settings(config=WATCH)
    assert (made.tun, made.socks, made.node_id) == ("wg7", (SockPoint(51820),), "node-1")
    assert (made.poll_period_s, made.exit_traffic, made.max_flows) == (2.0, "log", 128)
    assert made.meter == "/run/netlog/watch"
    assert [peer.endpoint for peer in made.peers] == ["192.0.2.2:51820"]
    assert made.routes.subnet_routes == (ipaddress.ip_network("10.1.0.0/16"),)
    assert isinstance(made.source, WireGuardSource)
    other = settings(
        *("--tun", "tun9", "--sock", "9", "--route", "10.2.0.0/16", "--poll-period", "1"),
        config=WATCH,
    )
    assert (other.tun, other.poll_period_s) == ("tun9", 1.0)
    assert other.socks == (SockPoint(51820), SockPoint(9))
    assert [str(route) for route in other.routes.routes] == ["100.64.0.2/32", "10.2.0.0/16"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "tun: expected a value, but the key is missing", id="nothing"),
        pytest.param(("--tun", "a/b"), "tun.name: expected an interface name", id="tun"),
        pytest.param(("--sock", "0"), "socks[0].port: expected a whole number >= 1", id="port-0"),
        pytest.param(("--sock", "65536"), "socks[0].port: ", id="port-65536"),
        pytest.param(("--sock", "1@"), "socks[0].interface: ", id="no-interface"),
        pytest.param(("--sock", "1", "--sock", "1"), "socks[1]: ", id="twice"),
        pytest.param(("--route", "10.0.0.1/8"), "routes.overlay[0]: ", id="route"),
        pytest.param(("--poll-period", "0"), "poll_period_s: ", id="period"),
        pytest.param(("--poll-period", "nan"), "poll_period_s: ", id="period-nan"),
        pytest.param(("--threads", "0"), "threads: ", id="threads"),
        pytest.param(("--node-id", " "), "node.id: ", id="node"),
        pytest.param(("--source", "wireguard:a/b"), "source.interface: ", id="wireguard"),
        pytest.param(("--source", "wireguard"), "source.interface: expected a value", id="none"),
        pytest.param(("--source", "openvpn:"), "source.at: ", id="openvpn"),
        pytest.param(
            ("--source", "tailscale:x"), "source.socket: expected the absolute", id="path"
        ),
    ],
)
def test_wrong_values_are_named_as_in_a_file(arguments: tuple[str, ...], said: str) -> None:
    """The key that an option stands for, and what was expected."""
    tun = ("--tun", "wg0") if arguments and "--tun" not in arguments else ()
    with pytest.raises(ConfigError) as caught:
        settings(*tun, *arguments)
    assert str(caught.value).startswith(f"command line: {said}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sock", "@eth0"),
        ("--sock", "x"),
        ("--threads", "x"),
        ("--poll-period", "x"),
        ("--source", "nebula:x"),
        ("--config", "a", "--output", "b"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is said on standard error, with status 2."""
    with pytest.raises(SystemExit) as ended:
        settings("--tun", "wg0", *arguments)
    assert ended.value.code == 2
    assert "usage: " in capsys.readouterr().err


def test_a_tap_refuses_what_can_not_be() -> None:
    """Wrong numbers before anything is opened; an interface that is not there by its name."""
    with Meter(16) as meter:
        with pytest.raises(ValueError, match=r"port 0"):
            Tap.on_sock(0, meter=meter)
        with pytest.raises(ValueError, match=r"threads"):
            Tap.on_tun("lo", meter=meter, threads=0)
        with pytest.raises(ValueError, match=r"out of range"):
            Tap.on_tun("lo", meter=meter, ring_bytes=1)
        with pytest.raises(DeviceError) as caught:
            Tap.on_tun("none-such", meter=meter)
        assert caught.value.filename == "none-such"


def test_counters_add_up() -> None:
    """Each with its own kind."""
    assert TapCounters(frames=1, kernel_drops=2) + TapCounters(frames=3) == TapCounters(
        frames=4, kernel_drops=2
    )


def test_addresses_of_an_interface() -> None:
    """Loopback has its own, by netlink."""
    found = addresses_of(index_of("lo"))
    assert ipaddress.ip_address("127.0.0.1") in found or not Path("/sys/class/net/lo").exists()
    assert addresses_of((1 << 31) - 1) == ()
