"""The status of an OpenVPN server: its clients, their endpoints, and what is reached through each.

Source: multi_print_status() and mroute_addr_print_ex() of OpenVPN, and files of OpenVPN 2.6.14.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from netlog.model.addresses import MAX_PORT, IPAddress, join_endpoint, parse_address
from netlog.model.routes import Network
from netlog.sources.openvpn.tables import CLIENTS, NAME, USER, Row, TableLine, read_tables

__all__ = ["Client", "Routed", "Status", "parse_status", "read_endpoint"]

UNKNOWN = "UNDEF"
"""Stands for an unknown name: a client that is not connected yet, or one without a user name."""
MAX_KEPT = 65536
"""Size of the caches of parsed addresses: one status after the other has the same addresses."""

_REAL, _VIRTUAL, _VIRTUAL_6 = "Real Address", "Virtual Address", "Virtual IPv6 Address"
_ID = "Client ID"
_NUMBERS = (
    "Bytes Received",
    "Bytes Sent",
    "Connected Since (time_t)",
    "Last Ref (time_t)",
    _ID,
    "Peer ID",
)
_NUMBER = re.compile("-?[0-9]{1,20}|")  # some builds leave the ids empty
_PROTOCOL = re.compile("(?:udp|tcp)[a-z0-9-]*:")
_PORT = re.compile("[0-9]{1,5}")
_MAC = re.compile("[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?:@[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """A connected client.

    Attributes:
        name: its common name; bytes that are not UTF-8 become lone surrogates.
        real: its underlay address, as the status has it.
        endpoint: the same as "a.b.c.d:port" or "[v6]:port"; port 0: the status does not have it.
        addresses: overlay addresses that the server gave it; version 1 does not have them.
        user: its user name, or "".
        number: of its connection, counted from the start of the server; -1: not in the status.
    """

    name: str
    real: str
    endpoint: str
    addresses: tuple[IPAddress, ...] = ()
    user: str = ""
    number: int = -1


@dataclass(frozen=True, slots=True)
class Routed:
    """What is reached through a client.

    Attributes:
        network: an address or a network.
        name, real: of the client, as in `Client`.
        own: whether it is an address of the client itself, not of a network behind it.
    """

    network: Network
    name: str
    real: str
    own: bool


@dataclass(frozen=True, slots=True)
class Status:
    """Both tables, in the order of the status."""

    clients: tuple[Client, ...] = ()
    routes: tuple[Routed, ...] = ()


def parse_status(status: bytes) -> Status:
    """Parse the status of a server.

    Args:
        status: the whole text, from its title to END; of version 1, 2 or 3.

    Returns:
        The connected clients, and what is reached through them. Left out are:

        - lines that can be read in several ways, because of the names that a client chose;
        - MAC addresses;
        - addresses in a network behind a client that the server only keeps in its cache.

    Raises:
        ValueError: the text is not a server's status, or is incomplete; the error contains nothing
            of it.

    Thread safety: any thread.
    """
    clients: list[Client] = []
    routes: list[Routed] = []
    for line in read_tables(status):
        found = _meant(line)
        if isinstance(found, Client):
            clients.append(found)
        elif isinstance(found, Routed):
            routes.append(found)
    return Status(tuple(clients), tuple(routes))


def _meant(line: TableLine) -> Client | Routed | None:
    """Return what a line says; None: nothing of use, or it can be read in several ways."""
    meanings: list[Client | Routed | None] = []
    wrong = ""
    for row in line.ways:
        try:
            meanings.append(_client(row) if line.table == CLIENTS else _routed(row))
        except KeyError as error:
            wrong = f"no column {error}"
        except ValueError as error:
            wrong = str(error)
    if line.ways and not meanings:
        # Not chained: the text of the cause contains the value.
        raise ValueError(f"line {line.number}: {line.table}: {wrong}") from None
    return meanings[0] if len(meanings) == 1 else None


def _client(row: Row) -> Client | None:
    name, real = row[NAME], row[_REAL]
    if name == UNKNOWN:
        return None
    _check_numbers(row)
    endpoint = read_endpoint(real)
    texts = row.get(_VIRTUAL, ""), row.get(_VIRTUAL_6, "")
    addresses = tuple(_address(text, _VIRTUAL) for text in texts if text)
    user = row.get(USER, UNKNOWN)
    number = int(row.get(_ID) or -1)
    return Client(name, real, endpoint, addresses, "" if user == UNKNOWN else user, number)


def _routed(row: Row) -> Routed | None:
    text, name, real = row[_VIRTUAL], row[NAME], row[_REAL]
    if name == UNKNOWN:
        return None
    _check_numbers(row)
    read_endpoint(real)
    # OpenVPN writes a client's own address without a prefix length, and a single address behind a
    # client with its /32.
    network = _network(text)
    return None if network is None else Routed(network, name, real, own="/" not in text)


@lru_cache(maxsize=MAX_KEPT)
def _network(text: str) -> Network | None:
    """Return what is reached; None: a MAC address or a cache entry."""
    if _MAC.fullmatch(text):
        return None
    # "C" marks a cache entry: an address in a network behind a client that a packet went to. The
    # network has a line of its own, and cache entries come and go with the traffic.
    cached = text.endswith("C")
    host, slash, bits = text.removesuffix("C").partition("/")
    address = _address(host, _VIRTUAL)
    if slash and not (_PORT.fullmatch(bits) and int(bits) <= address.max_prefixlen):
        raise ValueError(f"{_VIRTUAL}: expected an address or a prefix")
    length = int(bits) if slash else address.max_prefixlen
    return None if cached else ipaddress.ip_network((address, length), strict=False)


def _check_numbers(row: Row) -> None:
    for name in _NUMBERS:
        if not _NUMBER.fullmatch(row.get(name, "")):
            raise ValueError(f"{name}: expected a number")


@lru_cache(maxsize=MAX_KEPT)
def _address(text: str, column: str) -> IPAddress:
    try:
        return parse_address(text.partition("%")[0])
    except ValueError:
        raise ValueError(f"{column}: expected an address") from None


@lru_cache(maxsize=MAX_KEPT)
def read_endpoint(text: str) -> str:
    """Parse an underlay address as OpenVPN writes it.

    Args:
        text: "192.0.2.1:1194", "2001:db8::1", "[2001:db8::1]:1194", or one of these after the
            protocol, as in "tcp4-server:192.0.2.1:1194".

    Returns:
        "a.b.c.d:port" or "[v6]:port". OpenVPN before 2.7 does not write the port of an IPv6
        address: it is 0.

    Raises:
        ValueError: the text is not an address; the error does not contain it.
    """
    told = text
    if (protocol := _PROTOCOL.match(told)) is not None:
        told = told[protocol.end() :]
    host, colon, port = told, "", ""
    if told.startswith("[") or told.count(":") == 1:
        host, colon, port = told.rpartition(":")
    if colon and (not _PORT.fullmatch(port) or int(port) > MAX_PORT):
        raise ValueError(f"{_REAL}: expected a port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return join_endpoint(str(_address(host, _REAL)), int(port or 0))
