"""Receivers behind a proxy: a tunnel for https, forwarding for http, and no word of a password."""

import base64
import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from netlog.model.loss import Loss
from netlog.sinks import HttpJsonShipper, NotTaken
from netlog.sinks.remote.proxy import environment_proxy, parse_proxy
from netlog.spool import Position, Record
from tests.support.proxy import RunningProxy, proxy
from tests.support.receiver import receiver

USER = "netlog:s3cret/p:ss%word"
QUOTED = "netlog:s3cret%2Fp%3Ass%25word"
NAMES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the environment of whoever runs it."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of logs.example that signed itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate; to install it: apt install openssl")
    directory = tmp_path_factory.mktemp("named")
    files = (directory / "certificate.pem", directory / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=receiver", "-addext", "subjectAltName=DNS:logs.example"]
    subprocess.run(
        [*command.split(), *names, "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


def ship(url: str, times: int = 1, **options: Any) -> str | None:  # noqa: ANN401 - a shipper's
    """Ship records on one shipper; why the last was not taken, None if it was."""
    shipper = HttpJsonShipper(url, **options)
    record = Record(b"{}", 7, 1, 1_700_000_001_500_000_000, 1, 1, Loss(), Position())
    try:
        for _ in range(times):
            shipper.ship([record])
    except NotTaken as error:
        return error.reason
    else:
        return None
    finally:
        shipper.close()


def lines(there: RunningProxy) -> list[str]:
    """The request lines that a proxy got."""
    return [request["line"] for request in there.requests()]


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_http_is_forwarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The whole URL goes to the proxy, which alone knows the receiver's name."""
    with receiver(tmp_path) as there, proxy(tmp_path, {"logs.example": there.port}) as between:
        monkeypatch.setenv(variable, between.url)
        assert ship("http://logs.example/in?a=b") is None
        assert lines(between) == ["POST http://logs.example/in?a=b HTTP/1.1"]
        (request,) = there.requests()
    headers = dict(request["headers"])
    assert (request["target"], headers["host"]) == ("/in?a=b", "logs.example")
    assert headers["user-agent"].startswith("netlog/")


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_https_is_a_tunnel(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: tuple[Path, Path],
    variable: str,
) -> None:
    """TLS up to the receiver, whose name is verified; the proxy sees neither path nor header."""
    hosts = ("logs.example", "other.example")
    with receiver(tmp_path, tls=named) as there:
        with proxy(tmp_path, {f"{host}:443": there.port for host in hosts}) as between:
            monkeypatch.setenv(variable, between.url.removeprefix("http://"))
            options: dict[str, Any] = {"ca_file": str(named[0]), "headers": {"X-Key": "hidden"}}
            assert ship("https://logs.example/in", 3, **options) is None
            reason = ship("https://other.example/in", **options)
            assert ship("https://logs.example/in") is not None
            requests = between.requests()
        assert len(there.requests()) == 3
        assert len({request["peer"] for request in there.requests()}) == 1
    assert "the certificate is not trusted: Hostname mismatch" in str(reason)
    assert [request["line"].rpartition(" ")[0] for request in requests] == [
        f"CONNECT {host}:443" for host in (*hosts, hosts[0])
    ]
    assert not any("x-key" in request["headers"] for request in requests)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_gets_its_password_and_nobody_else_does(
    tmp_path: Path, named: tuple[Path, Path], scheme: str
) -> None:
    """A proxy that asks is answered; one that refuses and repeats it brings it into no error."""
    tls = named if scheme == "https" else None
    encoded = base64.b64encode(USER.encode()).decode()
    place = "logs.example:443" if tls else "logs.example"
    url, ca_file = f"{scheme}://logs.example/", str(named[0])
    with (
        receiver(tmp_path, tls=tls) as there,
        proxy(tmp_path, {place: there.port}, USER) as between,
    ):
        with_user = between.url.replace("://", f"://{QUOTED}@")
        assert ship(url, ca_file=ca_file, proxy=with_user) is None
        (request,) = there.requests()
        assert not any("proxy" in name for name, _ in request["headers"])
        for wrong in (with_user.replace("s3cret", "s3crets"), between.url):
            reason = str(ship(url, ca_file=ca_file, proxy=wrong))
            assert "407 Proxy Authentication Required" in reason
            assert not any(word in reason for word in ("s3cret", encoded[:20]))
        assert len(there.requests()) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("die", "the connection ended without an answer"),
        ("cut", "onnection"),
        ("HTTP/1.1 403 Not for \x1b[2J you\r\nContent-Length: 0\r\n\r\n", "403 Forbidden"),
        ("HTTP/1.1 200 Conn", "the connection ended within the answer"),
        ("HTTP/1.1 200 OK\r\nX", "the connection ended within the answer"),
        ("SSH-2.0-whatever\r\n", "the answer is not HTTP"),
    ],
    ids=["dies", "cuts", "refuses", "half a line", "half a header", "is none"],
)
def test_a_proxy_that_fails_is_named(
    tmp_path: Path, named: tuple[Path, Path], scheme: str, act: str, words: str
) -> None:
    """It costs an attempt: the same shipper works when the proxy does."""
    tls = named if scheme == "https" else None
    place = "logs.example:443" if tls else "logs.example"
    url, ca_file = f"{scheme}://logs.example/", str(named[0])
    with receiver(tmp_path, tls=tls) as there, contextlib.ExitStack() as stack:
        between = stack.enter_context(proxy(tmp_path, {place: there.port}, script=[act]))
        reason = str(ship(url, ca_file=ca_file, proxy=between.url))
        assert ship(url, ca_file=ca_file, proxy=between.url) is None
        name = f"{scheme}://logs.example through the proxy {between.url}: "
    assert words in reason
    assert "\x1b" not in reason
    if act[:12] != "HTTP/1.1 403" or tls:
        assert reason.startswith(name)


def test_a_proxy_that_is_away_or_leads_nowhere(tmp_path: Path) -> None:
    """Nothing goes past it."""
    with receiver(tmp_path) as there, proxy(tmp_path, {}) as between:
        url = f"http://127.0.0.1:{there.port}/"
        assert "Connection refused" in str(ship(url, proxy="http://127.0.0.1:1"))
        assert "502 Bad Gateway" in str(ship(url, proxy=between.url))
        assert "502 Bad Gateway" in str(ship(url.replace("http:", "https:"), proxy=between.url))
        assert there.requests() == []


def test_the_environment_can_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """False: none; this machine needs none; HTTP_PROXY is not taken."""
    with receiver(tmp_path) as there:
        for url, variable, options in (
            (f"http://127.0.0.1:{there.port}/", "http_proxy", {}),
            (f"http://localhost:{there.port}/", "all_proxy", {}),
            (f"http://127.0.0.1:{there.port}/", "http_proxy", {"proxy": False}),
            ("http://192.0.2.1/", "HTTP_PROXY", None),
        ):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")
            if options is not None:
                assert ship(url, **options) is None
            monkeypatch.delenv(variable)
        assert environment_proxy("http", "a", 80, {"HTTP_PROXY": "http://p"}) is None


@pytest.mark.parametrize(
    ("excepted", "host", "proxied"),
    [
        ("", "a.example", True),
        ("*", "a.example", False),
        ("a.example", "a.example", False),
        ("a.example", "A.Example.", False),
        ("example", "a.example", False),
        (".example", "a.example", False),
        ("*.example", "a.example", False),
        ("ample", "a.example", True),
        ("b.example, c.example", "c.example", False),
        ("b.example c.example", "c.example", False),
        ("a.example:80", "a.example", True),
        ("a.example:443", "a.example", False),
        ("192.0.2.1", "192.0.2.1", False),
        ("192.0.2.0/24", "192.0.2.1", False),
        ("192.0.3.0/24", "192.0.2.1", True),
        ("2", "192.0.2.1", True),
        ("2001:db8::/32", "[2001:db8::1]", False),
        ("[2001:db8::1]", "[2001:db8::1]", False),
        ("[2001:db8::1]:443", "[2001:db8::1]", False),
        ("[2001:db8::1]:80", "[2001:db8::1]", True),
        ("192.0.2.0/24", "a.example", True),
        ("///,,:,[", "a.example", True),
    ],
)
def test_no_proxy(excepted: str, host: str, proxied: bool) -> None:  # noqa: FBT001 - pytest
    """Domains with what is below them, addresses, prefixes, with a port or without."""
    for name in ("no_proxy", "NO_PROXY"):
        variables = {"https_proxy": "http://proxy:3128", name: excepted}
        assert (environment_proxy("https", host, 443, variables) is not None) == proxied


def test_lower_case_comes_first_and_empty_means_none() -> None:
    """As with curl."""
    variables = {"https_proxy": "", "HTTPS_PROXY": "http://p:1", "all_proxy": "http://q:2"}
    assert environment_proxy("https", "a.example", 443, variables) is None
    variables["https_proxy"] = "http://r:3"
    assert str(environment_proxy("https", "a.example", 443, variables)) == "http://r:3"
    assert str(environment_proxy("http", "a.example", 80, variables)) == "http://q:2"


@pytest.mark.parametrize(
    "text",
    ["", "https://hidden", "socks5://u:hidden@h", "http://h:hidden", "http://h/hidden", "http://[h",
     "http://h:0", "http://h?hidden", "h h", "http://u:hidden@", "http://h\xe9:1"],
)  # fmt: skip
def test_a_wrong_proxy_is_refused_and_not_repeated(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its URL can have a password in it; the variable is named."""
    with pytest.raises(ValueError, match="expected a") as caught:
        parse_proxy(text)
    assert "hidden" not in str(caught.value)
    if text:
        monkeypatch.setenv("HTTPS_PROXY", text)
        with pytest.raises(ValueError, match=r"^proxy: the environment's HTTPS_PROXY: ") as caught:
            HttpJsonShipper("https://logs.example/")
        assert "hidden" not in str(caught.value)


def test_a_proxy_is_shown_without_its_password() -> None:
    """In a log and in a repr."""
    found = parse_proxy("http://u:hidden@[2001:db8::1]:3128/")
    assert str(found) == "http://[2001:db8::1]:3128"
    assert "hidden" not in repr(found)
    shipper = HttpJsonShipper("http://h/", proxy="http://u:hidden@p")
    assert "hidden" not in repr(shipper)
    shipper.close()
