"""`netlog demo`: it reconciles, and leaves nothing, however it ends."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.namespace import wait_for

pytestmark = pytest.mark.root

WITHOUT_TUN = str(Path(__file__).with_name("without_tun.py"))
COMMAND = (sys.executable, "-W", "error", "-m", "netlog_command", "demo")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

# A user namespace in which this process is user 1000 has no right outside of what it makes itself.
USER = ("unshare", "--user", "--map-user=1000")
FORBID = (
    "sh",
    "-c",
    'echo 0 >/proc/sys/user/max_user_namespaces; setpriv --ambient-caps=-all --inh-caps=-all "$@"',
    "sh",
)


def interfaces() -> list[str]:
    """The network interfaces that this process sees."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


def descendants(session: int) -> list[str]:
    """The processes of a session that are still there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(process.name)
    return found


def is_alone(session: int) -> bool:
    """Whether no process of a session is left."""
    return not descendants(session)


def answers_quietly(process: int) -> bool:
    """Whether Python's own answer to SIGINT is off already: by default action, or by the demo's."""
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if ":\t" in line
    )

    def has(mask: str, number: int) -> bool:
        return bool(int(status[mask], 16) >> (number - 1) & 1)

    python_is_up = has("SigIgn", signal.SIGPIPE)
    return python_is_up and (not has("SigCgt", signal.SIGINT) or has("SigCgt", signal.SIGTERM))


def demo(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [*prefix, *COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=ENVIRONMENT,
    )


def test_the_messages_are_what_the_kernel_counted() -> None:
    """As JSON: every line a message of a or b, the last one the verdict, which can be checked."""
    done = demo("--seconds", "2.5", "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    *messages, verdict = [json.loads(line) for line in done.stdout.splitlines()]
    assert verdict["reconciled"] is True
    assert verdict["tun"] == verdict["kernel"]
    assert verdict["sock"] == verdict["underlay"]
    assert {message["nodeId"] for message in messages} == {"a", "b"}
    assert len(messages) >= 4, "messages come while the traffic flows"
    entries = [
        (kind, entry.get("proto", 0), entry.get("src", "")[:1] == "[")
        for message in messages
        for kind in ("virtual", "subnet", "exit")
        for entry in message.get(f"{kind}Traffic", ())
    ]
    for kind in ("virtual", "subnet", "exit"):
        for proto, is_ipv6 in (
            (6, False), (6, True), (17, False), (17, True), (1, False), (58, True),
        ):  # fmt: skip
            assert (kind, proto, is_ipv6) in entries
    for node in ("a", "b"):
        total = sum(
            entry.get("txBytes", 0)
            for message in messages
            if message["nodeId"] == node
            for kind in ("virtual", "subnet", "exit")
            for entry in message.get(f"{kind}Traffic", ())
        )
        assert total == verdict["kernel"][node]["tx_bytes"] > 100_000


def test_a_person_sees_tables() -> None:
    """Without --json: rows under a header, the comparison, no colour in a pipe, a warning."""
    done = demo("--seconds", "1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "node", "class", "proto", "source", "destination", "sent", "received",
    ]  # fmt: skip
    assert sum(line.endswith("equal") for line in lines) == 16
    assert lines[-1].startswith("reconciled: ")
    assert "\x1b" not in done.stdout
    assert done.stderr == "netlog: the relays of this demo do not encrypt\n"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_that_want_it(no_color: str) -> None:
    """On a terminal there is colour, unless NO_COLOR is set."""
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--seconds", "0.1"],
        stdout=writer,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT | {"NO_COLOR": no_color, "TERM": "xterm"},
    ) as process:
        os.close(writer)
        shown = b""
        try:
            while data := os.read(reader, 65536):
                shown += data
        except OSError:  # EIO: the other end is closed
            pass
        process.wait()
    os.close(reader)
    assert b"reconciled" in shown
    assert (b"\x1b[" in shown) == (no_color == "")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=lambda value: str(int(value)),
)
def test_nothing_is_left_when_it_is_stopped(number: signal.Signals, status: int) -> None:
    """Stopped at a random moment of its work, it ends with no process and no interface left."""
    before = interfaces()
    chance = random.Random(int(number))  # noqa: S311 - moments, not secrets
    for _ in range(3):
        with subprocess.Popen(
            [*COMMAND, "--seconds", "60", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=ENVIRONMENT,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stderr.readline()  # "do not encrypt": from here on the world is made
            for _ in range(chance.randrange(4)):
                process.stdout.readline()
            process.send_signal(number)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == status
        assert "Traceback" not in said
        assert said == (
            "" if status < 0 else "netlog: stopped before the verdict; everything was removed\n"
        )
        wait_for(partial(is_alone, process.pid), "no process is left")
        assert interfaces() == before


def test_ctrl_c_is_answered_while_it_loads() -> None:
    """Before the demo has made anything Ctrl-C just ends it, without a traceback."""
    for delay_s in (0.1, 0.15, 0.2, 0.25, 0.3):
        with subprocess.Popen(
            [*COMMAND, "--seconds", "60"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as process:
            wait_for(partial(answers_quietly, process.pid), "Python is up")
            time.sleep(delay_s)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert process.returncode in {-signal.SIGINT, 128 + signal.SIGINT}
        assert "Traceback" not in said


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """As in `netlog demo | head -1`: status 1, and no word about it."""
    with subprocess.Popen(
        [*COMMAND, "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("node ")
        process.stdout.close()
        assert process.stderr.read() == "netlog: the relays of this demo do not encrypt\n"
    assert process.returncode == 1


def test_it_runs_without_root() -> None:
    """A user without any right, whom /dev/net/tun lets in, gets a user namespace."""
    done = demo("--seconds", "1", "--json", prefix=(*USER, "--map-group=1000"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["reconciled"] is True


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        pytest.param(
            ("setpriv", "--bounding-set=-sys_admin"), "CAP_SYS_ADMIN is missing", id="container"
        ),
        pytest.param(
            ("setpriv", "--bounding-set=-net_admin"), "--cap-add NET_ADMIN", id="no-net-admin"
        ),
        pytest.param(
            (sys.executable, WITHOUT_TUN),
            "sudo modprobe tun",
            id="no-device",
        ),
        pytest.param(
            (*USER, "--keep-caps", *FORBID), "user namespaces are not available", id="no-user-ns"
        ),
    ],
)
def test_what_is_missing_comes_with_how_to_get_it(prefix: tuple[str, ...], said: str) -> None:
    """Without the rights it says which, what to do, and ends with 1."""
    done = demo(prefix=prefix)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
