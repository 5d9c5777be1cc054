"""`netlog check` on what the text of a configuration cannot show."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from netlog.cli.main import main
from tests.support import ROOT

RELAY = """
[node]
id = "a"
[tun]
name = "tun0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:1"
[[peers]]
endpoint = "192.0.2.1:1"
allowed_ips = ["100.64.0.9", "192.168.7.0/24"]
"""
FILE = '[[sinks]]\ntype = "file"\npath = "{}"\n'
REMOTE = '[[sinks]]\ntype = "http-json"\nurl = "https://x/"\nspool = "{}"\n'
AS_NOBODY = """
import os, sys
import netlog.cli.check
from netlog.cli.main import main
if os.geteuid() == 0:
    os.setuid(65534)
sys.exit(main(["check", sys.argv[1]]))
"""


def check(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit status, and what was said, without the file's name."""
    before = sorted(folder.iterdir())
    path = folder / "gateway.toml"
    path.write_text(text)
    status = main(["check", str(path)])
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(folder.iterdir()) == sorted({*before, path})
    return status, [line.removeprefix(f"netlog: {path}: ") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE.format("/nonexistent/flows.jsonl"), ("sinks[0].path: expected a path in a directory "
         "that exists, but '/nonexistent' does not exist")),
        (FILE.format("{tmp}/file/flows.jsonl"), ("sinks[0].path: expected a path in a directory "
         "that exists, but '{tmp}/file' is not a directory")),
        (FILE.format("{tmp}"), "sinks[0].path: expected a file, but '{tmp}' is a directory"),
        (REMOTE.format("/nonexistent/spool"), ("sinks[0].spool: expected a path in a directory "
         "that exists, but '/nonexistent' does not exist")),
        (REMOTE.format("{tmp}/file"), ("sinks[0].spool: expected a directory, but '{tmp}/file' is "
         "a file")),
        ("meter = '/nonexistent/netlog/meter'\n", ("meter: expected a path in a directory that "
         "exists, but '/nonexistent' does not exist")),
    ],
    ids=["file", "file-in-file", "directory", "spool", "spool-file", "meter"],
)  # fmt: skip
def test_a_place_that_is_not_there_is_an_error(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` would fail for it."""
    (tmp_path / "file").touch()
    text = text.replace("{tmp}", str(tmp_path))
    whole = text + RELAY if text.startswith("meter") else RELAY + text
    status, lines = check(tmp_path, whole, capsys)
    assert status == 2
    (line,) = lines
    assert line.startswith("line ")
    assert line.partition(": ")[2] == said.replace("{tmp}", str(tmp_path))


def test_all_of_it_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files, secrets, nodes and the command: each with its line."""
    text = """type = "exec"
command = ["no-such-daemon"]
nodes.file = "/nonexistent/nodes.toml"
""" + FILE.format("/nonexistent/a") + REMOTE.format("/nonexistent/b") + (
        'header_files = { A = "/nonexistent/c" }\nca_file = "/nonexistent/d"\n'
    )  # fmt: skip
    status, lines = check(tmp_path, text, capsys)
    assert status == 2
    assert [line.partition(": expected")[0] for line in lines] == [
        "line 6: sinks[0].path",
        "line 10: sinks[1].spool",
        "line 12: sinks[1].ca_file",
        "line 3: nodes.file: /nonexistent/nodes.toml",
        "line 2: command: no-such-daemon: no such command",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RELAY + "[routes]\ndefault = true\n", ("routes.default: has no effect: no peer's "
         "allowed_ips has 0.0.0.0/0 or ::/0; ")),
        (RELAY + '[routes]\nsubnets = ["10.0.0.0/8", "192.168.7.0/24"]\n', ("routes.subnets[1]: "
         "192.168.7.0/24 is also in peers[0].allowed_ips[1]: netlog sends what goes there to ")),
        ('type = "exec"\n', "command: is missing: netlog run needs it; "),
        (('type = "exec"\ncommand = ["true"]\n[routes]\noverlay = ["10.0.0.0/8"]\n'
         'subnets = ["10.0.0.0/8"]\n'), "routes.subnets[0]: 10.0.0.0/8 is also in routes.overlay"),
        (('type = "watch"\ntun.name = "a"\n[source]\ntype = "openvpn"\nat = "/x"\n'
         'password_file = "/nonexistent"\n'), "source.password_file: /nonexistent: this user "),
    ],
    ids=["default", "subnet", "command", "overlay", "password"],
)  # fmt: skip
def test_what_is_probably_not_meant_is_a_warning(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is valid, with status 0."""
    status, (line, last) = check(tmp_path, text, capsys)
    assert (status, last) == (0, "valid")
    assert line.endswith(" (warning)")
    assert said in line


@pytest.mark.parametrize("peer", ["0.0.0.0/0", "::/0"])
def test_a_default_route_with_a_peer_is_right(
    tmp_path: Path, peer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is said of it."""
    text = RELAY.replace("192.168.7.0/24", peer) + "[routes]\ndefault = true\n"
    assert check(tmp_path, text, capsys) == (0, ["valid"])


def test_a_file_that_this_user_cannot_write_is_a_warning() -> None:
    """Another user may run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "logs").mkdir(mode=0o555)
        (folder / "gateway.toml").write_text(RELAY + FILE.format(folder / "logs" / "flows.jsonl"))
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, folder / "gateway.toml"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 0, done.stderr
    assert "this user may not write there (warning)" in done.stderr
