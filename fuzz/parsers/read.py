"""A capture: `netlog read` writes messages up to the fault, and their sums are its counters'."""

import io
import json
from collections.abc import Iterator

from fuzz import seeds as generated
from fuzz.parsers.commands import run
from fuzz.parsers.scratch import scratch_folder
from netlog.capture import CaptureError, CaptureReader

_path = scratch_folder() / "x.pcap"


def seeds() -> Iterator[bytes]:
    """A file of every format and link type."""
    return generated.captures()


def packets_of(message: dict[str, object]) -> int:
    """All packets of a message."""
    return sum(
        entry.get("txPkts", 0) + entry.get("rxPkts", 0)
        for entries in message.values()
        if isinstance(entries, list)
        for entry in entries
    )


def fuzz(data: bytes) -> None:
    """Read it by the command, and as a program does."""
    _path.write_bytes(data)
    done = run("read", str(_path))
    assert done.status in (0, 1), done
    assert "Traceback" not in done.err
    messages = [json.loads(line) for line in done.out.decode().splitlines()]
    for message in messages:
        assert message["start"] <= message["end"]
    with CaptureReader(node_id="a", exit_traffic="log") as reader:
        fault = ""
        packets = 0
        try:
            for message in reader.read(io.BytesIO(data), "x.pcap"):
                packets += packets_of(json.loads(message.to_json()))
        except CaptureError as error:
            fault = str(error)
        for message in reader.finish():
            packets += packets_of(json.loads(message.to_json()))
        counters = reader.counters()
    assert bool(fault) == (done.status == 1), (fault, done)
    assert packets == counters.packets + counters.snapped, (packets, counters)
    assert sum(map(packets_of, messages)) == packets
