"""Input of `netlog fmt`, plain or packed: it is shown, up to the fault if there is one.

The first byte of an input chooses the options; the text follows.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator

from fuzz.parsers.commands import run
from fuzz.parsers.scratch import scratch_folder
from netlog._zstd import load_zstd

MESSAGE = {
    "nodeId": "a",
    "start": "2026-02-28T00:00:00Z",
    "end": "2026-02-28T00:00:04.999999999Z",
    "srcNode": {"nodeId": "a", "name": "a.x", "addresses": ["100.64.0.1"], "user": "u@x"},
    "dstNodes": [{"nodeId": "b", "name": "b", "addresses": ["100.64.0.2"], "tags": ["tag:a"]}],
    "virtualTraffic": [
        {"proto": 17, "src": "100.64.0.1:1000", "dst": "100.64.0.2:53", "txPkts": 1, "txBytes": 28}
    ],
    "subnetTraffic": [{"proto": 6, "src": "[fd7a::1]:1", "dst": "[2001:db8::1]:443", "rxPkts": 9}],
    "exitTraffic": [{"txPkts": 1, "txBytes": 4}],
    "physicalTraffic": [{"src": "100.64.0.2:0", "dst": "192.0.2.2:41641", "txPkts": 4}],
}
OPTIONS = (
    (),
    ("--json",),
    ("--csv",),
    ("--total",),
    ("--total", "--resolve", "name"),
    ("--json", "--total"),
    ("--csv", "--resolve", "user"),
    ("--csv", "--filter", "not node b"),
    ("--filter", "tcp and port 443"),
    ("--class", "virtual,exit"),
    ("--since", "2026-01-01T00:00:00Z"),
)

_path = scratch_folder() / "messages"


def seeds() -> Iterator[bytes]:
    """The message in each wrapper that `fmt` knows, and packed."""
    texts = [
        json.dumps(each).encode()
        for each in (
            MESSAGE,
            [MESSAGE, MESSAGE],
            {"logs": [MESSAGE, {"dropped": {"messages": 3, "packets": 1, "bytes": 9}}]},
            {"event": MESSAGE, "time": 1.5},
            {"logtail": {"client_time": "2026-02-28T00:00:06Z", "proc_id": 1}, **MESSAGE},
        )
    ]
    texts += [gzip.compress(texts[0], mtime=0), load_zstd("a seed").compress(texts[0])]
    for choice in range(len(OPTIONS)):
        yield bytes([choice]) + texts[choice % len(texts)]
    yield b"\1" + b"\n".join(texts[:3])


def fuzz(data: bytes) -> None:
    """Show it."""
    options = OPTIONS[data[0] % len(OPTIONS)] if data else ()
    _path.write_bytes(data[1:])
    done = run("fmt", *options, str(_path))
    assert done.status in (0, 1), done
    assert "Traceback" not in done.err
    text = done.out.decode()
    if "--csv" in options:
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) <= 1
    if "--json" in options:
        for line in text.splitlines():
            json.loads(line)
