"""The gateway of a relay: it builds the TUN, socket, relay and logger of a configuration.

The relay does not encrypt: anyone who can read the underlay can read the overlay's packets.
"""

import contextlib
import errno
import ipaddress
import logging

from netlog.config.node_file import open_node_file
from netlog.config.relay import RelayConfig
from netlog.config.values import Prefix
from netlog.devices.device import Device
from netlog.devices.sock import SockDevice
from netlog.devices.tun import TunDevice
from netlog.errors import DeviceError, NetlogError, StateError
from netlog.gateways.base import AnyGateway
from netlog.gateways.counters import GatewayCounters
from netlog.gateways.kept_meter import open_kept_meter
from netlog.gateways.settings import peers_of, router_of
from netlog.logger.logger import Logger
from netlog.meter.meter import Meter
from netlog.netlink.links import LinkCounters, Links
from netlog.relay.relay import Relay
from netlog.sinks import Sink

__all__ = ["Gateway", "GatewayCounters"]

_log = logging.getLogger("netlog")

SPARE_LANES = 6
"""Lanes for Python threads that use the devices, beside the lanes of the relay's threads."""

RELAY_STOP_S = 5.0
"""The relay stops within 0.1 s, but it may take longer on an overloaded machine."""


class Gateway(AnyGateway):
    """The gateway of one node, from `start` to `close`.

    Args:
        config: the configuration. If its meter is in a file, the counts there are emitted first.
        sink: the destination of the messages. The caller closes it, after `close`.

    Thread safety: `start`, `link_counters` and `close` from one thread, in the network namespace
        of the gateway; `stop` and `counters` from any thread.
    """

    def __init__(self, config: RelayConfig, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._stack = contextlib.ExitStack()
        self._nodes = open_node_file(config.nodes)
        self._logger = Logger()
        self._relay: Relay | None = None
        self._socks: list[SockDevice] = []
        self._offloads: frozenset[str] = frozenset()
        self._links: Links | None = None

    def start(self) -> None:
        """Create the interface, its addresses and routes, bind the socket, then meter and relay.

        If any of this fails, everything is undone.

        Raises:
            DeviceError: a right is missing, a name or port is in use, or a peer's endpoint would be
                routed through the tunnel itself.
            StateError: the gateway was started before.
        """
        if self._links is not None:
            raise StateError("gateway: already started")
        with contextlib.ExitStack() as stack:
            config = self._config
            links = stack.enter_context(Links())
            meter = open_kept_meter(
                stack,
                config.meter,
                config.max_flows,
                2 * config.tun.queues + SPARE_LANES,
                lambda logger, device: self._start_logger(logger, device, device),
            )
            tuns, socks = self._open_queues(stack, meter)
            self._route(links, tuns[0].name)
            relay = Relay(tuns, socks, peers_of(config))
            stack.callback(self.stop)
            # Metering begins before the first packet can cross, so that every packet is counted.
            self._start_logger(self._logger, tuns[0], socks[0])
            self._relay, self._links = relay, links
            self._socks, self._offloads = socks, _offloads_of(socks)
            relay.start()
            self._stack = stack.pop_all()

    def _open_queues(
        self, stack: contextlib.ExitStack, meter: Meter
    ) -> tuple[list[TunDevice], list[SockDevice]]:
        """Open as many TUNs and sockets as configured, or as many pairs as the kernel allows."""
        config, listen = self._config.tun, self._config.sock.listen
        tuns = TunDevice.open_queues(
            config.name, config.queues, meter=meter, offload=config.offload
        )
        for tun in tuns:
            stack.enter_context(tun)
        socks = SockDevice.bind_group(
            listen.host, listen.port, len(tuns), meter=meter, offload=config.offload
        )
        for sock in socks:
            stack.enter_context(sock)
        # Close queues without a socket: the kernel would give them packets that nobody reads.
        for tun in tuns[len(socks) :]:
            tun.close()
        return tuns[: len(socks)], socks

    def _start_logger(self, logger: Logger, tun: Device, sock: Device) -> None:
        config = self._config
        logger.startup(
            config.node.id,
            tun=tun,
            sock=sock,
            sink=self._sink,
            nodes=self._nodes,
            poll_period_s=config.poll_period_s,
            routes=router_of(config),
            peers=peers_of(config),
            exit_traffic=config.exit_traffic,
            max_bytes=config.max_message_bytes,
        )

    def stop(self, timeout_s: float | None = None) -> None:
        """End the relay, then emit the last period. The devices stay open, to read their counters.

        Args:
            timeout_s: how long to wait for the sink; None: without limit.

        Raises:
            TimeoutError: the sink did not accept the last messages in time.
        """
        if self._relay is not None:
            self._relay.stop(RELAY_STOP_S)
        self._logger.shutdown(timeout_s)

    def close(self) -> None:
        """Stop, and close the devices. The kernel removes the interface with its descriptor."""
        self._stack.close()

    def look(self) -> None:
        """Log each offload that has failed in the kernel since the last call."""
        if not self._socks or self._socks[0].closed:
            return
        offloads = _offloads_of(self._socks)
        for name in sorted(self._offloads - offloads):
            _log.info("udp: UDP_%s failed in the kernel and is not used again", name.upper())
        self._offloads = offloads

    @property
    def error(self) -> NetlogError | None:
        """Why the relay ended on its own, for example if its interface was removed; or None."""
        return None if self._relay is None else self._relay.error

    def counters(self) -> GatewayCounters:
        """The counters of relay and logger so far.

        Raises:
            StateError: the gateway was never started.
        """
        if self._relay is None:
            raise StateError("gateway: not started")
        return GatewayCounters(self._relay.counters(), self._logger.counters())

    def link_counters(self) -> LinkCounters:
        """The kernel's own counters of the TUN.

        Raises:
            DeviceError: the interface was removed.
            StateError: the gateway is not started.
        """
        if self._links is None:
            raise StateError("gateway: not started")
        return self._links.counters(self._config.tun.name)

    def _route(self, links: Links, name: str) -> None:
        """Bring the interface up, and route the peers' allowed IPs into it."""
        tun = self._config.tun
        links.bring_up(name, mtu=tun.mtu, addresses=tun.addresses)
        for peer in self._config.peers:
            for prefix in peer.allowed_ips:
                for part in _parts(prefix, default=self._config.routes.default):
                    links.add_route(part, name)
        for peer in self._config.peers:
            if links.leads_to(peer.endpoint.host) == name:
                raise DeviceError(
                    errno.ELOOP,
                    "the tunnel would carry its own datagrams; add a route to this endpoint that "
                    "does not use the tunnel",
                    f"peer {peer.endpoint}",
                )
        links.await_addresses(tun.addresses)


def _offloads_of(socks: list[SockDevice]) -> frozenset[str]:
    """The offloads that all sockets have: one that failed at any socket counts as failed."""
    return frozenset.intersection(*(sock.offloads for sock in socks))


def _parts(prefix: Prefix, *, default: bool) -> list[str]:
    """The routes that send an allowed IP into the tunnel.

    A default prefix becomes two halves, and only if `default` is set. The host's own default route
    is not changed, and applies again as soon as the interface is removed.
    """
    if not prefix.is_default:
        return [prefix]
    return [str(half) for half in ipaddress.ip_network(prefix).subnets()] if default else []
