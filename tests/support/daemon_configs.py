"""Command lines and configurations of VPN daemons, for both ends of one tunnel.

Each function takes a folder for files and returns the left and the right command.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Daemons lie where not everybody looks."""

PACKAGES = {"edge": "n2n", "tincd": "tinc", "vtund": "vtun", "wg": "wireguard-tools"}
"""Where a program's package has another name."""
EC_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
"""Made in no time, unlike RSA's."""

Commands = tuple[tuple[str, ...], tuple[str, ...]]


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where a program is not installed; the reason names each that is missing."""
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    packages = " ".join(PACKAGES.get(name, name) for name in missing)
    reason = f"needs {' and '.join(missing)}; to get it: sudo apt install {packages}"
    return pytest.mark.skipif(bool(missing), reason=reason)


def socat(*, packet_information: bool = False) -> Commands:
    """UDP datagrams that are read(2)."""
    pi = "" if packet_information else ",iff-no-pi"

    def end(me: int) -> tuple[str, ...]:
        tun = f"TUN:100.64.0.{me}/24,tun-name=tun0,tun-type=tun,up{pi}"
        return "socat", tun, f"UDP-DATAGRAM:192.0.2.{3 - me}:5555,bind=192.0.2.{me}:5555"

    return end(1), end(2)


def openvpn(folder: Path, *options: str, tcp: bool = False, tls: bool = False) -> Commands:
    """OpenVPN from point to point."""
    secrets = _openvpn_tls(folder) if tls else _openvpn_static(folder)

    def end(me: int) -> tuple[str, ...]:
        proto = ("udp", "udp") if not tcp else ("tcp-server", "tcp-client")
        listening = tcp and me == 1
        return (
            *("openvpn", "--dev", "tun0", "--dev-type", "tun", "--proto", proto[me - 1]),
            *("--ifconfig", f"100.64.0.{me}", f"100.64.0.{3 - me}", "--port", "1194"),
            *(() if listening else ("--remote", f"192.0.2.{3 - me}")),
            *("--verb", "3", "--disable-dco", "--connect-retry", "1"),
            *secrets[me - 1],
            *options,
        )

    return end(1), end(2)


def _openvpn_static(folder: Path) -> Commands:
    key = folder / "static.key"
    _run("openvpn", "--genkey", "secret", str(key))
    ends = ("--secret", str(key), "--cipher", "AES-256-CBC", "--auth", "SHA256")
    return ends, ends


def _openvpn_tls(folder: Path) -> Commands:
    """Each end knows the other's certificate by its fingerprint."""
    prints = []
    for me in (1, 2):
        made = f"openssl req -x509 {EC_KEY} -nodes -days 2 -subj /CN=end{me}"
        files = ("-keyout", str(folder / f"{me}.key"), "-out", str(folder / f"{me}.crt"))
        _run(*made.split(), *files)
        shown = _run("openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", files[-1])
        prints.append(shown.strip().partition("=")[2])
    roles = (("--tls-server", "--dh", "none"), ("--tls-client",))

    def end(me: int) -> tuple[str, ...]:
        return (
            *roles[me - 1],
            *("--cert", str(folder / f"{me}.crt"), "--key", str(folder / f"{me}.key")),
            *("--peer-fingerprint", prints[2 - me], "--data-ciphers", "AES-256-GCM"),
        )

    return end(1), end(2)


def fastd(folder: Path) -> Commands:
    """A fastd in TUN mode, without encryption."""
    keys = []
    for _ in (1, 2):
        words = _run("fastd", "--generate-key").split()
        keys.append((words[words.index("Secret:") + 1], words[words.index("Public:") + 1]))

    def end(me: int) -> tuple[str, ...]:
        config = folder / f"fastd{me}.conf"
        address = f"ip addr add 100.64.0.{me}/24 dev tun0; ip link set tun0 up"
        config.write_text(f"""
            mode tun; interface "tun0"; method "null"; mtu 1280;
            bind 192.0.2.{me}:10000; secret "{keys[me - 1][0]}"; on up "{address}";
            peer "other" {{ key "{keys[2 - me][1]}"; remote 192.0.2.{3 - me}:10000; }}
        """)
        return "fastd", "--config", str(config)

    return end(1), end(2)


def tinc(folder: Path) -> Commands:
    """A tinc in router mode; the right one connects, so TCP is under another port at the left."""
    for me in (1, 2):
        home = folder / f"tinc{me}"
        (home / "hosts").mkdir(parents=True)
        (home / "tinc.conf").write_text(
            f"Name = end{me}\nInterface = tun0\n"
            f"BindToAddress = 192.0.2.{me}\nAddressFamily = ipv4\nMaxTimeout = 1\n"
            + ("ConnectTo = end1\n" if me == 2 else "")
        )
        (home / "hosts" / f"end{me}").write_text(
            f"Address = 192.0.2.{me}\nSubnet = 100.64.0.{me}/32\n"
        )
        up = home / "tinc-up"
        up.write_text(f"#!/bin/sh\nip addr add 100.64.0.{me}/24 dev tun0\nip link set tun0 up\n")
        up.chmod(0o755)
        _run("tincd", "-c", str(home), "-K1024")
    for me in (1, 2):
        public = folder / f"tinc{me}" / "hosts" / f"end{me}"
        (folder / f"tinc{3 - me}" / "hosts" / f"end{me}").write_text(public.read_text())

    def end(me: int) -> tuple[str, ...]:
        home = folder / f"tinc{me}"
        return "tincd", "-c", str(home), "-D", f"--pidfile={home}/pid"

    return end(1), end(2)


def n2n() -> Commands:
    """Edges of n2n, which have a TAP; its supernode is the test's to start, at 192.0.2.1:7777."""

    def end(me: int) -> tuple[str, ...]:
        address = ("-a", f"100.64.0.{me}", "-m", f"02:00:00:00:00:0{me}")
        names = ("-c", "net", "-k", "key", "-s", "255.255.255.0")
        return "edge", "-d", "tun0", *address, *names, "-l", "192.0.2.1:7777", "-f"

    return end(1), end(2)


def vtun(folder: Path) -> Commands:
    """A vtun over UDP: its server forks for each session, and opens the TUN in the fork."""
    ends = {}
    for me in (1, 2):
        ends[me] = folder / f"up{me}"
        ends[me].write_text(
            f"#!/bin/sh\nip addr add 100.64.0.{me}/24 dev tun0\nip link set tun0 up\n"
        )
        ends[me].chmod(0o755)
    common = "passwd secret; type tun; proto udp; encrypt no; compress no; device tun0;"
    server, client = folder / "server.conf", folder / "client.conf"
    for path, me in ((server, 1), (client, 2)):
        path.write_text(f"""
            options {{ port 5000; }}
            net {{ {common} up {{ program "{ends[me]}"; }}; }}
        """)
    return (
        ("vtund", "-s", "-n", "-f", str(server), "-P", "5000"),
        ("vtund", "-n", "-f", str(client), "net", "192.0.2.1"),
    )


def openssl(*arguments: str) -> str:
    """Run openssl; what it said."""
    return _run("openssl", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
        env=os.environ | {"PATH": PATH},
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
