"""`netlog exec`: unmodified daemons of the distribution, checked against the kernel's counters."""

from pathlib import Path

import pytest
from daemons import check, tunnel

pytestmark = pytest.mark.root

SOCAT = "TUN:100.64.0.{me}/24,tun-name=tun0,tun-type=tun,up{pi}"


def socat(me: int, pi: str) -> tuple[str, ...]:
    """One end of a tunnel by socat: UDP datagrams read(2) and written(2)."""
    tun = SOCAT.format(me=me, pi=pi)
    return "socat", tun, f"UDP-DATAGRAM:192.0.2.{3 - me}:5555,bind=192.0.2.{me}:5555"


@pytest.mark.parametrize("pi", [",iff-no-pi", ""], ids=["plain", "packet-information"])
def test_socat(tmp_path: Path, pi: str) -> None:
    """socat, with and without the 4-byte header before each packet."""
    with tunnel(tmp_path, socat(1, pi), socat(2, pi)) as (a, b):
        check(a, b)
