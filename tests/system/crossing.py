"""Traffic that crosses two gateways of `tests.support.gateways`."""

import os
import socket
import threading

from tests.support.gateways import Gateway

UDP_SEGMENT = 103  # linux/udp.h


def exchange(a: Gateway, b: Gateway, address: str, rounds: int, payload_bytes: int) -> None:
    """Send `rounds` datagrams from a's side to b's `address`; each is answered."""
    source = a.overlay6 if ":" in address else a.overlay4
    with a.udp(source) as asker, b.udp(address) as answerer:
        for number in range(rounds):
            payload = number.to_bytes(4, "big") + bytes(payload_bytes - 4)
            asker.sendto(payload, answerer.getsockname())
            received, remote = answerer.recvfrom(65535)
            assert received == payload
            answerer.sendto(received, remote)
            assert asker.recv(65535) == payload


def stream(a: Gateway, b: Gateway, address: str, total_bytes: int) -> None:
    """Send bytes over TCP from a's side to b's, and end it in order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with b.namespace.entered():
        listener = socket.create_server((address, 0), family=family)
    with listener, a.namespace.entered(), socket.socket(family) as sender:
        sender.settimeout(20)
        sender.connect(listener.getsockname()[:2])
        receiver, _ = listener.accept()
        thread = threading.Thread(target=sender.sendall, args=(bytes(total_bytes),))
        thread.start()
        with receiver:
            receiver.settimeout(20)
            left = total_bytes
            while left:
                left -= len(receiver.recv(1 << 16))
            thread.join()


def burst(a: Gateway, b: Gateway, address: str, *, datagrams: int, size: int) -> None:
    """Send datagrams as one, and receive each."""
    payload = os.urandom(datagrams * size - 3)
    source = a.overlay6 if ":" in address else a.overlay4
    with a.udp(source) as sender, b.udp(address) as receiver:
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        assert sender.sendto(payload, receiver.getsockname()) == len(payload)
        got = [receiver.recv(65535) for _ in range(datagrams)]
    assert got == [payload[at : at + size] for at in range(0, len(payload), size)]


def everything(a: Gateway, b: Gateway) -> None:
    """Let TCP and UDP cross both ways, over IPv4 and IPv6."""
    for left, right in ((a, b), (b, a)):
        for address in (right.overlay4, right.overlay6):
            stream(left, right, address, total_bytes=3_000_000)
            burst(left, right, address, datagrams=40, size=1200)
            exchange(left, right, address, rounds=5, payload_bytes=100)


def fit_into_lan0(*sides: Gateway) -> None:
    """Let a packet and what is around it be one datagram, and not fragments."""
    for side in sides:
        side.namespace.ip("link set tun0 mtu 1420")
