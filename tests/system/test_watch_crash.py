"""`netlog watch` that is killed, its meter in a file; and a daemon that is killed before it."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.namespace import Namespace, wait_for
from tests.support.runs import Running, summed
from tests.support.soak import short_and_soak
from tests.support.watches import counts, drain, tun_of, udp4, watching

pytestmark = pytest.mark.root

PACKETS = 50
CONFIG = """
type = "watch"
poll_period_s = 3600
tun.name = "tun0"
meter = "{folder}/run/meter"
sinks = [{{ type = "file", path = "flows.jsonl" }}]
"""


def has_counted(running: Running) -> bool:
    """Whether a watch says that it has counted every frame: datagrams, and the kernel's answers."""
    running.process.send_signal(signal.SIGUSR1)
    kernel = running.namespace.counters("tun0")
    assert kernel.rx_packets == PACKETS
    frames = kernel.rx_packets + kernel.tx_packets + kernel.tx_dropped
    return f"tun tun0: {frames} frames counted" in running.said


@short_and_soak("times", 3, 10)
@pytest.mark.parametrize("daemon_first", [False, True])
def test_what_was_counted_survives(tmp_path: Path, daemon_first: bool, times: int) -> None:  # noqa: FBT001 - a parameter
    """Killed several times with its daemon alive, or just killed: each packet is in one message."""
    config = tmp_path / "watch.toml"
    config.write_text(CONFIG.format(folder=tmp_path))
    # So long that nothing is emitted before the kill; `watching` itself asks for a short one.
    options = ("--config", str(config), "--poll-period", "3600")
    with Namespace() as namespace:
        for _ in range(times):
            with watching(namespace, tmp_path / "watch", *options) as running:
                with tun_of(namespace) as tun:
                    wait_for(lambda: counts(running, "tun tun0"), "it is tapped")
                    for _ in range(PACKETS):
                        tun.write(udp4(b"abc"))
                    drain(tun)
                    wait_for(lambda: has_counted(running), "all are counted")
                    if not daemon_first:
                        running.process.kill()
                if daemon_first:
                    wait_for(lambda: "the interface was removed" in running.said, "it is gone")
                    running.process.kill()
                running.process.wait()
        with watching(namespace, tmp_path / "watch", *options) as running:
            wait_for(lambda: "a message every" in running.said, "it runs")
            assert running.stop() == 0
    lines = (tmp_path / "watch" / "flows.jsonl").read_text().splitlines()
    counted = summed([json.loads(line) for line in lines], "virtual", "subnet", "exit")
    assert counted[2:] == (times * PACKETS, times * PACKETS * len(udp4(b"abc")))
    assert not (tmp_path / "run" / "meter").exists()
