"""The errors that netlog raises beside ValueError and TypeError for wrong arguments."""

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
    """Base of netlog's own errors; never raised itself."""


class DeviceError(NetlogError, OSError):
    """A system call on a device failed; `errno` says how and `filename` names the object."""


class MeterFileError(NetlogError, OSError):
    """A meter's file can not be used; `errno` says why and `filename` names it."""


class StateError(NetlogError, RuntimeError):
    """The call does not fit the object's state: closed, already running, not running."""


class ConfigError(NetlogError, ValueError):
    """A configuration is wrong; the text names the file, the key and what was expected."""


class NotMeterableError(NetlogError):
    """A program can not be metered from inside; the text says why, and what can be done."""


class MissingExtraError(NetlogError, ImportError):
    """A package that is optional is not there; the text names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs another package: pip install 'netlog-flows[{extra}]'")
