"""The values in a configuration: addresses, prefixes and names, as text in canonical form.

Each value is a string that was checked when it was read. `decode` is msgspec's hook for them.
"""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from netlog.sinks.remote.proxy import EXAMPLE, parse_proxy

__all__ = [
    "AbsolutePath",
    "Address",
    "EnvironmentName",
    "InterfaceAddress",
    "InterfaceName",
    "Prefix",
    "ProxyUrl",
    "Size",
    "SocketAddress",
    "Text",
    "Url",
    "decode",
]

MAX_NAME_BYTES = 15
"""IFNAMSIZ of Linux, less the zero byte at the end of the name."""
MAX_PORT = 65535
"""RFC 768: a port is 16 bits."""
SHIFTS = {None: 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
MAX_SIZE = 1 << 52
"""Larger than any disk, and far below the greatest offset in a file."""


class Address(str):
    """An IP address without a zone."""

    __slots__ = ()


class Prefix(str):
    """An IP prefix without host bits."""

    __slots__ = ()

    @property
    def is_default(self) -> bool:
        """Whether it contains every address of its family."""
        return self.endswith("/0")


class InterfaceAddress(str):
    """An IP address with a prefix length."""

    __slots__ = ()

    @property
    def host(self) -> str:
        """The address alone."""
        return self.partition("/")[0]


class SocketAddress(str):
    """`a.b.c.d:port` or `[v6]:port`."""

    __slots__ = ()

    @property
    def host(self) -> str:
        """The address without brackets and port."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The UDP port, 1..65535."""
        return int(self.rpartition(":")[2])

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if self.startswith("[") else 4


class InterfaceName(str):
    """A name that Linux accepts for a network interface."""

    __slots__ = ()


class Text(str):
    """Text that is not empty."""

    __slots__ = ()


class AbsolutePath(str):
    """An absolute path of a file."""

    __slots__ = ()


class EnvironmentName(str):
    """The name of an environment variable."""

    __slots__ = ()


class Url(str):
    """An http or https URL without credentials."""

    __slots__ = ()


class ProxyUrl(str):
    """The URL of an HTTP proxy without credentials; "", from `false`: no proxy."""

    __slots__ = ()


class Size(int):
    """A number of bytes, at least 1."""

    __slots__ = ()


def decode(kind: type, value: object) -> object:
    """Read a value of one of the types above.

    Args:
        kind: one of the types above.
        value: the value in the file. It must be a string; for `Size`, also a whole number; for
            `ProxyUrl`, also false.

    Returns:
        The value, an instance of `kind`.

    Raises:
        ValueError: the value is wrong; the text says what was expected.

    Thread safety: any thread.
    """
    if kind is Size:
        return _size(value)
    if kind is ProxyUrl and not isinstance(value, str):
        if value is not False:
            raise ValueError(f"expected false, or a URL such as {EXAMPLE}")
        return ProxyUrl()
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {value!r}")  # noqa: TRY004 - the hook's contract
    return _PARSERS[kind](value)


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"expected an IP address, such as 100.64.0.1, got {text!r}") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError(f"expected an address without a zone, got {text!r}")
    # An IPv4-mapped IPv6 address becomes an IPv4 address.
    return Address(getattr(address, "ipv4_mapped", None) or address)


def _prefix(text: str) -> Prefix:
    try:
        return Prefix(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(
            f"expected an IP prefix without host bits, such as 192.168.7.0/24, got {text!r}"
        ) from error


def _interface_address(text: str) -> InterfaceAddress:
    try:
        address = ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(
            f"expected an IP address with a prefix length, such as 100.64.0.1/32, got {text!r}"
        ) from error
    if isinstance(address, ipaddress.IPv6Interface) and address.scope_id:
        raise ValueError(f"expected an address without a zone, got {text!r}")
    return InterfaceAddress(address)


def _socket_address(text: str) -> SocketAddress:
    host, _, port = text.rpartition(":")
    try:
        bracketed = host.startswith("[") and host.endswith("]")
        address = ipaddress.IPv6Address(host[1:-1]) if bracketed else ipaddress.IPv4Address(host)
        fits = port.isascii() and port.isdecimal() and 1 <= int(port) <= MAX_PORT
    except ValueError:
        fits = False
    # An IPv4-mapped address must be written as IPv4. A zone has a meaning on one host only.
    if not fits or address.is_multicast or "%" in host or getattr(address, "ipv4_mapped", None):
        raise ValueError(f"{_why_not(host, port)}, got {text!r}")
    return SocketAddress(f"[{address}]:{int(port)}" if bracketed else f"{address}:{int(port)}")


def _why_not(host: str, port: str) -> str:
    """What was expected instead of an address and a port that cannot be used."""
    bare = host.strip("[]")
    try:
        address: object = ipaddress.ip_address(bare)
    except ValueError:
        address = None
    if "%" in bare and ":" in bare:
        return "expected an address without a zone: a zone has a meaning on one host only"
    if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", bare) and re.search("[A-Za-z]", bare):
        return "expected an IP address: names are not supported, netlog does not resolve them"
    if getattr(address, "ipv4_mapped", None):
        return f"expected an IPv4 address as such, {address.ipv4_mapped}:{port}"  # type: ignore[attr-defined]
    return "expected a unicast address and a port, such as 192.0.2.1:41641 or [2001:db8::1]:41641"


def _interface_name(text: str) -> InterfaceName:
    # As dev_valid_name() in the kernel's net/core/dev.c, but without %, which makes it a pattern.
    fits = 0 < len(text.encode()) <= MAX_NAME_BYTES and text not in {".", ".."}
    if not fits or any(c in "/:%" or c.isspace() or not c.isprintable() for c in text):
        raise ValueError(
            f"expected an interface name of 1 to {MAX_NAME_BYTES} bytes without space, '/', ':' "
            f"and '%', got {text!r}"
        )
    return InterfaceName(text)


def _text(text: str) -> Text:
    if not text.strip() or "\0" in text:
        raise ValueError(f"expected text that is not empty, got {text!r}")
    return Text(text)


def _absolute_path(text: str) -> AbsolutePath:
    if not text.startswith("/") or "\0" in text or text.endswith("/"):
        raise ValueError(f"expected the absolute path of a file, got {text!r}")
    return AbsolutePath(text)


def _environment_name(text: str) -> EnvironmentName:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", text):
        # The text is not quoted: it may be the secret that belongs into the variable.
        raise ValueError("expected the name of an environment variable, such as LOG_TOKEN")
    return EnvironmentName(text)


def _url(text: str) -> Url:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not text.isascii() or not text.isprintable() or " " in text or parts.fragment:
        raise ValueError("expected a URL such as https://logs.example.com")
    if "@" in parts.netloc:
        # The URL is not quoted, because it contains a credential.
        raise ValueError("expected a URL without user name and password; put them into a file")
    return Url(text)


def _proxy_url(text: str) -> ProxyUrl:
    proxy = parse_proxy(text)
    if proxy.authorization:
        # The URL is not quoted, because it contains a credential.
        raise ValueError("expected a URL without user and password: see proxy_credentials_file")
    return ProxyUrl(proxy)


def _size(value: object) -> Size:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,15}) ?([KMGT]i)?B", value)):
        size = int(match[1]) << SHIFTS[match[2]]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"expected a number of bytes, or text such as '64MiB', got {value!r}")
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"expected at least 1 byte and at most 4096 TiB, got {value!r}")
    return Size(size)


_PARSERS: dict[type, Callable[[str], object]] = {
    Address: _address,
    Prefix: _prefix,
    InterfaceAddress: _interface_address,
    SocketAddress: _socket_address,
    InterfaceName: _interface_name,
    Text: _text,
    AbsolutePath: _absolute_path,
    EnvironmentName: _environment_name,
    ProxyUrl: _proxy_url,
    Url: _url,
}
