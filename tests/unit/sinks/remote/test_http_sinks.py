"""netlog.sinks over HTTP: every message arrives, whatever a real receiver does."""

import base64
import json
import logging
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.model.loss import Loss
from netlog.sinks import (
    Backoff,
    HecShipper,
    HttpJsonShipper,
    LogtailShipper,
    NotTaken,
    PeriodId,
    Shipper,
    SpooledSink,
    Timeouts,
    new_private_id,
    public_id,
)
from netlog.spool import Position, Record, Spool
from tests.support.receiver import receiver

try:
    from compression import zstd
except ImportError:
    from backports import zstd

PRIVATE_ID = "a8" + "5c" * 30 + "7f"
COPY_ID = "b0" + "1d" * 30 + "41"
TOKEN = "0f4b2c66-secret-token"  # noqa: S105 - of nothing
FAST = Timeouts(connect_s=5.0, read_s=0.3, total_s=0.6)
LONG = Timeouts(connect_s=60.0, read_s=60.0, total_s=60.0)


def message(number: int, n_entries: int = 1) -> Message:
    """A message that says which one it is."""
    rows = [
        (6, f"100.64.0.1:{port + 1}", "[fd7a::2]:2", number, 9, 0, 0) for port in range(n_entries)
    ]
    start = 1_700_000_000_000_000_000 + number
    return Message(f"n{number}", start, start + 250_000_000, virtual_traffic=flow_array(rows))


def record(payload: bytes, seq: int = 1, loss: Loss | None = None) -> Record:
    """A record as a spool hands it out."""
    return Record(payload, 7, seq, 1_700_000_001_500_000_000, 1, 1, loss or Loss(), Position())


MAKERS: dict[str, Callable[..., Shipper]] = {
    "logtail": lambda port, **options: LogtailShipper(
        f"http://127.0.0.1:{port}", "a.example.com", PRIVATE_ID, COPY_ID, **options
    ),
    "ndjson": lambda port, **options: HttpJsonShipper(
        f"http://127.0.0.1:{port}/in?key={TOKEN}", {"Authorization": f"Bearer {TOKEN}"}, **options
    ),
    "array-gzip": lambda port, **options: HttpJsonShipper(
        f"http://127.0.0.1:{port}/in", {"X-Key": TOKEN}, "array", "gzip", **options
    ),
    "ndjson-zstd": lambda port, **options: HttpJsonShipper(
        f"http://127.0.0.1:{port}/in", {}, "ndjson", "zstd", **options
    ),
    "hec": lambda port, **options: HecShipper(f"http://127.0.0.1:{port}", TOKEN, **options),
    "hec-gzip": lambda port, **options: HecShipper(
        f"http://127.0.0.1:{port}", TOKEN, user="u", compression="gzip", **options
    ),
}


def body_of(request: dict[str, Any]) -> bytes:
    """The body, unpacked."""
    body: bytes = request["body"]
    match dict(request["headers"]).get("content-encoding"):
        case "zstd":
            return bytes(zstd.decompress(body))
        case "gzip":
            return zlib.decompress(body, wbits=31)
    return body


def entries_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages in it, whatever their envelope."""
    text, entries = body_of(request).decode(), []
    decoder = json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        entries += value if isinstance(value, list) else [value]
        text = text[end:]
    return [entry.get("event", entry) for entry in entries]


def formatted(directory: Path, requests: list[dict[str, Any]]) -> list[str]:
    """The nodes of the messages that `netlog fmt` finds in the bodies as they came."""
    files = []
    for number, request in enumerate(requests):
        files.append(directory / f"body{number}")
        files[-1].write_bytes(request["body"])
    done = subprocess.run(
        [sys.executable, "-m", "netlog", "fmt", "--json", *files], capture_output=True, check=True
    )
    return [json.loads(line)["nodeId"] for line in done.stdout.splitlines()]


@contextmanager
def sink_to(directory: Path, shipper: Shipper, backoff: Backoff) -> Iterator[SpooledSink]:
    """A sink with a spool of its own."""
    spool = Spool(directory / "spool", max_bytes=16 << 20)
    sink = SpooledSink(spool, shipper, node_id="n", name="there", backoff=backoff)
    try:
        yield sink
    finally:
        sink.close()


def soon() -> Backoff:
    """Waits that are short."""
    return Backoff(between=lambda _, high: high / 1000)


ANSWERS = [
    {"status": 500, "body": "no \x1b[31m luck\r\n"},
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 503, "headers": {"Retry-After": "whenever"}},
    {"status": 307, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    {"status": 413},
    {"status": 400, "body": "no"},
    {"status": 404, "body": "x" * 300_000},
]


@pytest.mark.parametrize("kind", MAKERS)
def test_every_message_arrives(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Errors, garbage, silence, resets, a port that is gone: what comes twice is the same."""
    caplog.set_level(logging.DEBUG)
    broken = ["garbage", "reset", "reset-after", "half", "hang", "drip", "close", "gone"]
    script = [step for pair in zip(ANSWERS, broken, strict=False) for step in pair] + broken[7:]
    refused = {"status": 204} if kind == "logtail" else {"status": 302}
    with receiver(tmp_path, refused, *script) as there:
        failures = [0]

        def between(_: float, high: float) -> float:
            failures[0] += 1
            if failures[0] % 5 == 0:
                there.come_back()
            return high / 1000

        shipper = MAKERS[kind](there.port, timeouts=FAST)
        with sink_to(tmp_path, shipper, Backoff(between=between)) as sink:
            for epoch in range(1, 41):
                sink.begin(PeriodId(b"m" * 16, epoch))
                sink.write(message(epoch))
                sink.commit()
            while not sink.wait_empty(5):
                there.come_back()
            counters = sink.counters()["there"]
        requests = there.requests()
    assert (counters.written, counters.dropped, counters.pending) == (40, 0, 0)
    identities: dict[tuple[int, int], dict[str, Any]] = {}
    taken = [request for request in requests if request["act"] in ({"status": 200}, "close")]
    for request in requests:
        for entry in entries_of(request) if request["act"] != "reset" else ():
            key = (entry["logtail"]["proc_id"], entry["logtail"]["proc_seq"])
            assert identities.setdefault(key, entry) == entry
    assert {entry["nodeId"] for request in taken for entry in entries_of(request)} == {
        f"n{number}" for number in range(1, 41)
    }
    assert sorted(formatted(tmp_path, taken)) == sorted(
        entry["nodeId"] for request in taken for entry in entries_of(request)
    )
    for secret in (PRIVATE_ID, COPY_ID, TOKEN, base64.b64encode(b"u:" + TOKEN.encode()).decode()):
        ours = [line for line in caplog.records if line.name.startswith("netlog")]
        assert secret not in "".join(line.getMessage() for line in ours)
        assert secret not in repr(shipper) + counters.last_error


def ship_one(tmp_path: Path, kind: str, *script: Any, **options: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
    """Ship one batch; returns what became of it and the request."""
    with receiver(tmp_path, *script) as there:
        shipper = MAKERS[kind](there.port, timeouts=options.pop("timeouts", FAST), **options)
        try:
            outcome: object = shipper.ship([record(message(1).to_json()), record(b"{}", 2)])
        except NotTaken as error:
            outcome = error
        shipper.close()
        return outcome, there.requests()[0]


def test_a_logtail_upload_is_what_its_servers_know(tmp_path: Path) -> None:
    """Method, path, copy id, no user agent, an array of entries with their identity."""
    outcome, request = ship_one(tmp_path, "logtail")
    assert outcome == b""
    assert request["method"] == "POST"
    assert request["target"] == f"/c/a.example.com/{PRIVATE_ID}?copyId={COPY_ID}"
    assert "user-agent" not in dict(request["headers"])
    identity = b'{"logtail":{"client_time":"2023-11-14T22:13:21.5Z","proc_id":7,"proc_seq":%d}'
    text = identity % 1 + b"," + message(1).to_json()[1:] + b"," + identity % 2 + b"}"
    assert body_of(request) == b"[" + text + b"]"


@pytest.mark.parametrize(
    ("n_bytes", "packed"), [(100, False), (1000, True)], ids=["small", "great"]
)
def test_a_logtail_body_is_packed_when_it_pays(tmp_path: Path, n_bytes: int, packed: bool) -> None:  # noqa: FBT001
    """With the length that it has unpacked; a small one goes as it is."""
    with receiver(tmp_path) as there:
        shipper = MAKERS["logtail"](there.port)
        shipper.ship([record(b'{"x":"%s"}' % (b"x" * n_bytes))])
        shipper.close()
        (request,) = there.requests()
    headers = dict(request["headers"])
    assert ("content-encoding" in headers) == packed
    if packed:
        assert headers["content-encoding"] == "zstd"
        assert int(headers["orig-content-length"]) == len(body_of(request))
    else:
        assert "orig-content-length" not in headers


def test_a_body_that_does_not_shrink_is_not_packed(tmp_path: Path) -> None:
    """What saves no 64 bytes goes as it is."""
    noise = base64.b64encode(bytes((i * i * 7919 >> 5) & 0xFF for i in range(150)))
    with receiver(tmp_path) as there:
        shipper = MAKERS["logtail"](there.port)
        shipper.ship([record(b'{"x":"%s"}' % noise)])
        shipper.close()
        (request,) = there.requests()
    assert len(request["body"]) > 256
    assert "content-encoding" not in dict(request["headers"])


def test_a_batch_keeps_to_the_size_that_servers_like(tmp_path: Path) -> None:
    """256 KiB with the identities; a greater message goes all the same, alone."""
    with receiver(tmp_path) as there:
        shipper = MAKERS["logtail"](there.port)
        with sink_to(tmp_path, shipper, soon()) as sink:
            sink.begin(PeriodId(b"m" * 16, 1))
            for number in range(1, 300):
                sink.write(message(number, 5000 if number == 100 else 40))
            sink.commit()
            assert sink.wait_empty()
        sizes = [(len(body_of(request)), len(entries_of(request))) for request in there.requests()]
    assert [n for size, n in sizes if size > 256 * 1024] == [1]
    assert sum(n for _, n in sizes) == 299
    assert len(sizes) < 10


def test_connections_are_kept(tmp_path: Path) -> None:
    """Many batches, one connection; one that the other side closed meanwhile is no failure."""
    with receiver(tmp_path, *[{"status": 200}] * 3, "close") as there:
        shipper = MAKERS["ndjson"](there.port)
        for number in range(8):
            shipper.ship([record(b"{}", number)])
        shipper.close()
        peers = [request["peer"] for request in there.requests()]
    assert len(peers) == 8
    assert (len(set(peers[:4])), len(set(peers[4:]))) == (1, 1)
    assert peers[3] != peers[4]


def test_a_kept_connection_that_ends_is_no_failure(tmp_path: Path) -> None:
    """A server may close it at any moment, also while a request is on its way: once more, then."""
    with receiver(
        tmp_path, {"status": 200}, "reset-after", {"status": 200}, "reset-after"
    ) as there:
        shipper = MAKERS["ndjson"](there.port)
        shipper.ship([record(b"{}", 1)])
        shipper.ship([record(b"{}", 2)])
        shipper.close()
        seqs = [entries_of(request)[0]["logtail"]["proc_seq"] for request in there.requests()]
    assert seqs == [1, 2, 2]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ({"status": 500, "body": "a\x1b[2Jb\n"}, r"500 Internal Server Error: a\x1b[2Jb"),
        ({"status": 599}, "599"),
        ({"status": 301, "headers": {"Location": "/x"}}, "301 Moved Permanently"),
        ("hang", "no answer in time"),
        ("drip", "no complete answer in time"),
        ("garbage", "the answer is not HTTP"),
        ("half", "the connection ended within the answer"),
        ("negative", "the answer is not HTTP"),
        ("reset", "Connection reset by peer"),
        ("reset-after", "Connection reset by peer"),
    ],
    ids=str,
)
def test_a_failure_says_what_it_was(tmp_path: Path, act: object, words: str) -> None:
    """In words fit for a log."""
    patient = Timeouts(connect_s=5.0, read_s=60.0 if act == "drip" else 0.3, total_s=0.6)
    outcome, request = ship_one(tmp_path, "logtail", act, timeouts=patient)
    assert isinstance(outcome, NotTaken)
    assert words in outcome.reason
    assert request["target"].startswith("/c/")
    assert "/c/" not in outcome.reason


@pytest.mark.parametrize("kind", ["logtail", "ndjson", "array-gzip", "hec", "hec-gzip"])
def test_a_receiver_that_repeats_a_secret_is_not_repeated(tmp_path: Path, kind: str) -> None:
    """An error page with the path or a header in it does not bring them into the log."""
    basic = base64.b64encode(b"u:" + TOKEN.encode()).decode()
    text = f"no {PRIVATE_ID.upper()} {COPY_ID} {TOKEN} {basic} here"
    outcome, _ = ship_one(tmp_path, kind, {"status": 403, "body": text})
    assert isinstance(outcome, NotTaken)
    assert "403 Forbidden: no " in outcome.reason
    mine = (PRIVATE_ID.upper(), COPY_ID) if kind == "logtail" else (TOKEN,)
    for secret in (*mine, *([basic] if kind == "hec-gzip" else [])):
        assert secret not in outcome.reason
    assert len(outcome.reason) < 1200


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("17", 17.0),
        ("0", 0.0),
        (" 3\x1d", 3.0),
        ("9" * 400, None),
        ("-1", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read(tmp_path: Path, value: str, wait_s: float | None) -> None:
    """A number of seconds; nonsense is nothing."""
    outcome, _ = ship_one(tmp_path, "ndjson", {"status": 429, "headers": {"Retry-After": value}})
    assert outcome.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("value", "range_s"),
    [("Sun, 06 Nov 1994 08:49:37 GMT", (0, 0)), ("Fri, 31 Dec 9999 23:59:59 GMT", (1e9, 1e12))],
    ids=["past", "future"],
)
def test_retry_after_can_be_a_date(
    tmp_path: Path, value: str, range_s: tuple[float, float]
) -> None:
    """RFC 9110 has both forms."""
    outcome, _ = ship_one(tmp_path, "ndjson", {"status": 503, "headers": {"Retry-After": value}})
    assert range_s[0] <= outcome.retry_after_s <= range_s[1]


@pytest.mark.parametrize(
    ("kind", "status", "taken"),
    [
        ("logtail", 200, True),
        ("logtail", 201, False),
        ("logtail", 204, False),
        ("ndjson", 204, True),
        ("ndjson", 299, True),
        ("ndjson", 300, False),
        ("hec", 200, True),
        ("hec", 503, False),
    ],
)
def test_what_counts_as_success(tmp_path: Path, kind: str, status: int, taken: bool) -> None:  # noqa: FBT001
    """200 only for logtail, any 2xx for the others."""
    outcome, _ = ship_one(tmp_path, kind, {"status": status})
    assert (outcome == b"") == taken


@pytest.mark.parametrize(
    ("kind", "media", "encoding"),
    [
        ("ndjson", "application/x-ndjson", None),
        ("array-gzip", "application/json", "gzip"),
        ("ndjson-zstd", "application/x-ndjson", "zstd"),
    ],
)
def test_a_json_upload_is_as_configured(
    tmp_path: Path, kind: str, media: str, encoding: str | None
) -> None:
    """Lines or an array, packed or not, with the headers that were given."""
    outcome, request = ship_one(tmp_path, kind)
    assert outcome == b""
    headers = dict(request["headers"])
    assert headers["content-type"] == media
    assert headers.get("content-encoding") == encoding
    assert headers["user-agent"].startswith("netlog/")
    body = body_of(request)
    assert body.startswith(b"[" if "array" in kind else b'{"logtail":')
    assert len(entries_of(request)) == 2
    if kind == "ndjson":
        assert headers["authorization"] == f"Bearer {TOKEN}"
        assert request["target"] == f"/in?key={TOKEN}"
        assert body.count(b"\n") == 2


@pytest.mark.parametrize("user", [None, "u"], ids=["splunk", "basic"])
def test_a_hec_event_has_its_envelope(tmp_path: Path, user: str | None) -> None:
    """No separators, the time of the period's end with all its digits, either authorization."""
    with receiver(tmp_path) as there:
        shipper = HecShipper(f"http://127.0.0.1:{there.port}", TOKEN, user=user)
        telling = Loss(3, 4, 5)
        shipper.ship([record(message(1).to_json()), record(telling.to_json("n"), 2, loss=telling)])
        shipper.close()
        (request,) = there.requests()
    headers = dict(request["headers"])
    basic = "Basic " + base64.b64encode(f"u:{TOKEN}".encode()).decode()
    assert headers["authorization"] == (basic if user else f"Splunk {TOKEN}")
    assert request["target"] == "/services/collector/event"
    logtail = '"logtail":{"client_time":"2023-11-14T22:13:21.5Z","proc_id":7,"proc_seq":%d}'
    fields = '"fields":{"recorded":"2023-11-14T22:13:21.5Z"}'
    assert body_of(request).decode() == (
        '{"time":1700000000.250000001,"event":{' + logtail % 1 + ","
        + message(1).to_json().decode()[1:] + "," + fields + "}"
        + '{"time":1700000001.5,"event":{' + logtail % 2 + ","
        + '"nodeId":"n","dropped":{"messages":3,"packets":4,"bytes":5}},' + fields + "}"
    )  # fmt: skip


def test_a_hec_path_that_is_given_is_kept(tmp_path: Path) -> None:
    """Also with a query."""
    with receiver(tmp_path) as there:
        for path in ("/other?index=a", "/?channel=b", "", "/"):
            shipper = HecShipper(f"http://127.0.0.1:{there.port}{path}", TOKEN)
            shipper.ship([record(b"{}")])
            shipper.close()
        targets = [request["target"] for request in there.requests()]
    usual = "/services/collector/event"
    assert targets == ["/other?index=a", f"{usual}?channel=b", usual, usual]


def test_tls_is_verified(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """A certificate is trusted if it is told to be; else nothing is sent, nor to another name."""
    with receiver(tmp_path, tls=certificate) as there:
        for host, ca_file, words in (
            ("127.0.0.1", certificate[0], None),
            ("127.0.0.1", None, "the certificate is not trusted: self-signed certificate"),
            ("localhost", certificate[0], "the certificate is not trusted: Hostname mismatch"),
        ):
            shipper = HttpJsonShipper(
                f"https://{host}:{there.port}/in", ca_file=str(ca_file) if ca_file else None
            )
            if words is None:
                assert shipper.ship([record(b"{}")]) == b""
            else:
                with pytest.raises(NotTaken) as caught:
                    shipper.ship([record(b"{}")])
                assert words in caught.value.reason
            shipper.close()
        assert len(there.requests()) == 1


def test_tls_that_drips_has_an_end(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """The time for all of it holds inside TLS too."""
    with receiver(tmp_path, "drip", tls=certificate) as there:
        timeouts = Timeouts(connect_s=60.0, read_s=60.0, total_s=0.5)
        url = f"https://127.0.0.1:{there.port}/in"
        shipper = HttpJsonShipper(url, ca_file=str(certificate[0]), timeouts=timeouts)
        with pytest.raises(NotTaken, match="no complete answer in time"):
            shipper.ship([record(b"{}")])
        assert shipper.ship([record(b"{}")]) == b""
        shipper.close()


def test_closing_interrupts_a_receiver_that_says_nothing(tmp_path: Path) -> None:
    """The sink ends although its try has a minute left; the message stays in the spool."""
    with receiver(tmp_path, "hang", "hang") as there:
        shipper = MAKERS["ndjson"](there.port, timeouts=LONG)
        spool = Spool(tmp_path / "spool", max_bytes=1 << 20)
        sink = SpooledSink(spool, shipper, node_id="n", name="there", backoff=soon())
        sink.begin(PeriodId(b"m" * 16, 1))
        sink.write(message(1))
        sink.commit()
        seen = threading.Event()

        def look() -> None:
            while not there.requests():
                seen.wait(0.01)
            seen.set()

        threading.Thread(target=look, daemon=True).start()
        seen.wait()
        sink.close(0.2)
        with_rest = Spool(tmp_path / "spool", max_bytes=1 << 20)
        assert with_rest.counters().pending == 1
        with_rest.close()


def test_ids_are_made_and_checked() -> None:
    """64 digits with their fixed bits; the public one is the SHA-256 of the bytes."""
    for _ in range(50):
        number = bytes.fromhex(new_private_id())
        assert (len(number), number[0] & 7, number[31] & 192) == (32, 0, 64)
    assert new_private_id() != new_private_id()
    # head -c 31 /dev/zero | cat - <(printf @) | sha256sum
    assert public_id("0" * 62 + "40") == (
        "d9ece2cd2214f52c55dcd9bca56a900ec79c1343f12df8a60f0298d255896b61"
    )


@pytest.mark.parametrize(
    "private_id", ["", "ab" * 32, PRIVATE_ID[:-2], PRIVATE_ID + "00", "g8" + PRIVATE_ID[2:]]
)
def test_a_wrong_id_is_refused_and_not_repeated(private_id: str) -> None:
    """Whatever is wrong with it, it may be a secret."""
    for ids in ((private_id,), (PRIVATE_ID, private_id)):
        with pytest.raises(ValueError, match="netlog newid") as caught:
            LogtailShipper("http://127.0.0.1:9", "a.example.com", *ids)
        assert not private_id or private_id not in str(caught.value)
    with pytest.raises(ValueError, match="collection"):
        LogtailShipper("http://127.0.0.1:9", "a/b", PRIVATE_ID)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1", "ftp://h/", "http://", "http://u:hidden@h/", "http://h/#hidden", "http://[h"],
)
def test_a_wrong_url_is_refused_and_not_repeated(url: str) -> None:
    """It can have a password in it."""
    for make in (lambda: HttpJsonShipper(url), lambda: HecShipper(url, TOKEN)):
        with pytest.raises(ValueError, match="url: ") as caught:
            make()
        assert "hidden" not in str(caught.value)


def test_wrong_options_are_refused() -> None:
    """Before anything is sent, without the values of headers."""
    wrong: list[Any] = [
        {"body": "xml"},
        {"compression": "rar"},
        {"headers": {"X-Key": "hidden\r\nX: y"}},
        {"headers": {"a b": "c"}},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=r"expected|not a valid header name") as caught:
            HttpJsonShipper("http://127.0.0.1:9", **options)
        assert "hidden" not in str(caught.value)
    for token in ("", "a b", "a\n"):
        with pytest.raises(ValueError, match="token"):
            HecShipper("http://127.0.0.1:9", token)
    with pytest.raises(FileNotFoundError):
        HttpJsonShipper("https://127.0.0.1:9", ca_file="/nonexistent.pem")


def test_sinks_do_without_urllib3_until_it_is_needed() -> None:
    """Importing the sinks does not import it; its absence is told with the extra's name."""
    program = (
        "import sys, netlog.sinks; assert 'urllib3' not in sys.modules;"
        "sys.modules['urllib3'] = None\n"
        "try: netlog.sinks.LogtailShipper\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "netlog-flows[http]" in done.stdout
