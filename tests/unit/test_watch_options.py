"""`netlog watch`: its options, alone and with a configuration; and what the tap refuses."""

import argparse
import ipaddress
from pathlib import Path

import pytest

from netlog import DeviceError, Meter
from netlog.cli.watch_options import add_options, settings_of
from netlog.config import parse_config
from netlog.errors import ConfigError
from netlog.interfaces import addresses_of, index_of
from netlog.routes import RouterConfig
from netlog.sources import WireGuardSource
from netlog.tap import Tap, TapCounters
from netlog.watch import SockPoint, WatchSettings

GATEWAY = """
poll_period_s = 2.0
exit_traffic = "log"
max_flows = 128
[node]
id = "node-1"
[tun]
name = "wg7"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:51820"
[[peers]]
endpoint = "192.0.2.2:51820"
allowed_ips = ["100.64.0.2/32"]
[routes]
subnets = ["10.1.0.0/16"]
"""


def settings(*arguments: str, config: str | None = None) -> WatchSettings:
    """What arguments, and the text of a configuration, make of a watch."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.set_defaults(parser=parser)
    parsed = None if config is None else parse_config(config, "gateway.toml")
    return settings_of(parser.parse_args(arguments), parsed)


def test_options_alone() -> None:
    """Everything can be said without a file."""
    made = settings(
        *("--tun", "wg0", "--sock", "51820@eth0", "--sock", "51821", "--route", "10.0.0.0/8"),
        *("--node-id", "n1", "--poll-period", "0.5", "--wireguard", "wg0", "--threads", "2"),
    )
    assert made.tun == "wg0"
    assert made.socks == (SockPoint(51820, "eth0"), SockPoint(51821))
    assert made.routes == RouterConfig(routes=["10.0.0.0/8"])
    assert (made.node_id, made.poll_period_s, made.threads) == ("n1", 0.5, 2)
    assert isinstance(made.source, WireGuardSource)


def test_a_configuration_says_what_the_options_do_not() -> None:
    """Options win, and routes are added up."""
    made = settings(config=GATEWAY)
    assert (made.tun, made.socks, made.node_id) == ("wg7", (SockPoint(51820),), "node-1")
    assert (made.poll_period_s, made.exit_traffic, made.max_flows) == (2.0, "log", 128)
    assert [peer.endpoint for peer in made.peers] == ["192.0.2.2:51820"]
    assert made.routes.subnet_routes == (ipaddress.ip_network("10.1.0.0/16"),)
    other = settings(
        *("--tun", "tun9", "--sock", "9", "--route", "10.2.0.0/16", "--poll-period", "1"),
        config=GATEWAY,
    )
    assert (other.tun, other.socks, other.poll_period_s) == ("tun9", (SockPoint(9),), 1.0)
    assert [str(route) for route in other.routes.routes] == ["100.64.0.2/32", "10.2.0.0/16"]
    with pytest.raises(ConfigError, match=r"meter"):
        settings(config='meter = "/run/m"\n' + GATEWAY)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--tun", "a/b"),
        ("--tun", "wg0", "--sock", "0"),
        ("--tun", "wg0", "--sock", "65536"),
        ("--tun", "wg0", "--sock", "1@"),
        ("--tun", "wg0", "--sock", "@eth0"),
        ("--tun", "wg0", "--route", "10.0.0.1/8"),
        ("--tun", "wg0", "--poll-period", "0"),
        ("--tun", "wg0", "--poll-period", "nan"),
        ("--tun", "wg0", "--threads", "0"),
        ("--tun", "wg0", "--node-id", " "),
        ("--tun", "wg0", "--config", "a", "--output", "b"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is said on standard error, with status 2."""
    with pytest.raises(SystemExit) as ended:
        settings(*arguments)
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
