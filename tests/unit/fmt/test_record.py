"""Flow logs in whatever stands around them, and the bytes that they come in."""

import contextlib
import gzip
import importlib
import itertools
import json
import sys
from typing import Any

import pytest

from netlog.fmt.record import FlowLog, endpoint, read_records
from netlog.fmt.source import SourceError, unpack
from netlog.fmt.split import ReadError, Splitter, Value

zstd: Any = None
for module in ("compression.zstd", "backports.zstd"):
    with contextlib.suppress(ImportError):
        zstd = zstd or importlib.import_module(module)

NEEDS_ZSTD = pytest.mark.skipif(zstd is None, reason="backports.zstd is not installed")

PERIOD = {"start": "2024-02-29T00:00:00Z", "end": "2024-02-29T00:00:04.999999999Z"}


def flow(node_id: str) -> dict[str, Any]:
    """A message of a node."""
    entry = {"proto": 6, "src": "100.64.0.1:1", "dst": "[fd7a::2]:2", "txPkts": 1, "txBytes": 2}
    return {"nodeId": node_id, **PERIOD, "virtualTraffic": [entry]}


def read(data: bytes, *, keep_tree: bool = False) -> list[FlowLog]:
    """All flow logs of a stream."""
    splitter = Splitter()
    values = itertools.chain(splitter.feed(data), splitter.finish())
    return [record for value in values for record in read_records(value, keep_tree=keep_tree)]


LOGTAIL = {"client_time": "2024-02-29T00:00:05Z", "proc_id": 7, "proc_seq": 1}
HEC = {"time": 1709164805.1, "fields": {"recorded": "2024-02-29T00:00:05Z"}}
A, B = flow("a"), flow("b")
STREAMS = {
    "lines": f"{json.dumps(A)}\n{json.dumps(B)}\n",
    "no newline at the end": f"{json.dumps(A)}\n{json.dumps(B)}",
    "pretty": json.dumps(A, indent=2) + json.dumps(B, indent=2),
    "array": json.dumps([A, B]),
    "API": json.dumps({"logs": [{"logged": "2024-02-29T00:00:06Z"} | A, B]}),
    "API, not first": json.dumps({"tailnet": "x", "logs": [A, B]}),
    "HEC": json.dumps(HEC | {"event": A}) + json.dumps({"event": B} | HEC),
    "HEC, others between": json.dumps({"event": "up"}) + json.dumps({"event": A}) + json.dumps(B),
    "logtail": json.dumps(
        [
            {"logtail": LOGTAIL, "text": "logtail started"},
            {"logtail": LOGTAIL} | A,
            {"logtail": {"error": {"detail": "x", "bad_data": [1]}}},
            {"logtail": LOGTAIL} | B,
        ]
    ),
    "deep": json.dumps({"data": [{"rows": {"1": A}}, [[B]], 5, None, "virtualTraffic"]}),
    "empty message of a node that did not know itself": json.dumps(
        [A, {"nodeId": "", "start": "0001-01-01T00:00:00Z", "end": "0001-01-01T00:00:00Z"}, B]
    ),
}


@pytest.mark.parametrize("keep_tree", [False, True])
@pytest.mark.parametrize("form", STREAMS)
def test_every_envelope(form: str, keep_tree: bool) -> None:  # noqa: FBT001
    """The flow logs are found, and nothing else; the whole message is kept if asked for."""
    records = read(STREAMS[form].encode(), keep_tree=keep_tree)
    assert [record.node_id for record in records] == ["a", "b"]
    for record in records:
        (entry,) = record.traffic["virtual"]
        assert (entry.src, entry.dst, entry.tx_pkts, entry.tx_bytes) == (
            "100.64.0.1:1", "[fd7a::2]:2", 1, 2,
        )  # fmt: skip
        assert record.period_s == 5.0
        if keep_tree:
            tree = record.tree or {}
            assert {name: tree[name] for name in A} == flow(record.node_id)


def test_what_makes_a_flow_log() -> None:
    """One of the traffic members, or node, start and end."""
    (bare,) = read(b'{"exitTraffic":[]}')
    assert (bare.node_id, bare.traffic, bare.period_s) == ("", {}, None)
    assert len(read(json.dumps({"nodeId": "a", **PERIOD}).encode())) == 1
    assert read(b'{"nodeId":"a","start":"2024-02-29T00:00:00Z"} {"event":{}} [] 1 "x" null') == []


@pytest.mark.parametrize(
    ("end", "period_s"),
    [("00:00:00Z", 1e-9), ("00:00:05Z", 5.000000001), ("23:59:59-01:00", None)],
)
def test_the_period_is_never_zero(end: str, period_s: float | None) -> None:
    """Both ends belong to it; one that ends before it starts is none."""
    day = "2024-02-28" if period_s is None else "2024-02-29"
    (record,) = read(json.dumps(A | {"end": f"{day}T{end.replace('-01:00', 'Z')}"}).encode())
    assert record.period_s == period_s


@pytest.mark.parametrize(
    ("proto", "name", "number"),
    [(6, "tcp", 6), ("6", "tcp", 6), ("TCP", "tcp", 6), ("ipv4", "ipv4", 4), (99, "tsmp", 99),
     (0, "", 0), ("", "", 0), (200, "200", 200), ("quic", "quic", None), (255, "fragment", 255)],
)  # fmt: skip
def test_protocols(proto: object, name: str, number: int | None) -> None:
    """A number or a text; the text may be a name."""
    (record,) = read(json.dumps({"exitTraffic": [{"proto": proto}]}).encode())
    (entry,) = record.traffic["exit"]
    assert (entry.protocol, entry.protocol_number) == (name, number)


@pytest.mark.parametrize(
    ("text", "host", "port", "address"),
    [
        ("1.2.3.4:5", "1.2.3.4", 5, "1.2.3.4"),
        ("1.2.3.4", "1.2.3.4", 0, "1.2.3.4"),
        ("[fd7a::1]:65535", "fd7a::1", 65535, "fd7a::1"),
        ("fd7a::1", "fd7a::1", 0, "fd7a::1"),
        ("[fe80::1%eth0]:7", "fe80::1%eth0", 7, "fe80::1"),
        ("[::ffff:1.2.3.4]:5", "::ffff:1.2.3.4", 5, "1.2.3.4"),
        ("nonsense:5", "nonsense:5", 0, None),
    ],
)
def test_endpoints(text: str, host: str, port: int, address: str | None) -> None:
    """Addresses with and without ports, of both families."""
    end = endpoint(text)
    assert (end.host, end.port, end.address and str(end.address)) == (host, port, address)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{} {"a":nul}', "byte 9: JSON is malformed"),
        (b'{"a":1}\n{"a":[1}\n', "byte 15: unexpected }: it closes nothing"),
        (b"tope", "byte 4: JSON is malformed"),
        (b'{} {"exitTraffic":[{"txBytes":-1}]}', "byte 3: invalid flow log: Expected"),
        (b'{"exitTraffic":[],"start":"now"}', "byte 0: invalid flow log: 'now'"),
        (b'{"a":"\xff"}', "byte 0: "),
        (b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", "byte 0: JSON is nested too deeply"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_errors_have_offsets(data: bytes, message: str) -> None:
    """What is wrong is named with the byte where it is."""
    with pytest.raises(ReadError) as caught:
        read(data)
    assert str(caught.value).startswith(message)


def packed(data: bytes, form: str) -> bytes:
    """The data in two gzip members or zstd frames."""
    compress = gzip.compress if form == "gzip" else zstd.compress
    return compress(data[:1000]) + compress(data[1000:])


FORMS = ["gzip", pytest.param("zstd", marks=NEEDS_ZSTD)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_bytes", [1, 3, 4, 1000, 1 << 20])
def test_unpack(form: str, n_bytes: int) -> None:
    """Packed bytes come out as they were, however they arrive, in bounded pieces."""
    data = bytes(3 << 20) + bytes(range(256)) * 4
    text = packed(data, form)
    chunks = [text[at : at + n_bytes] for at in range(0, len(text), n_bytes)]
    pieces = list(unpack(chunks))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(unpack([b"\x28", b"{}"])) == b"\x28{}", "not every such byte is a magic number"
    assert list(unpack([])) == []


@pytest.mark.parametrize("form", FORMS)
def test_damaged_packing(form: str) -> None:
    """A packed file that is cut short or has changed is an error, not a shorter file."""
    text = packed(bytes(5000), form)
    with pytest.raises(SourceError, match=f"the file ends within its {form} data"):
        list(unpack([text[:-5]]))
    with pytest.raises(SourceError, match=f"damaged {form}"):
        list(unpack([text + b"garbage, and more of it"]))


def test_zstd_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package to install."""
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SourceError, match=r"reading zstd needs .* pip install .*\[zstd\]"):
        list(unpack([b"\x28\xb5\x2f\xfd...."]))


def test_value_is_not_kept() -> None:
    """A value's bytes are its own: the buffer goes on growing and shrinking under it."""
    splitter = Splitter()
    (first,) = splitter.feed(b'{"a":1}{"b"')
    (second,) = splitter.feed(b":2}")
    assert (first, second) == (Value(0, bytearray(b'{"a":1}')), Value(7, bytearray(b'{"b":2}')))
