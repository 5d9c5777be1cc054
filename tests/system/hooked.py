"""Small programs under the preload library, and what was counted of them.

Each has a TUN and sockets, and uses a datagram socket (`tun.user`) to make packets, whose datagrams
are counted as those of any socket: the expected numbers have them.
"""

import os
import subprocess
import sys
import textwrap

from netlog import Meter
from netlog.preload.library import library_path, preload_environment
from netlog.preload.meter import has_writers
from tests.support import ROOT
from tests.support.gateways import Totals, taken
from tests.support.namespace import Namespace, wait_for

PROLOGUE = """
import ctypes, errno, fcntl, os, signal, socket, struct, subprocess, sys, tempfile
import threading, time
from tests.system.tun_user import *
libc = ctypes.CDLL(None, use_errno=True)
"""


def run(
    meter: Meter, program: str, *, ports: tuple[int, ...] = (), excluded: tuple[str, ...] = ()
) -> str:
    """Run a Python program with the library, in a namespace of its own, to its end; its output."""
    environment = preload_environment(os.environ, library_path(), str(meter.path), ports, excluded)
    environment["PYTHONPATH"] = str(ROOT)
    with Namespace() as namespace, namespace.entered():
        done = subprocess.run(
            (sys.executable, "-c", PROLOGUE + textwrap.dedent(program)),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: not has_writers(str(meter.path)), "its last process has ended")
    return done.stdout


def ran(meter: Meter, program: str, *, ports: tuple[int, ...] = ()) -> tuple[Totals, Totals]:
    """The same, and what was counted: the TUN's totals and the sockets'."""
    run(meter, program, ports=ports)
    return taken(meter)
