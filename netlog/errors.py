"""netlog's own errors. Wrong arguments raise ValueError or TypeError instead."""

__all__ = [
    "ConfigError",
    "DeviceError",
    "MeterFileError",
    "MissingExtraError",
    "NetlogError",
    "NotMeterableError",
    "StateError",
]


class NetlogError(Exception):
    """Base class of netlog's own errors; never raised itself."""


class DeviceError(NetlogError, OSError):
    """A system call on a device failed; `errno` says why, and `filename` names the object."""


class MeterFileError(NetlogError, OSError):
    """A meter's file cannot be used; `errno` says why, and `filename` names the file."""


class StateError(NetlogError, RuntimeError):
    """The object's state does not allow the call: it is closed, already running or not running."""


class ConfigError(NetlogError, ValueError):
    """A configuration is wrong; the text names the file and the key, and says what was expected."""


class NotMeterableError(NetlogError):
    """A program cannot be metered from inside; the text says why, and what to do instead."""


class MissingExtraError(NetlogError, ImportError):
    """An optional package is missing; the text names the extra that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'netlog-flows[{extra}]'")
