"""`netlog run` with spools: a receiver that is away, and files that get each message once."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from netlog.display.units import counted as number_of
from netlog.fmt.source import unpack
from tests.support.gateways import joined
from tests.support.namespace import Namespace, wait_for
from tests.support.proxy import proxy
from tests.support.receiver import Receiver, receiver
from tests.support.runs import CONFIG, Running, crossed, relays, started, summed, without_offload
from tests.support.wire import see_every_segment

pytestmark = pytest.mark.root

both_ways = pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
UDP_SEGMENT = 103
ON_TMPFS = str(Path(__file__).with_name("on_tmpfs.py"))
PRIVATE_ID = "a8" + "5c" * 30 + "7f"
TOKEN = "0f4b2c66-secret-token"  # noqa: S105 - of nothing
COPY_ID = "b0" + "1d" * 30 + "41"
# What a request has: its target, and who it says that it is.
SHOWN = {
    "http": (f"/c/flows.example.com/{PRIVATE_ID}?copyId={COPY_ID}", None),
    "http-json": (f"/in?key={TOKEN}", TOKEN),
    "hec": ("/services/collector/event", "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()),
}
CLASSES = ("virtual", "subnet", "exit")
SINKS = {
    "http": """
        type = "http"
        url = "http://127.0.0.1:{port}"
        collection = "flows.example.com"
        private_id_file = "private-id"
        copy_id_file = "copy-id"
        spool = "spool"
    """,
    "http-json": """
        type = "http-json"
        url = "http://127.0.0.1:{port}/in?key=0f4b2c66-secret-token"
        header_env = {{ Authorization = "LOG_TOKEN" }}
        compression = "gzip"
        spool = "spool"
    """,
    "hec": """
        type = "hec"
        url = "http://127.0.0.1:{port}"
        token_env = "LOG_TOKEN"
        user = "me"
        spool = "spool"
        compression = "zstd"
    """,
}


@contextlib.contextmanager
def running(
    namespace: Namespace, folder: Path, config: str, prefix: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a gateway until the block ends."""
    with started(namespace, folder, config, prefix=prefix) as a:
        wait_for(lambda: relays(a), "the gateway is up")
        yield a


@contextlib.contextmanager
def underlay() -> Iterator[Namespace]:
    """Where the gateway is: its link counts every datagram, and nothing else."""
    with joined() as (left, right):
        see_every_segment(left, right)
        yield left


def config_of(*, offload: bool) -> str:
    """A gateway, to which sinks are to be added."""
    config = CONFIG.format(me=1, peer=2)
    return config if offload else without_offload(config)


def send_until(a: Running, count: int, text: str) -> None:
    """Send, again and again, until a gateway has said something."""

    def said() -> bool:
        send(a, count)
        return text in a.said

    wait_for(said, text)


def send(a: Running, count: int) -> None:
    """Send datagrams into the tunnel, and wait until all are counted there and sent on.

    Half of them as one, which is what they are for a gateway with offloads.
    """
    before, sent = a.counters().tx_packets, a.namespace.counters("lan0").tx_packets
    with a.namespace.entered():
        user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with user:
        for port in range(1, count + 1):
            user.sendto(b"x", ("100.64.0.2", port))
        user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        user.sendto(b"x" * count, ("100.64.0.2", 1))
    reads = count + (1 if a.offload else count)
    a.joined += 2 * count - reads
    wait_for(lambda: a.counters().tx_packets == before + reads, "all is read")
    wait_for(lambda: a.namespace.counters("lan0").tx_packets >= sent + 2 * count, "all is sent on")


def received(server: Receiver, target: str = "/") -> list[dict[str, Any]]:
    """The messages that came to a path, each once: those of one identity must be the same."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for request in server.requests():
        if not request["target"].startswith(target):
            continue
        encoding = dict(request["headers"]).get("content-encoding")
        body = zlib.decompress(request["body"], 31) if encoding == "gzip" else request["body"]
        for entry in entries(b"".join(unpack([body])).decode()):
            message = entry.get("event", entry)
            identity = message.pop("logtail")
            first = found.setdefault((identity["proc_id"], identity["proc_seq"]), message)
            assert first == message
    return list(found.values())


def entries(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a body: an array, lines, or objects one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield from value if isinstance(value, list) else [value]
        at += text[at : at + 1] == "\n"


@both_ways
@pytest.mark.parametrize("kind", SINKS)
def test_what_a_receiver_missed_comes_with_the_next_run(
    tmp_path: Path,
    kind: str,
    offload: bool,  # noqa: FBT001 - pytest
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Away for the rest of a run, it gets all of it from the spool; no secret is ever said."""
    monkeypatch.setenv("LOG_TOKEN", TOKEN)
    folder = tmp_path / "a"
    folder.mkdir()
    for name, text in (("private-id", PRIVATE_ID), ("copy-id", COPY_ID)):
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    with underlay() as left, contextlib.ExitStack() as stack:
        with left.entered():
            server = stack.enter_context(receiver(tmp_path, "gone"))
        sink = SINKS[kind].format(port=server.port)
        config = config_of(offload=offload) + f"[[sinks]]\n{sink}"
        with running(left, folder, config) as a:
            send(a, 20)
            wait_for(lambda: len(server.requests()) == 1, "it came, and was not answered")
            send(a, 20)
            first = crossed(a)
            assert a.stop() == 0
        assert " messages stay in the spool until the next run" in a.said
        assert "; spool: " in a.said
        assert a.said.count("failed, will try again") == 1
        assert a.said.splitlines()[-2].endswith("Connection refused")
        said = a.said
        server.come_back()
        with running(left, folder, config) as a:
            send(a, 20)
            second = crossed(a)
            both = tuple(map(sum, zip(first, second, strict=True)))
            wait_for(lambda: summed(received(server), *CLASSES) == both, "all has come")
            assert a.stop() == 0
        assert "stay in the spool" not in a.said
        said += a.said
    for request in server.requests():
        assert (request["target"], dict(request["headers"]).get("authorization")) == SHOWN[kind]
    assert not any(secret in said for secret in (PRIVATE_ID, COPY_ID, TOKEN))


def test_a_receiver_behind_a_proxy_gets_all(tmp_path: Path) -> None:
    """It is known to the proxy alone, which asks for a password; nobody else sees that."""
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "proxy").write_text(f"me:{TOKEN}\n")
    (folder / "proxy").chmod(0o600)
    with underlay() as left, contextlib.ExitStack() as stack:
        with left.entered():
            server = stack.enter_context(receiver(tmp_path))
            hosts = {"logs.example": server.port}
            between = stack.enter_context(
                proxy(tmp_path, hosts, f"me:{TOKEN}", script=["die", "die"])
            )
        config = (
            config_of(offload=False)
            + f"""
            [[sinks]]
            type = "http-json"
            url = "http://logs.example/in"
            spool = "spool"
            proxy = "{between.url}"
            proxy_credentials_file = "proxy"
        """
        )
        with running(left, folder, config) as a:
            send(a, 20)
            counted = crossed(a)
            wait_for(lambda: summed(received(server), *CLASSES) == counted, "all has come")
            command = Path(f"/proc/{a.process.pid}/cmdline").read_text()
            assert a.stop() == 0
        assert between.url in a.said
        assert TOKEN not in a.said + command


@both_ways
def test_a_spool_on_a_full_disk_costs_its_own_sink_only(tmp_path: Path, offload: bool) -> None:  # noqa: FBT001 - pytest
    """The other sink has everything; this one is told what it missed, and goes on by itself."""
    folder, outside = tmp_path / "a", tmp_path / "small"
    folder.mkdir()
    outside.mkdir()
    with underlay() as left, contextlib.ExitStack() as stack:
        with left.entered():
            server = stack.enter_context(receiver(tmp_path))
        config = config_of(offload=offload)
        for path, spool in (("a", str(outside / "spool")), ("b", "spool")):
            config += f"""
                [[sinks]]
                type = "http-json"
                url = "http://127.0.0.1:{server.port}/{path}"
                spool = "{spool}"
            """
        prefix = [sys.executable, ON_TMPFS, str(outside), "1m"]
        with running(left, folder, config, prefix) as a:
            send(a, 20)
            wait_for(lambda: len(received(server, "/a")) == 1, "both work")
            filler = Path(f"/proc/{a.process.pid}/root{outside}/filler")
            fill(filler)
            send_until(a, 20, "/a: failed, will try again")
            filler.unlink()
            send_until(a, 1, "/a: works again")
            counted = crossed(a)
            wait_for(lambda: summed(received(server, "/b"), *CLASSES) == counted, "one has all")
            packets = sum_of(received(server, "/b"))
            wait_for(lambda: sum_of(received(server, "/a")) == packets, "the other knows of all")
            assert a.stop() == 0
    (loss,) = [each["dropped"] for each in received(server, "/a") if "dropped" in each]
    written = len(received(server, "/a"))
    assert f"/a: {number_of(written, 'message')} written, {loss['messages']} dropped" in a.said


@both_ways
def test_a_full_disk_below_the_only_sink_loses_nothing(tmp_path: Path, offload: bool) -> None:  # noqa: FBT001 - pytest
    """The counts stay in the meter until there is room again."""
    folder, outside = tmp_path / "a", tmp_path / "small"
    folder.mkdir()
    outside.mkdir()
    with underlay() as left, contextlib.ExitStack() as stack:
        with left.entered():
            server = stack.enter_context(receiver(tmp_path))
        config = config_of(offload=offload)
        config += f"""
            [[sinks]]
            type = "http-json"
            url = "http://127.0.0.1:{server.port}/a"
            spool = "{outside}/spool"
        """
        with running(left, folder, config, [sys.executable, ON_TMPFS, str(outside), "1m"]) as a:
            filler = Path(f"/proc/{a.process.pid}/root{outside}/filler")
            fill(filler)
            send_until(a, 20, "no sink could store the messages")
            send(a, 20)
            filler.unlink()
            counted = crossed(a)
            wait_for(lambda: summed(received(server), *CLASSES) == counted, "all has come")
            assert a.stop() == 0
    assert not any("dropped" in message for message in received(server))
    assert re.search(r" messages? written, 0 dropped, ", a.said)
    assert "that no sink could store" in a.said


def fill(path: Path) -> None:
    """Write a file until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def sum_of(messages: list[dict[str, Any]]) -> int:
    """Packets of all messages, and of those that they say were lost."""
    lost = sum(message.get("dropped", {}).get("packets", 0) for message in messages)
    return int(lost) + sum(summed(messages, *CLASSES, "physical")[::2])


@both_ways
def test_a_file_with_a_meter_gets_each_message_once(tmp_path: Path, offload: bool) -> None:  # noqa: FBT001 - pytest
    """Killed again and again, and its file renamed under it: the sum is what the kernel counted."""
    folder = tmp_path / "a"
    folder.mkdir()
    meter, path = tmp_path / "run" / "meter", folder / "flows.jsonl"
    config = f'meter = "{meter}"\n' + config_of(offload=offload)
    config += '[[sinks]]\ntype = "file"\npath = "flows.jsonl"\n'
    total = (0, 0, 0, 0)
    with underlay() as left:
        for number in range(4):
            with running(left, folder, config) as a:
                send(a, 50)
                if number % 2:
                    path.rename(folder / f"flows.{number}")
                    a.process.send_signal(signal.SIGHUP)
                    send(a, 50)
                    wait_for(path.exists, "there is a new file")
                counted = crossed(a)
                total = tuple(map(sum, zip(total, counted, strict=True)))  # type: ignore[assignment]
                if number < 3:
                    os.kill(a.process.pid, signal.SIGKILL)
                    a.process.wait()
                else:
                    assert a.stop() == 0
            wait_for(lambda: "netlog0" not in left.ip("link"), "the interface is gone")
    lines = [line for file in folder.glob("flows.*") for line in file.read_bytes().splitlines()]
    assert summed([json.loads(line) for line in lines], *CLASSES) == total
    assert list(meter.parent.glob("*.spool/*"))
