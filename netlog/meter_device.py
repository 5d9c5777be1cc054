"""An observation point that others feed: a meter whose packets this process does not handle."""

import numpy as np

from netlog.flows import FLOW_DTYPE, FlowArray
from netlog.meter import Meter

__all__ = ["MeterDevice"]


class MeterDevice:
    """A device for a logger that polls a meter which another process, or other code, counts into.

    Pass one as `tun`, one as `sock`, or both of the same meter.

    Args:
        meter: stays the caller's to close, after the logger has stopped.

    Thread safety: any thread.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - Device's signature
        """Do nothing: who counts decides."""

    def extract_statistics(self) -> FlowArray:
        """Nothing: a logger polls the meter itself.

        Returns:
            FLOW_DTYPE, shape (0,).
        """
        return np.zeros(0, FLOW_DTYPE)
