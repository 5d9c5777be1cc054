"""Router configurations: whatever names a prefix becomes a network."""

from __future__ import annotations

import dataclasses
import ipaddress
import pickle
from typing import Any

import pytest

from netlog import RouterConfig
from netlog._native import ffi
from netlog.model.routes import PREFIX_DTYPE, prefix_array


def test_normalised() -> None:
    """Text, networks and interfaces become tuples of networks in the order given."""
    config = RouterConfig(
        local_addrs=["100.64.0.1", ipaddress.ip_interface("fd00::1/64")],
        routes=(route for route in ("10.1.2.3/8", "0.0.0.0/0")),
        subnet_routes=[ipaddress.ip_network("192.168.0.0/16"), "::/0", "::/0"],
    )
    assert [str(net) for net in config.local_addrs] == ["100.64.0.1/32", "fd00::/64"]
    assert [str(net) for net in config.routes] == ["10.0.0.0/8", "0.0.0.0/0"]
    assert [str(net) for net in config.subnet_routes] == ["192.168.0.0/16", "::/0", "::/0"]


def test_replace_and_pickle() -> None:
    """A configuration can be changed into another one, and goes through pickle."""
    config = RouterConfig(["1.2.3.4"], ["10.0.0.0/8"])
    changed = dataclasses.replace(config, routes=["fd00::/8"])  # type: ignore[arg-type]
    assert changed == RouterConfig(["1.2.3.4"], ["fd00::/8"])
    assert list(changed.prefixes["version"]) == [4, 6]
    copied = pickle.loads(pickle.dumps(config))  # noqa: S301 - our own
    assert copied == config
    assert copied.prefixes.tobytes() == config.prefixes.tobytes()


def test_is_a_value() -> None:
    """Equal configurations are equal, hash alike and cannot be changed."""
    one, other = RouterConfig(routes=["10.0.0.0/8"]), RouterConfig((), ("10.255.0.0/8",))
    assert one == other
    assert hash(one) == hash(other)
    assert one != RouterConfig(subnet_routes=["10.0.0.0/8"])
    assert RouterConfig() == RouterConfig((), (), ())
    with pytest.raises(AttributeError):
        one.routes = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        one.prefixes["length"] = 0


@pytest.mark.parametrize(
    "junk",
    ["10.0.0.0/8", None, 5, ["10.0.0.0/33"], ["x"], [""], [5], [None], [b"10.0.0.0/8"], [["::"]]],
    ids=repr,
)
def test_junk(junk: Any) -> None:  # noqa: ANN401 - what is not a list of prefixes
    """What is no list of prefixes raises ValueError and names the argument."""
    with pytest.raises(ValueError, match=r"^subnet_routes: "):
        RouterConfig(subnet_routes=junk)


def test_prefixes() -> None:
    """The core reads a prefix as struct netlog_prefix has it, IPv4 in mapped form."""
    assert PREFIX_DTYPE.itemsize == ffi.sizeof("struct netlog_prefix")
    config = RouterConfig(["1.2.3.4"], ["fd00::/8"], ["10.0.0.0/8"])
    prefixes = config.prefixes
    assert list(prefixes["version"]) == [4, 6, 4]
    assert list(prefixes["length"]) == [32, 8, 8]
    assert [row.tobytes().hex() for row in prefixes["address"]] == [
        "00000000000000000000ffff01020304",
        "fd000000000000000000000000000000",
        "00000000000000000000ffff0a000000",
    ]
    assert not prefixes["set"].any()
    assert not prefixes["clear"].any()
    assert len(prefix_array([])) == 0
