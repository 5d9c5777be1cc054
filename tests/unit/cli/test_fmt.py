"""`netlog fmt`: the command, and what it writes."""

import csv
import gzip
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netlog import Message
from netlog.cli import main
from netlog.fmt.lines import COLUMNS
from tests.support import ROOT

COMMAND = [sys.executable, "-m", "netlog", "fmt"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {
    "PYTHONPATH": str(ROOT)
}

MESSAGE: dict[str, Any] = {
    "logged": "2024-02-29T00:00:06Z",
    "nodeId": "n1",
    "start": "2024-02-29T00:00:00Z",
    "end": "2024-02-29T00:00:04.999999999Z",
    "srcNode": {
        "nodeId": "n1",
        "name": "alpha.example.ts.net",
        "addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"],
        "user": "ann@example.com",
    },
    "dstNodes": [
        {"nodeId": "n2", "name": "be\x1b[31mta.", "addresses": ["100.64.0.2"], "tags": ["tag:db"]},
    ],
    "virtualTraffic": [
        {"proto": 17, "src": "100.64.0.1:53", "dst": "100.64.0.2:5353", "rxPkts": 1, "rxBytes": 99},
        {
            "proto": 6,
            "src": "100.64.0.1:40000",
            "dst": "100.64.0.2:443",
            "txPkts": 500001,
            "txBytes": 7340032,
            "rxPkts": 84,
            "rxBytes": 8262,
        },
        {
            "proto": 58,
            "src": "[fd7a:115c:a1e0::1]:0",
            "dst": "[fd7a:115c:a1e0:1234:5678:9abc:def0:1]:0",
            "txPkts": 1,
            "txBytes": 100,
        },
    ],
    "exitTraffic": [{"txPkts": 1, "txBytes": 10}],
    "physicalTraffic": [{"src": "100.64.0.2:0", "dst": "192.0.2.2:41641", "txBytes": 18446744073}],
}

TABLE = """\
n1  2024-02-29T00:00:00Z  5.000 s
            source                 destination                           sent pkt/s    sent B/s  received pkt/s  received B/s       bytes
virtual                                                                      100.0k     1.4 MiB            17.0       1.6 KiB     7.0 MiB
  tcp       100.64.0.1:40000       100.64.0.2:443                            100.0k     1.4 MiB            16.8       1.6 KiB     7.0 MiB
  icmpv6    fd7a:115c:a1e0::1      fd7a:115c:a1e0:1234:5678:9abc:def0:1         0.2      20.0 B             0.0         0.0 B       100 B
  udp       100.64.0.1:53          100.64.0.2:5353                              0.0       0.0 B             0.2        19.8 B        99 B
exit                                                                            0.2       2.0 B             0.0         0.0 B        10 B
physical                                                                        0.0     3.4 GiB             0.0         0.0 B    17.2 GiB
            100.64.0.2             192.0.2.2:41641                              0.0     3.4 GiB             0.0         0.0 B    17.2 GiB
"""  # noqa: E501 - a table as it is shown


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A file with the message."""
    path = tmp_path / "flows.jsonl"
    path.write_text(json.dumps(MESSAGE) + "\n")
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    """What the command writes to standard output."""
    assert main(["fmt", *map(str, arguments)]) == status
    return capsys.readouterr().out


def rows(text: str) -> list[dict[str, str]]:
    """CSV read back."""
    return list(csv.DictReader(io.StringIO(text)))


def test_table(flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Classes with their sums, connections by bytes, rates of the period, no port 0."""
    assert shown(capsys, flows) == TABLE


@pytest.mark.parametrize(
    ("resolve", "title", "src", "dst"),
    [
        ("id", "n1", "n1:40000", "n2:443"),
        ("name", "alpha.example.ts.net", "alpha.example.ts.net:40000", "be?[31mta:443"),
        ("user", "ann@example.com", "ann@example.com:40000", "tag:db:443"),
    ],
)
def test_names(
    resolve: str, title: str, src: str, dst: str, flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Addresses of known nodes give way to what was asked for; it cannot drive the terminal."""
    lines = shown(capsys, flows, "--resolve", resolve).splitlines()
    assert lines[0].startswith(f"{title}  2024")
    assert lines[3].split()[:3] == ["tcp", src, dst]
    assert lines[4].split()[2] == "fd7a:115c:a1e0:1234:5678:9abc:def0:1", "nobody's address"


def test_json_gives_back_what_came(flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All members survive; unwanted connections, and nothing else, are gone."""
    assert json.loads(shown(capsys, flows, "--json")) == MESSAGE
    filtered = json.loads(shown(capsys, flows, "--json", "--filter", "udp or class physical"))
    expected = {name: value for name, value in MESSAGE.items() if name != "exitTraffic"}
    assert filtered == expected | {"virtualTraffic": MESSAGE["virtualTraffic"][:1]}
    assert shown(capsys, flows, "--json", "--filter", "port 1") == ""


def test_csv_has_every_connection(flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a connection, all counts exact, addresses and ports apart."""
    text = shown(capsys, flows, "--csv", "--resolve", "name")
    read = rows(text)
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert [row["class"] for row in read] == ["virtual"] * 3 + ["exit", "physical"]
    assert read[1] == {
        "node": "alpha.example.ts.net",
        "start": "2024-02-29T00:00:00Z",
        "end": "2024-02-29T00:00:04.999999999Z",
        "class": "virtual",
        "proto": "6",
        "protocol": "tcp",
        "src": "100.64.0.1",
        "src_port": "40000",
        "src_node": "alpha.example.ts.net",
        "dst": "100.64.0.2",
        "dst_port": "443",
        "dst_node": "be\x1b[31mta",
        "tx_packets": "500001",
        "tx_bytes": "7340032",
        "rx_packets": "84",
        "rx_bytes": "8262",
    }
    assert (read[2]["dst"], read[2]["dst_port"]) == ("fd7a:115c:a1e0:1234:5678:9abc:def0:1", "0")
    assert (read[3]["src"], read[3]["dst"], read[3]["tx_bytes"]) == ("", "", "10")


def test_total(flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One message a node: equal connections are one, the period goes from first to last."""
    later = MESSAGE | {"start": "2024-02-29T00:00:05Z", "end": "2024-02-29T00:00:09.999999999Z"}
    del later["exitTraffic"]
    other = {"nodeId": "n2", **{name: MESSAGE[name] for name in ("start", "end", "exitTraffic")}}
    more = tmp_path / "more.json"
    more.write_text(json.dumps([later, other]))
    text = shown(capsys, "--total", "--json", flows, more)
    first, second = map(json.loads, text.splitlines())
    assert (first["start"], first["end"]) == ("2024-02-29T00:00:00Z", later["end"])
    assert (first["srcNode"], first["dstNodes"]) == (MESSAGE["srcNode"], MESSAGE["dstNodes"])
    counts = {"txPkts": 1000002, "txBytes": 14680064, "rxPkts": 168, "rxBytes": 16524}
    assert first["virtualTraffic"][1] == MESSAGE["virtualTraffic"][1] | counts
    assert first["exitTraffic"] == second["exitTraffic"] == MESSAGE["exitTraffic"]
    assert Message.from_json(text.splitlines()[0]).virtual_traffic["tx_bytes"].sum() == 14680264
    table = shown(capsys, "--total", flows, more)
    assert "n1  2024-02-29T00:00:00Z  10.000 s\n" in table
    virtual = next(line for line in table.splitlines()[-4:] if line.startswith("virtual"))
    assert virtual.split() == ["virtual", "3", "1000004", "14.0", "MiB", "170", "16.3", "KiB"]


def test_classes_and_times(flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options select; what is old is not shown."""
    assert len(rows(shown(capsys, flows, "--csv", "--class", "exit,physical"))) == 2
    assert rows(shown(capsys, flows, "--csv", "--since", "1h")) == []
    assert len(rows(shown(capsys, flows, "--csv", "--until", "1h"))) == 5


def test_what_can_be_read_is_shown_before_an_error(
    flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the file and the byte; the files after it are shown too."""
    torn, missing, packed = tmp_path / "torn", tmp_path / "missing", tmp_path / "flows.gz"
    torn.write_text(json.dumps(MESSAGE) + '\n{"nodeId":"n')
    packed.write_bytes(gzip.compress(flows.read_bytes()))
    assert main(["fmt", "--json", *map(str, (torn, missing, tmp_path, packed))]) == 1
    out, err = capsys.readouterr()
    assert out == f"{json.dumps(MESSAGE, separators=(',', ':'), ensure_ascii=False)}\n" * 2
    end, begin = torn.stat().st_size, len(json.dumps(MESSAGE)) + 1
    torn_at = f"byte {end}: the stream ends within a value that began at byte {begin}"
    torn_at += f"; skipped {end - begin} bytes, from byte {begin} to {end}"
    assert err.splitlines() == [
        f"netlog: {torn}: {torn_at}",
        f"netlog: {missing}: No such file or directory",
        f"netlog: {tmp_path}: Is a directory",
    ]


LOSS = {"nodeId": "n1", "dropped": {"messages": 3, "packets": 120, "bytes": 64000}}


def test_a_loss_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of its own in the table and in its end, an object in JSON, a part of totals."""
    path = tmp_path / "flows.jsonl"
    other = {"nodeId": "n1", "dropped": 5}
    path.write_text("".join(json.dumps(value) + "\n" for value in (LOSS, MESSAGE, other, LOSS)))
    line = "dropped: 3 messages, 120 packets, 62.5 KiB"
    lines = shown(capsys, path).splitlines()
    assert lines[0] == f"n1  {line}"
    assert "\n".join(lines[2:11]) + "\n" == TABLE
    assert lines[12] == f"n1  {line}"
    assert lines[-1] == "dropped: 6 messages, 240 packets, 125.0 KiB"
    objects = [json.loads(text) for text in shown(capsys, path, "--json").splitlines()]
    assert objects == [LOSS, MESSAGE, LOSS]
    total = json.loads(shown(capsys, path, "--json", "--total"))
    assert total["dropped"] == {"messages": 6, "packets": 240, "bytes": 128000}
    assert total["virtualTraffic"] == MESSAGE["virtualTraffic"]
    assert total["srcNode"] == MESSAGE["srcNode"]
    assert len(rows(shown(capsys, path, "--csv"))) == 5
    assert "dropped" not in shown(capsys, path, "--filter", "udp")
    path.write_text(json.dumps({"event": {"logtail": {}} | LOSS}))
    assert shown(capsys, path) == f"n1  {line}\n"


@pytest.mark.parametrize(
    "damage",
    [
        b'{"nodeId":"n',
        b"\0\xff\n\n garbage } ]\n",
        b'[{"nodeId": 1},\n{"nodeId: 2},',
        b'{"a": [1, 2}}\n  {"b"',
        b"\n".join([b'{"x'] * 50),
        b'"' + b"x" * 600_000,
    ],
    ids=["torn", "binary", "array", "brackets", "many", "long"],
)
def test_reading_goes_on_after_damage(
    damage: bytes, flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message says what was skipped; every message before and after it is shown."""
    whole = flows.read_bytes()
    flows.write_bytes(whole + damage + b"\n" + whole + whole)
    assert main(["fmt", "--json", str(flows)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [MESSAGE] * 3
    (line,) = err.splitlines()
    begin, end = len(whole), len(whole) + len(damage) + 1
    skipped = re.fullmatch(r".*: byte \d+: .*; skipped (\d+) bytes, from byte (\d+) to (\d+)", line)
    assert skipped is not None
    assert int(skipped[3]) - int(skipped[2]) == int(skipped[1])
    sound = damage.find(b'{"nodeId: 2') if damage.startswith(b"[") else 0
    assert (int(skipped[2]), int(skipped[3])) == (begin + sound, end)


def test_an_array_without_its_end_costs_nothing(
    flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What begins where a comma or a bracket is missing is read."""
    whole = flows.read_bytes()
    flows.write_bytes(b"[" + whole + whole + b"," + whole + b"]" + whole)
    assert main(["fmt", "--json", str(flows)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [MESSAGE] * 4
    (line,) = err.splitlines()
    assert "expected a comma or the closing bracket" in line


def test_a_value_that_is_wrong_costs_itself_only(
    flows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flow log with a member of a wrong type is skipped; its neighbours are shown."""
    whole = flows.read_bytes()
    wrong = b'{"virtualTraffic": 7}\n'
    flows.write_bytes(whole + wrong + whole)
    assert main(["fmt", "--json", str(flows)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [MESSAGE] * 2
    begin = len(whole)
    assert err.endswith(f"; skipped 21 bytes, from byte {begin} to {begin + 21}\n")


def test_a_file_without_messages_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other JSON is no error, but hardly what was meant."""
    (tmp_path / "x").write_text('{"text":"up"}')
    assert main(["fmt", str(tmp_path / "x")]) == 0
    assert capsys.readouterr() == ("", f"netlog: {tmp_path / 'x'}: no flow log messages\n")


def test_a_pipe_shows_messages_as_they_come() -> None:
    """A message is shown while the next one is still to come, from standard input."""
    with subprocess.Popen(
        [*COMMAND, "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for form in ("%s\n", "%s", "[%s", ",%s]"):
            process.stdin.write((form % json.dumps(MESSAGE)).encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == MESSAGE
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("no_color", "colored"), [(None, True), ("", True), ("1", False)], ids=["unset", "empty", "set"]
)
def test_color_is_for_terminals(no_color: str | None, colored: bool, flows: Path) -> None:  # noqa: FBT001
    """Colour on a terminal, unless NO_COLOR says otherwise; never elsewhere (see the table)."""
    environment = ENVIRONMENT | ({} if no_color is None else {"NO_COLOR": no_color})
    leader, follower = pty.openpty()
    try:
        subprocess.run([*COMMAND, flows], stdout=follower, env=environment, check=True, timeout=60)
        text = os.read(leader, 65536).decode()
    finally:
        os.close(leader)
        os.close(follower)
    assert ("\x1b[32m" in text) is colored
    assert ("\x1b" in text) is colored
