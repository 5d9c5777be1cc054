"""The command line: help, usage, exit status, and what goes where."""

import errno
import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from netlog.cli import main
from netlog.cli.diagnostics import advice_on, describe
from netlog.cli.waiting import StopRequest
from netlog.errors import DeviceError
from tests.support import ROOT

RIGHT = """
[node]
id = "a"
[tun]
name = "tun0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:41641"
[[sinks]]
type = "file"
path = "flows.jsonl"
"""


def netlog(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "netlog", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "command",
    [(), ("run",), ("watch",), ("exec",), ("read",), ("check",), ("demo",), ("fmt",), ("newid",)],
)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    """Every command explains itself with an example, on standard output."""
    done = netlog(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "example: " in done.stdout.replace("\n", " ")
    assert f"netlog {' '.join(command)}".strip() in done.stdout


def test_version_is_that_of_the_package() -> None:
    """The command line and the metadata agree."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert metadata["project"]["dynamic"] == ["version"]
    done = netlog("--version")
    assert (done.returncode, done.stdout) == (0, "netlog 0.2.0\n")


def test_no_command_is_wrong_usage() -> None:
    """Without a command the help is shown, but not as a result."""
    done = netlog()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: netlog" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("run",),
        ("check",),
        ("read",),
        ("read", "--period", "0", "x.pcap"),
        ("read", "--period", "nan", "x.pcap"),
        ("demo", "--seconds", "0"),
        ("demo", "--seconds", "nan"),
        ("fmt", "--filter", "port"),
        ("fmt", "--class", "private"),
        ("fmt", "--since", "yesterday"),
        ("fmt", "--json", "--csv"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    """Arguments that make no sense are explained on standard error."""
    done = netlog(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: netlog" in done.stderr


def test_check_touches_nothing(tmp_path: Path) -> None:
    """A right configuration is status 0, and neither file nor socket was made."""
    (tmp_path / "gateway.toml").write_text(RIGHT)
    done = netlog("check", "gateway.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "netlog: gateway.toml: valid\n"
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('type = "exec"\ncommand = ["no-such-daemon"]', "command: no-such-daemon: no such command"),
        (
            'type = "exec"\nnodes.file = "none.toml"',
            "gateway.toml: line 2: nodes.file: none.toml: expected a readable file: No such file",
        ),
        (
            '[[gateways]]\ntype = "watch"',
            "gateways[0]: tun: expected a value, but the key is missing",
        ),
    ],
)
def test_check_sees_what_is_wrong_with_each_kind(tmp_path: Path, config: str, said: str) -> None:
    """Also what its keys lead to, without starting it."""
    (tmp_path / "gateway.toml").write_text(config)
    done = netlog("check", "gateway.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    (tmp_path / "gateway.toml").write_text('type = "exec"\ncommand = ["sleep", "1"]')
    assert netlog("check", "gateway.toml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_secret_is_status_2(command: str, tmp_path: Path) -> None:
    """Both commands read the files of secrets before they do anything, and name file and key."""
    remote = """
        [[sinks]]
        type = "hec"
        url = "https://logs.example.com"
        token_file = "token"
        spool = "spool"
    """
    text = RIGHT + remote
    number = 1 + text[: text.index("token_file")].count("\n")
    line = f"line {number}: " if command == "check" else ""
    (tmp_path / "gateway.toml").write_text(text)
    done = netlog(command, "gateway.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"netlog: gateway.toml: {line}sinks[1].token_file: expected a readable file: "
        "No such file or directory\n"
    )
    (tmp_path / "token").write_text("5ecre7\n")
    (tmp_path / "token").chmod(0o644)
    done = netlog("check", "gateway.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "netlog: gateway.toml: sinks[1].token_file: readable by all users: run chmod o= token",
        "netlog: gateway.toml: valid",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway.toml", "token"]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_configuration_is_status_2(command: str, tmp_path: Path) -> None:
    """Both commands name the file, the key and what was expected, and do nothing else."""
    (tmp_path / "gateway.toml").write_text(RIGHT.replace("listen", "lisn"))
    done = netlog(command, "gateway.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "netlog: gateway.toml: line 8: sock.lisn: no such key; expected listen",
        "netlog: gateway.toml: line 7: sock.listen: expected a value, but the key is missing",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


def test_a_missing_configuration_is_status_2(tmp_path: Path) -> None:
    """A file that is not there is a wrong configuration, not a crash."""
    done = netlog("run", "gateway.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "gateway.toml: expected a readable file: No such file" in done.stderr


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_closed_standard_descriptor_does_no_harm(descriptor: int, tmp_path: Path) -> None:
    """As in `netlog check gateway.toml >&-`; what needs standard output says that it is closed."""
    (tmp_path / "gateway.toml").write_text(RIGHT)
    shell = f'"$@" {descriptor}{"<" if descriptor == 0 else ">"}&-'
    for command, status in (("check", 0), ("demo", 1 if descriptor == 1 else 0)):
        arguments = ["gateway.toml"] if command == "check" else ["--help"]
        if (command, descriptor) == ("demo", 1):
            arguments = []
        done = subprocess.run(
            ["sh", "-c", shell, "sh", sys.executable, "-m", "netlog", command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == status
        assert "Traceback" not in done.stderr
    assert ("standard output: closed" in done.stderr) == (descriptor == 1)


def test_main_returns_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The entry point can be called from Python."""
    (tmp_path / "gateway.toml").write_text(RIGHT)
    assert main(["check", str(tmp_path / "gateway.toml")]) == 0
    assert main(["check", str(tmp_path / "missing.toml")]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("code", "what", "advice"),
    [
        (errno.EACCES, "/dev/net/tun", "sudo chmod 0666 /dev/net/tun"),
        (errno.ENOENT, "/dev/net/tun", "sudo modprobe tun"),
        (errno.EPERM, "tun0", "CAP_NET_ADMIN"),
        (errno.EBUSY, "tun0", "another tun.name"),
        (errno.EADDRINUSE, "udp 0.0.0.0:1", "another port"),
        (errno.EADDRNOTAVAIL, "udp 192.0.2.1:1", "an address of this machine"),
    ],
    ids=str,
)
def test_a_missing_right_comes_with_how_to_get_it(code: int, what: str, advice: str) -> None:
    """The error names the object; the advice says what to do."""
    error = DeviceError(code, os.strerror(code), what)
    assert describe(error) == f"{what}: {os.strerror(code)}"
    assert advice in "\n".join(advice_on(error))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    """A signal that came before or during the wait ends it; the old handler is back afterwards."""
    # Not ignored, as a hang-up is where the tests themselves run under nohup(1).
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with StopRequest() as stop:
            assert not stop.wait(0)
            os.kill(os.getpid(), number)
            assert stop.wait(60)
            assert stop.requested
            assert stop.signal == number
            assert stop.wait(60), "once asked, it does not wait any more"
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored() -> None:
    """Under nohup(1) a hang-up is none of our business."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_signal_is_no_request_to_stop() -> None:
    """A command may take a hang-up for something else, also where it was ignored at start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest(others=(signal.SIGHUP, signal.SIGUSR1)) as stop:
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
                os.kill(os.getpid(), number)
            assert not stop.wait(60), "it does not wait, and is not told to stop"
            assert stop.taken() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP]
            assert stop.taken() == []
            assert not stop.wait(0)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(60)
            assert stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once_without_a_traceback() -> None:
    """Who presses Ctrl-C twice does not want to wait."""
    program = (
        "import os, signal, time\n"
        "from netlog.cli.waiting import StopRequest\n"
        "with StopRequest() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert stop.wait(60)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (130, "netlog: second signal: exiting immediately\n")


def test_newid_makes_a_private_id() -> None:
    """The private id alone goes to standard output; the public one is its SHA-256."""
    first, second = netlog("newid"), netlog("newid")
    assert first.returncode == 0
    (private_id,) = first.stdout.splitlines()
    number = bytes.fromhex(private_id)
    assert (len(number), number[0] & 7, number[31] & 192) == (32, 0, 64)
    assert first.stderr == f"netlog: public id: {hashlib.sha256(number).hexdigest()}\n"
    assert first.stdout != second.stdout


def test_newid_overwrites_nothing(tmp_path: Path) -> None:
    """A new file is its owner's only; one that is there stays, whatever it is."""
    path = tmp_path / "private-id"
    done = netlog("newid", "--output", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    private_id = path.read_text()
    assert hashlib.sha256(bytes.fromhex(private_id.strip())).hexdigest() in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert private_id.strip() not in done.stderr
    (tmp_path / "link").symlink_to("nowhere")
    for there in (path, tmp_path / "link"):
        done = netlog("newid", "--output", str(there))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"netlog: {there}: File exists\n"
    assert path.read_text() == private_id
    assert not (tmp_path / "nowhere").exists()


def test_a_signal_is_heard_with_many_open_files() -> None:
    """Also when the descriptors of the process are beyond those that select(2) knows."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 1200:
        pytest.skip(f"needs 1200 descriptors, the limit is {most}")
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with StopRequest() as stop:
            assert stop.fileno() > 1024
            assert not stop.wait(0)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(60)
    finally:
        for descriptor in many:
            os.close(descriptor)
