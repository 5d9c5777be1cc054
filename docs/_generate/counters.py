"""What a gateway prints on SIGUSR1 and when it ends, from counters that were filled in."""

from netlog import Count, LoggerCounters, RelayCounters
from netlog.cli.counters import counter_lines
from netlog.devices.tap import TapCounters
from netlog.gateways.exec_metering import ExecCounters
from netlog.gateways.relay import GatewayCounters
from netlog.gateways.watch import WatchCounters
from netlog.preload.meter import Aside
from netlog.sinks import SinkCounters

__all__ = ["of_exec", "of_relay", "of_watch"]

SINKS = {
    "/var/log/netlog/flows.jsonl": SinkCounters(written=17281),
    "https://splunk.example.com:8088": SinkCounters(
        written=17160,
        pending=121,
        retried=9,
        errors=9,
        spool_bytes=1_900_000,
        spool_age_s=604.0,
        last_error="status 503",
    ),
}


def of_relay() -> str:
    """What `netlog run` prints of a relay."""
    relay = RelayCounters(
        tx=Count(48_211_904, 41_207_332_118),
        rx=Count(30_118_223, 9_772_001_534),
        tx_dropped={"no_peer": Count(3, 252), "send_queue_full": Count(0, 0)},
        rx_dropped={"unknown_endpoint": Count(2, 84), "source_not_allowed": Count(0, 0)},
    )
    return _block(GatewayCounters(relay, _logger()))


def of_exec() -> str:
    """What `netlog run` prints of an exec."""
    aside = Aside(processes=1, tuns=1, laneless_packets=12, laneless_bytes=9_480, far_descriptors=0)
    return _block(ExecCounters(_logger(), aside, source_errors=4))


def of_watch() -> str:
    """What `netlog watch` prints."""
    taps = {
        "tun wg0": TapCounters(frames=48_211_907, counted=48_211_907),
        "sock 51820@eth0": TapCounters(frames=49_011_200, counted=49_011_188, other_host=12),
    }
    return _block(WatchCounters(taps, _logger(), source_errors=4))


def _logger() -> LoggerCounters:
    return LoggerCounters(
        polls=17_280,
        late_polls=2,
        connections=3_412_118,
        endpoints=34_560,
        tun={
            "tx_packets": 48_211_907,
            "tx_bytes": 41_207_332_370,
            "rx_packets": 30_118_223,
            "rx_bytes": 9_772_001_534,
        },
        sock={
            "tx_packets": 48_211_904,
            "tx_bytes": 41_207_332_118,
            "rx_packets": 30_118_225,
            "rx_bytes": 9_772_001_618,
        },
        unattributed={"malformed": 4, "not_ip": 0, "table_full": 0},
        messages=17_281,
        split=1,
    )


def _block(counters: GatewayCounters | ExecCounters | WatchCounters) -> str:
    """The lines as netlog prints them to standard error."""
    lines = (f"netlog: {line}" for line in counter_lines(counters, SINKS))
    return "``` { .text .wrap }\n" + "\n".join(lines) + "\n```"
