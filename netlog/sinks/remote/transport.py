"""POST over HTTP on one kept connection, with verified TLS and a limit on every wait.

This module needs urllib3. Import it only where something is to be sent.
"""

import http.client
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

from netlog.errors import MissingExtraError

try:
    import urllib3
    from urllib3 import exceptions as failures
    from urllib3.util import SKIP_HEADER, parse_url
except ImportError as error:  # pragma: no cover - the tests need urllib3
    raise MissingExtraError("a sink over HTTP", "http") from error

from netlog.sinks.remote.lifeline import Lifeline, connection_class
from netlog.sinks.remote.proxy import Proxy, environment_proxy, parse_proxy
from netlog.sinks.remote.whole_response import CutResponse
from netlog.sinks.shipper import NotTaken

__all__ = ["Answer", "ProxyChoice", "Timeouts", "Transport", "path_of"]

ProxyChoice = str | Literal[False] | None
"""The URL of a proxy; False: none; None: that of the environment."""
DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_TEXT_BYTES = 1024
"""How much of the other side's error text is kept. Source: Tailscale's logtail."""
MAX_CLEANED_BYTES = 64 * MAX_TEXT_BYTES
"""How much of it is searched for secrets, of which what is kept is the beginning."""
MAX_ANSWER_BYTES = 1024 * 1024
"""How much of an answer is read. After a longer answer the connection cannot be used again."""
REFUSALS = (400, 413, 422)
"""Status codes which say that the request's content is at fault."""
MIN_SECRET_CHARS = 6
"""Shorter secrets are not removed from answers: such words occur in any text."""
UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until an attempt fails.

    Attributes:
        connect_s: for one address to answer.
        read_s: between two pieces of the answer.
        total_s: for the whole attempt, even if the answer arrives byte by byte. Source: Tailscale's
            logtail.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 45.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The other side's answer.

    Attributes:
        status: HTTP status code.
        text: the beginning of the body: printable ASCII, without secrets.
        retry_after_s: the wait that it asked for, in seconds; None: it asked for none, or for
            something that cannot be parsed.
    """

    status: int
    text: str
    retry_after_s: float | None

    def not_taken(self) -> NotTaken:
        """Return the answer as a failure."""
        phrase = http.client.responses.get(self.status, "")
        reason = f"{self.status} {phrase}".strip() + (f": {self.text}" if self.text else "")
        return NotTaken(reason, self.retry_after_s, refused=self.status in REFUSALS)


class Transport:
    """Sends bodies to one host. Follows no redirect.

    Through a proxy, https is a tunnel (CONNECT) with TLS up to the receiver; http is forwarded.

    Args:
        url: of the host, with `http` or `https`; its path and query are the caller's business.
        ca_file: PEM certificates to trust instead of the system's.
        timeouts: for each attempt.
        secrets: words that must not appear in an error.
        proxy: the URL of a proxy, which may contain a user and a password; False: none; None: that
            of the environment.

    Raises:
        ValueError: the URL, or that of the proxy, is invalid. The text does not contain it.
        OSError: `ca_file` cannot be read, or contains no certificate.

    Thread safety: one thread; `interrupt` from any.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        secrets: Iterable[str] = (),
        proxy: ProxyChoice = None,
    ) -> None:
        scheme, host, port = _split(url)
        self.name = f"{scheme}://{host}" + (f":{port}" if port else "")
        through = _proxy_for(scheme, host, port, proxy)
        self._to = f"{self.name} through the proxy {through}" if through else self.name
        # A proxy that forwards is told the whole URL; one that tunnels is told the host.
        self._base = self.name if through and scheme == "http" else ""
        self._timeouts = timeouts or Timeouts()
        if through:
            secrets = [*secrets, through.password, through.authorization.removeprefix("Basic ")]
        words = [word for word in secrets if len(word) >= MIN_SECRET_CHARS]
        self._secrets = [*words, *(quote(word, safe="") for word in words)]
        self._lifeline = Lifeline()
        timeout = urllib3.Timeout(connect=self._timeouts.connect_s, read=self._timeouts.read_s)
        options: dict[str, Any] = {"timeout": timeout, "maxsize": 1, "retries": False}
        if scheme == "https":
            options["ssl_context"] = ssl.create_default_context(cafile=ca_file)
        if through:
            known = {"Proxy-Authorization": through.authorization} if through.authorization else {}
            manager: urllib3.PoolManager = urllib3.ProxyManager(
                str(through), proxy_headers=known, **options
            )
        else:
            manager = urllib3.PoolManager(**options)
        pool = manager.connection_from_host(host, port, scheme)
        pool.ConnectionCls = connection_class(scheme, self._lifeline)
        self._pool = pool

    def __repr__(self) -> str:
        return f"<Transport {self.name}>"

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a body.

        Args:
            target: path and query.
            body: of the request.
            headers: of the request. A User-Agent is sent only if it is among them.

        Returns:
            The answer, whatever its status.

        Raises:
            NotTaken: no answer came. The other side may have the body nevertheless.
        """
        kept = self._lifeline.used
        try:
            return self._post(target, body, headers)
        except (failures.ProtocolError, OSError) as error:
            # The other side may have just closed the kept connection: try once on a new one.
            if not kept or self._lifeline.cut:
                raise self._failure(error) from None
        except failures.HTTPError as error:
            raise self._failure(error) from None
        try:
            return self._post(target, body, headers)
        except (failures.HTTPError, OSError) as error:
            raise self._failure(error) from None

    def interrupt(self) -> None:
        """Make the running attempt fail."""
        self._lifeline.cut_now()

    def close(self) -> None:
        """Close the connection. Closing twice is fine."""
        self._pool.close()

    def _post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        sent = {"User-Agent": SKIP_HEADER, **headers}
        self._lifeline.begin()
        timer = threading.Timer(self._timeouts.total_s, self._lifeline.cut_now)
        timer.daemon = True
        timer.start()
        try:
            response = self._pool.urlopen(
                "POST",
                self._base + target,
                body,
                sent,
                redirect=False,
                assert_same_host=not self._base,
                preload_content=False,
                decode_content=False,
            )
            try:
                data = response.read(MAX_ANSWER_BYTES, decode_content=False)
                rest = response.read(1, decode_content=False)
            except ValueError:
                # http.client reads as many bytes as a chunk says that it has, also if they are
                # negative.
                raise failures.ProtocolError from None
            if self._lifeline.cut or rest:
                response.close()
            response.release_conn()
            if self._lifeline.cut:
                # The body of an answer can be all that comes until the connection ends.
                raise failures.ProtocolError
        finally:
            timer.cancel()
            self._lifeline.end()
        retry_after_s = _seconds(response.headers.get("Retry-After"))
        return Answer(response.status, self._clean(data), retry_after_s)

    def _clean(self, data: bytes) -> str:
        """Return the beginning of a text, safe for a log."""
        text = data[:MAX_CLEANED_BYTES].decode("utf-8", "replace")
        for word in self._secrets:
            text = re.sub(re.escape(word), "(secret)", text, flags=re.IGNORECASE)
        escaped = UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text.strip())
        return escaped[:MAX_TEXT_BYTES]

    def _failure(self, error: Exception) -> NotTaken:
        """Return a failure that says what happened. The error's own text may contain the URL."""
        if self._lifeline.cut:
            return NotTaken(f"{self._to}: no complete answer in time")
        return NotTaken(f"{self._to}: {_describe(error)}")


def _proxy_for(scheme: str, host: str, port: int | None, choice: ProxyChoice) -> Proxy | None:
    try:
        if choice is None:
            return environment_proxy(scheme, host, port or DEFAULT_PORTS[scheme])
        return parse_proxy(choice) if choice else None
    except ValueError as error:
        raise ValueError(f"proxy: {error}") from None


def _split(url: str) -> tuple[str, str, int | None]:
    try:
        parts = parse_url(url)
    except failures.LocationParseError:
        raise ValueError("url: expected a URL such as https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError("url: expected a URL such as https://host/path")
    if parts.auth:
        raise ValueError("url: must not contain a user or a password")
    return parts.scheme, parts.host, parts.port


def path_of(url: str) -> str:
    """Return the path and query of a URL.

    Raises:
        ValueError: the URL is invalid. The text does not contain it.
    """
    _split(url)
    parts = parse_url(url)
    if parts.fragment is not None:
        raise ValueError("url: must not contain a #fragment")
    return parts.request_uri


def _seconds(retry_after: str | None) -> float | None:
    """Parse a Retry-After: a number of seconds, or a date (RFC 9110 section 10.2.3)."""
    if not retry_after:
        return None
    # float() does not strip all that strip() does.
    if (digits := retry_after.strip()).isdecimal():
        # float() turns a number with too many digits into infinity, which is not a wait.
        seconds = float(digits)
        return seconds if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, moment - time.time())


def _describe(error: BaseException) -> str:
    """Say what failed, in words that contain nothing of the request."""
    seen: BaseException | None = error
    while seen is not None:
        for kind, words in WORDS:
            if isinstance(seen, kind) and (text := words(seen)):
                return text
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
    if isinstance(error, failures.ProtocolError):
        return NOT_HTTP
    return type(error).__name__


def _refused_tunnel(text: str) -> str | None:
    """What http.client says of a proxy's answer to CONNECT, without the proxy's own words."""
    if (match := re.match(r"Tunnel connection failed: ([0-9]{3})\b", text)) is None:
        return None
    phrase = http.client.responses.get(int(match[1]), "")
    return f"the proxy answered {match[1]} {phrase}".rstrip()


CUT, NOT_HTTP = "the connection ended within the answer", "the answer is not HTTP"
WORDS: tuple[tuple[type[BaseException], Callable[[Any], str | None]], ...] = (
    (http.client.RemoteDisconnected, lambda _: "the connection ended without an answer"),
    (CutResponse, lambda _: CUT),
    (http.client.IncompleteRead, lambda _: CUT),
    (ssl.SSLEOFError, lambda _: "TLS: the connection was cut"),
    (http.client.HTTPException, lambda _: NOT_HTTP),
    (
        ssl.SSLCertVerificationError,
        lambda error: f"TLS: the certificate is not trusted: {error.verify_message}",
    ),
    (ssl.SSLError, lambda error: f"TLS: {error.reason or 'failed'}"),
    (socket.gaierror, lambda error: f"cannot resolve the host name: {error.strerror}"),
    (
        # urllib3 also raises this kind for a refused connection; then the cause is more exact.
        failures.TimeoutError,
        lambda error: (
            None if isinstance(error, failures.NewConnectionError) else "no answer in time"
        ),
    ),
    (TimeoutError, lambda _: "no answer in time"),
    (OSError, lambda error: error.strerror or _refused_tunnel(str(error))),
)
"""The text for each kind of error, the most specific kind first; None: look at the cause."""
