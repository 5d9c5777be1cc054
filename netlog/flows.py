"""The rows that leave a meter: one connection each, with its counts in both directions."""

import numpy as np

__all__ = ["FLOW_DTYPE"]

FLOW_DTYPE = np.dtype(
    [
        ("src", "V16"),
        ("dst", "V16"),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("version", np.uint8),
        ("proto", np.uint8),
        ("flags", np.uint8),
        ("reserved", np.uint8),
        ("tx_packets", np.uint64),
        ("tx_bytes", np.uint64),
        ("rx_packets", np.uint64),
        ("rx_bytes", np.uint64),
    ]
)
"""One connection: 72 bytes, `struct netlog_flow` of csrc/flow.h.

`src` and `dst` are 16 raw bytes in network order, IPv4 in mapped form; ports are in host order.
`version` is 4 or 6, and 0 when there are no addresses. `flags` is 0 for a plain connection; its
bits say that an address is missing or of the other family (`NETLOG_NO_SRC` and its neighbours).
"""
