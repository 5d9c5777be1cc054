# Types of csrc/python/writer.c. `update_tx` and `update_rx` have their docstrings here as well, for
# the reference.
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

# What supports the buffer protocol. The standard library has a name for it only from Python 3.12.
BytesLike: TypeAlias = bytes | bytearray | memoryview

class LaneWriter:
    def update_tx(self, packet: BytesLike) -> None:
        """Count one IP packet that goes from this node's stack into the tunnel.

        Args:
            packet: the packet from its IP header on. If it is not IP, it counts as unattributed.

        Raises:
            TypeError: `packet` is not bytes-like.
            ValueError: it is not contiguous, or longer than 4 GiB.
            StateError: the meter is closed.
        """

    def update_rx(self, packet: BytesLike) -> None:
        """Count one IP packet that comes out of the tunnel; see `update_tx`."""

    def _count_packets(self, packets: Iterable[BytesLike], rx: bool, /) -> None: ...
    def _count_span(
        self,
        data: BytesLike | npt.NDArray[np.uint8],
        offsets: npt.ArrayLike,
        lengths: npt.ArrayLike,
        rx: bool | npt.ArrayLike,
        /,
    ) -> bool: ...
    def _count_datagrams(self, datagrams: npt.NDArray[np.void], /) -> None: ...
    def _use_lane(self, address: int, /) -> None: ...
    def _forget_lane(self) -> None: ...
