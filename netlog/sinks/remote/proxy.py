"""Which proxy leads to a receiver. Needs no urllib3: configurations are checked by it too.

Source: curl's manual, section ENVIRONMENT; the `httpoxy` advisories for HTTP_PROXY.
"""

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

__all__ = ["EXAMPLE", "Proxy", "environment_proxy", "is_this_machine", "parse_proxy"]

EXAMPLE = "http://proxy.example.com:3128"
DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: its name or address, without brackets.
        port: its TCP port.
        user, password: what it asks for; both empty: nothing.
    """

    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization; "": none is sent."""
        if not self.user and not self.password:
            return ""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


def parse_proxy(text: str) -> Proxy:
    """Read the URL of a proxy. Without a scheme, it is http.

    Raises:
        ValueError: it is invalid, or not http. The text does not contain it.

    Thread safety: any thread.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"expected a URL such as {EXAMPLE}")
    if parts.scheme != "http":
        raise ValueError(f"expected a proxy with http, such as {EXAMPLE}, not {parts.scheme}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"expected a URL without a path, such as {EXAMPLE}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(host, port or DEFAULT_PORT, user, password)


def environment_proxy(
    scheme: str, host: str, port: int, environment: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy that the environment names for a receiver; None: none.

    Args:
        scheme: of the receiver's URL. `https_proxy`, `http_proxy` and then `all_proxy` are looked
            at, in lower case first. HTTP_PROXY is not, as by curl: a web server that runs a program
            can take it from a request.
        host: of the receiver, which `no_proxy` may except. This machine itself needs no proxy.
        port: of the receiver.
        environment: the variables; None: those of the process.

    Raises:
        ValueError: the proxy's URL is invalid. The text names the variable and has no value.

    Thread safety: any thread.
    """
    variables = os.environ if environment is None else environment
    names = [f"{scheme}_proxy", "all_proxy"]
    names = [each for name in names for each in (name, name.upper()) if each != "HTTP_PROXY"]
    name = next((each for each in names if each in variables), None)
    if name is None or not variables[name].strip() or is_this_machine(host):
        return None
    excepted = variables.get("no_proxy", variables.get("NO_PROXY", ""))
    if any(_covers(entry, host, port) for entry in re.split(r"[,\s]+", excepted)):
        return None
    try:
        return parse_proxy(variables[name].strip())
    except ValueError as error:
        raise ValueError(f"the environment's {name}: {error}") from None


def is_this_machine(host: str) -> bool:
    """Whether a host of a URL is this machine itself. Thread safety: any thread."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of no_proxy is about a host: `*`, a domain, an address or a prefix."""
    if entry == "*":
        return True
    host = host.strip("[]").rstrip(".").lower()
    if match := re.fullmatch(r"(\[.*\]|[^:]*):([0-9]+)", entry):
        entry = match[1]
        if int(match[2]) != port:
            return False
    try:
        prefix = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        domain = entry.removeprefix("*").strip(".").lower()
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return ipaddress.ip_address(host) in prefix
    except ValueError:
        return False
