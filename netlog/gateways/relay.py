"""A gateway: TUN, socket, relay and logger of one node, put together as a configuration says.

The relay does not encrypt: whoever sees the underlay sees the overlay's packets.
"""

import contextlib
import errno
import ipaddress
import logging
from dataclasses import dataclass

from netlog._closing import Closing
from netlog.config.node_file import NodeFile
from netlog.config.relay import RelayConfig
from netlog.config.values import Prefix
from netlog.devices.device import Device
from netlog.devices.sock import SockDevice
from netlog.devices.tun import TunDevice
from netlog.errors import DeviceError, NetlogError, StateError
from netlog.gateways.kept_meter import open_kept_meter
from netlog.gateways.settings import peers_of, router_of
from netlog.logger.logger import Logger, LoggerCounters
from netlog.meter.meter import Meter
from netlog.netlink.links import LinkCounters, Links
from netlog.relay.relay import Relay, RelayCounters
from netlog.sinks import Sink

__all__ = ["Gateway", "GatewayCounters"]

_log = logging.getLogger("netlog")

SPARE_LANES = 6
"""For whoever uses the devices from Python, beside those of the relay's threads."""

RELAY_STOP_S = 5.0
"""The relay stops within 0.1 s; on a machine that is starved, it may take so long."""


@dataclass(frozen=True, slots=True)
class GatewayCounters:
    """What a gateway has done so far."""

    relay: RelayCounters
    logger: LoggerCounters


class Gateway(Closing):
    """One node, from `start` to `close`.

    Args:
        config: the node. If its meter lies in a file, what is there already is emitted first.
        sink: where its messages go; it stays the caller's to close, after `close`.

    Thread safety: `start`, `link_counters` and `close` belong to one thread, in the network
        namespace of the gateway; `stop` and `counters` may be called from any.
    """

    def __init__(self, config: RelayConfig, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._stack = contextlib.ExitStack()
        self._nodes = None if config.nodes is None else NodeFile(config.nodes.file)
        self._logger = Logger()
        self._relay: Relay | None = None
        self._socks: list[SockDevice] = []
        self._offloads: frozenset[str] = frozenset()
        self._links: Links | None = None

    def start(self) -> None:
        """Make the interface with its addresses and routes, bind the socket, meter and relay.

        Either all of it runs, or nothing of it is left.

        Raises:
            DeviceError: a right is missing, a name or port is in use, or a peer's endpoint would be
                reached through the tunnel itself.
            StateError: it was started before.
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
            # Metering begins before the first packet can cross, so that nothing goes uncounted.
            self._start_logger(self._logger, tuns[0], socks[0])
            self._relay, self._links = relay, links
            self._socks, self._offloads = socks, _offloads_of(socks)
            relay.start()
            self._stack = stack.pop_all()

    def _open_queues(
        self, stack: contextlib.ExitStack, meter: Meter
    ) -> tuple[list[TunDevice], list[SockDevice]]:
        """As many of either kind as are wanted, or as the kernel gives of both."""
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
        # A queue that nobody reads must not be there: the kernel would hand it its share.
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
        """End the relay, then emit the last period. The devices stay, to be looked at.

        Args:
            timeout_s: how long to wait for the sink; None: as long as it takes.

        Raises:
            TimeoutError: the sink did not take the last messages in time.
        """
        if self._relay is not None:
            self._relay.stop(RELAY_STOP_S)
        self._logger.shutdown(timeout_s)

    def close(self) -> None:
        """Stop, and give up the devices; the interface goes with its descriptor."""
        self._stack.close()

    def look(self) -> None:
        """Say what the kernel has failed since the last look, and what is done without."""
        if not self._socks or self._socks[0].closed:
            return
        offloads = _offloads_of(self._socks)
        for name in sorted(self._offloads - offloads):
            _log.info("udp: the kernel failed UDP_%s: not tried again", name.upper())
        self._offloads = offloads

    @property
    def error(self) -> NetlogError | None:
        """Why the relay ended by itself, as when somebody removed the interface; or None."""
        return None if self._relay is None else self._relay.error

    def counters(self) -> GatewayCounters:
        """What relay and logger have done so far.

        Raises:
            StateError: the gateway was never started.
        """
        if self._relay is None:
            raise StateError("gateway: not started")
        return GatewayCounters(self._relay.counters(), self._logger.counters())

    def link_counters(self) -> LinkCounters:
        """The kernel's own counters of the TUN.

        Raises:
            DeviceError: the interface is gone.
            StateError: the gateway is not open.
        """
        if self._links is None:
            raise StateError("gateway: not started")
        return self._links.counters(self._config.tun.name)

    def _route(self, links: Links, name: str) -> None:
        """Bring the interface up and lead the peers' allowed IPs into it."""
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
                    "the tunnel would carry its own datagrams; this endpoint needs a route of its "
                    "own outside of it",
                    f"peer {peer.endpoint}",
                )
        links.await_addresses(tun.addresses)


def _offloads_of(socks: list[SockDevice]) -> frozenset[str]:
    """What all of them have: one that the kernel has failed counts as failed for all."""
    return frozenset.intersection(*(sock.offloads for sock in socks))


def _parts(prefix: Prefix, *, default: bool) -> list[str]:
    """The routes that lead an allowed IP into the tunnel.

    All addresses are routed as two halves, and only when asked for: so the host's own default route
    stays as it is, and is in force again when the interface goes.
    """
    if not prefix.is_default:
        return [prefix]
    return [str(half) for half in ipaddress.ip_network(prefix).subnets()] if default else []
