"""A response that did not come whole is no success: what was sent is sent again."""

import logging
from pathlib import Path

import pytest

from netlog.model.loss import Loss
from netlog.sinks import Backoff, HttpJsonShipper, NotTaken, PeriodId, SpooledSink
from netlog.spool import Position, Record, Spool
from tests.support.namespace import wait_for
from tests.support.receiver import receiver
from tests.unit.sinks.remote.test_http_sinks import message

OK = "HTTP/1.1 200 OK\r\n"
WHOLE = {
    "length": OK + "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "empty": OK + "Content-Length: 0\r\n\r\n",
    "no content": "HTTP/1.1 204 No Content\r\nX-Id: 1\r\n\r\n",
    "chunked": OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n12;a=b\r\n" + "x" * 18
    + "\r\n0\r\n\r\n",
    "trailer": OK + "Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n",
    "interim": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    "HTTP/1.1 102 Processing\r\n\r\n" + OK + "Content-Length: 1\r\n\r\nx",
    "folded": OK + "X-A: 1\r\n 2\r\n\t3\r\nContent-Length: 2\r\n\r\n{}",
    "bare line feeds": "HTTP/1.1 200\nContent-Length: 2\n\n{}",
    "length twice": OK + "Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\n{}",
    "several parts": OK + "Content-Type: multipart/mixed\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.0": "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
}  # fmt: skip
UNTIL_THE_END = {
    "to the end": OK + "Connection: close\r\n\r\n",
    "to the end, HTTP/1.0": "HTTP/1.0 200 OK\r\nServer: old\r\n\r\n",
}
INVALID = {
    "no colon": OK + "Content-Length: 0\r\nnonsense\r\n\r\n",
    "no name": OK + ": x\r\nContent-Length: 0\r\n\r\n",
    "a space in a name": OK + "Content Length: 0\r\n\r\n",
    "a space after a name": OK + "Content-Length : 0\r\n\r\n",
    "a folded first line": OK + " x\r\nContent-Length: 0\r\n\r\n",
    "mail": OK + "From somebody\r\nContent-Length: 0\r\n\r\n",
    "a status line again": OK + OK + "Content-Length: 0\r\n\r\n",
    "a bare return": OK + "X: a\rContent-Length: 0\r\n\r\n",
    "a NUL": OK + "X: \0\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + "Content-Length: 0\r\nContent-Length: 1\r\n\r\nx",
    "two lengths in one": OK + "Content-Length: 0, 1\r\n\r\nx",
    "no number": OK + "Content-Length: all\r\n\r\nx",
    "a negative length": OK + "Content-Length: -1\r\n\r\nx",
    "a length of Python": OK + "Content-Length: 1_0\r\n\r\n0123456789",
    "a coding that is unknown": OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "no size of a chunk": OK + "Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "a negative chunk": OK + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a long header": OK + "X: " + "x" * 70_000 + "\r\n\r\n",
    "many headers": OK + "X: x\r\n" * 200 + "\r\n",
    "another protocol": "RTSP/1.0 200 OK\r\n\r\n",
    "nothing but a line": "\r\n",
}


def ship(port: int, scheme: str = "http", ca_file: Path | None = None) -> str | None:
    """Ship a record on a new connection; why it was not taken, None if it was."""
    url = f"{scheme}://127.0.0.1:{port}/"
    shipper = HttpJsonShipper(url, ca_file=None if ca_file is None else str(ca_file))
    try:
        shipper.ship([Record(b"{}", 7, 1, 1_700_000_001_500_000_000, 1, 1, Loss(), Position())])
    except NotTaken as error:
        return error.reason
    else:
        return None
    finally:
        shipper.close()


@pytest.mark.parametrize(
    "text", [*WHOLE.values(), *UNTIL_THE_END.values()], ids=[*WHOLE, *UNTIL_THE_END]
)
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_response_that_is_cut_anywhere_is_none(
    tmp_path: Path,
    text: str,
    reset: bool,  # noqa: FBT001 - pytest
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At every byte: a failure in our own words, and nothing in a log of urllib3."""
    caplog.set_level(logging.INFO)
    cuts = [{"raw": text[:length], "reset": reset} for length in range(len(text))]
    with receiver(tmp_path, *cuts, {"raw": text}) as there:
        reasons = [ship(there.port) for _ in cuts]
        assert ship(there.port) is None
    for length, reason in enumerate(reasons):
        assert reason is not None, text[:length]
        words = {"the connection ended", "Connection reset by peer", "the answer is not HTTP"}
        assert any(word in reason for word in words), (reason, text[:length])
    assert not caplog.records


def test_a_response_that_is_cut_inside_tls_is_none(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """A body without a length ends with the end of TLS, which nobody in between can forge."""
    texts = [WHOLE["length"][:-1], WHOLE["trailer"][:-1], *UNTIL_THE_END.values(), WHOLE["length"]]
    with receiver(tmp_path, *[{"raw": text} for text in texts], tls=certificate) as there:
        reasons = [ship(there.port, "https", certificate[0]) for _ in texts]
    assert [str(reason).partition(": TLS: ")[2] for reason in reasons[:-1]] == (
        ["the connection was cut"] * (len(texts) - 1)
    )
    assert reasons[-1] is None


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_a_response_that_cannot_be_read_is_none(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not valid is told as such, whatever a lenient reader makes of it."""
    with receiver(tmp_path, {"raw": text}) as there:
        reason = ship(there.port)
    assert reason is not None
    assert reason.endswith(("the answer is not HTTP", "the connection ended within the answer"))
    assert not caplog.records


def test_what_comes_after_a_valid_response_is_not_the_next_one(tmp_path: Path) -> None:
    """A receiver that says more than it should is asked on a new connection."""
    extra = WHOLE["empty"] + OK + "Content-Length: 0\r\n\r\n"
    with receiver(tmp_path, {"raw": extra}, {"status": 500}) as there:
        shipper = HttpJsonShipper(f"http://127.0.0.1:{there.port}/")
        record = Record(b"{}", 7, 1, 1_700_000_001_500_000_000, 1, 1, Loss(), Position())
        shipper.ship([record])
        with pytest.raises(NotTaken, match="500"):
            shipper.ship([record])
        shipper.close()


def test_a_long_answer_is_believed_if_it_came_whole(tmp_path: Path) -> None:
    """Cut behind what is kept of it, it is none."""
    whole = f"{OK}Content-Length: 200000\r\n\r\n" + "x" * 200_000
    with receiver(tmp_path, {"raw": whole}, {"raw": whole[:-1]}) as there:
        assert ship(there.port) is None
        assert "the connection ended within the answer" in str(ship(there.port))


def test_a_cut_answer_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Through a sink: every message arrives in the end, with one line of log at each turn."""
    caplog.set_level(logging.INFO)
    cuts = [{"raw": OK}, {"raw": OK + "Content-Le"}, {"raw": OK + "Content-Length: 3\r\n\r\n{}"}]
    with receiver(tmp_path, *cuts) as there:
        shipper = HttpJsonShipper(f"http://127.0.0.1:{there.port}/")
        sink = SpooledSink(
            Spool(tmp_path / "spool", max_bytes=1 << 20),
            shipper,
            node_id="n",
            name="there",
            backoff=Backoff(between=lambda _, high: high / 1000),
        )
        sink.begin(PeriodId(b"m" * 16, 1))
        sink.write(message(1))
        sink.commit()
        wait_for(lambda: sink.counters()["there"].pending == 0, "it arrived")
        counters = sink.counters()["there"]
        sink.close()
        assert (counters.written, counters.errors) == (1, 3)
        assert len(there.requests()) == 4
    first, last = (each.getMessage() for each in caplog.records)
    assert "the connection ended within the answer" in first
    assert "works again" in last
    assert not any(each.exc_info for each in caplog.records)
