"""OpenVPN as a source: its management interface, in all the moods it can be in, and its file."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog.sources import OpenVpnSource, Overlay, Source
from tests.unit.sources.openvpn.answers import (
    INFO,
    OF_A_CLIENT,
    STATE_OF_CLIENT,
    STATE_OF_SERVER,
    VERSION_1,
    VERSION_2,
    in_version_3,
)

PASSWORD = "sesame-" + os.urandom(8).hex()

ANSWERER = """
import socket, sys, time
path, mode, password = sys.argv[1:]
family = socket.AF_UNIX if path else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM) as listener:
    listener.bind(path or ("127.0.0.1", 0))
    listener.listen()
    print(path or "127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    info, answer = sys.stdin.buffer.read().split(b"\\0")
    while mode == "busy":
        listener.accept()[0].recv(1)
    while True:
        with listener.accept()[0] as asked:
            if password:
                asked.sendall(b"ENTER ")
                asked.sendall(b"PASSWORD:")
                if asked.recv(1000) != password.encode() + b"\\n":
                    asked.sendall(b"ERROR: bad password\\r\\nENTER PASSWORD:")
                    continue
                asked.sendall(b"SUCCESS: password is correct\\r\\n")
            asked.sendall(info)
            got = b""
            while got != b"state\\nstatus 3\\n":
                more = asked.recv(1000)
                if not more:
                    break
                got += more
            if mode == "pieces":
                for byte in answer:
                    asked.send(bytes((byte,)))
            elif mode == "hangs":
                asked.send(answer[:50])
                asked.recv(1)
            elif mode == "cut":
                asked.send(answer[:50])
            elif mode == "drips":
                try:
                    while True:
                        asked.sendall(b">LOG\\r\\n")
                        time.sleep(0.02)
                except OSError:
                    pass
            elif mode == "line":
                try:
                    while True:
                        asked.sendall(b"x" * 1000)
                except OSError:
                    pass
            else:
                asked.sendall(answer)
"""

STATUS_3 = in_version_3(VERSION_2)
NOTES = b">BYTECOUNT_CLI:0,1,2\r\n>PASSWORD:Need 'Auth' username/password\r\n"


def crlf(text: bytes) -> bytes:
    """With the line ends of the management interface, and notes in between."""
    return text.replace(b"\n", b"\r\n").replace(b"HEADER", NOTES + b"HEADER")


WHOLE = NOTES + crlf(STATE_OF_SERVER + b"\nEND\n") + NOTES + crlf(STATUS_3)


@contextlib.contextmanager
def answering(
    folder: Path | None,
    mode: str = "whole",
    answer: bytes = WHOLE,
    password: str = "",
    info: bytes = INFO,
) -> Iterator[str]:
    """A process that answers as OpenVPN does, or not quite: where it is asked."""
    path = "" if folder is None else str(folder / "management")
    command = (sys.executable, "-c", ANSWERER, path, mode, password)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        at = process.stdout.readline().decode().strip()
        process.stdin.write(info + b"\0" + answer)
        process.stdin.close()
        try:
            yield at
        finally:
            process.kill()


def password_file(folder: Path, text: str) -> str:
    """A file with a password."""
    path = folder / "password"
    path.write_text(text)
    return str(path)


def check(told: Overlay) -> None:
    """It is what the server says."""
    assert len(told.peers) == 3
    assert len(told.routes) == 9
    assert tuple(map(str, told.local_addrs)) == ("10.8.0.1/32", "fd00:8::1/128")
    assert told.nodes is not None


@pytest.mark.parametrize("mode", ["whole", "pieces"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_server_is_asked(tmp_path: Path, mode: str, unix: bool) -> None:  # noqa: FBT001 - a parameter
    """Over TCP and a unix socket; the answer stays the same object while nothing changes."""
    with answering(tmp_path if unix else None, mode) as at:
        source: Source = OpenVpnSource(at)
        told = source.snapshot()
        check(told)
        assert source.snapshot() is told


def test_a_password_is_shown_if_asked_for(tmp_path: Path) -> None:
    """It is the first line of the file; without a prompt nobody sees it."""
    path = password_file(tmp_path, f"{PASSWORD}\r\nmore\n")
    with answering(None, password=PASSWORD) as at:
        check(OpenVpnSource(at, path).snapshot())
    with answering(None) as at:
        check(OpenVpnSource(at, path).snapshot())
        check(OpenVpnSource(at, "/nowhere").snapshot())


@pytest.mark.parametrize("text", [None, "", "\n", "wrong\n", "x" * 5000, "a\0b\n"])
def test_a_password_that_is_none(tmp_path: Path, text: str | None) -> None:
    """What is wrong is said, and never the password."""
    path = None if text is None else password_file(tmp_path, text)
    with (
        answering(None, password=PASSWORD) as at,
        pytest.raises(ValueError, match="password") as caught,
    ):
        OpenVpnSource(at, path).snapshot()
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "wrong\n" not in told
    assert "xxx" not in told
    with answering(None, password=PASSWORD) as at, pytest.raises(FileNotFoundError):
        OpenVpnSource(at, str(tmp_path / "none")).snapshot()


@pytest.mark.parametrize(
    ("mode", "error", "said"),
    [
        ("hangs", TimeoutError, "one client at a time"),
        ("busy", TimeoutError, "one client at a time"),
        ("cut", ValueError, "incomplete"),
        ("drips", TimeoutError, "one client at a time"),
        ("line", ValueError, "too long"),
    ],
)
def test_one_that_does_not_answer(mode: str, error: type[Exception], said: str) -> None:
    """Nobody waits for ever, or takes ever more of what never ends."""
    with answering(None, mode) as at, pytest.raises(error, match=said):
        OpenVpnSource(at).snapshot()


@pytest.mark.parametrize(
    ("answer", "info", "said"),
    [
        pytest.param(crlf(STATE_OF_SERVER + b"\nEND\n") + b"ERROR: x\r\n", INFO, "refused", id="e"),
        pytest.param(b"END\r\n" + crlf(STATUS_3), INFO, "state", id="no-state"),
        pytest.param(crlf(STATE_OF_SERVER + b"\nEND\nEND\n"), INFO, "title", id="no-status"),
        pytest.param(WHOLE, b"SSH-2.0\r\n", "expected OpenVPN's management", id="another"),
    ],
)
def test_what_is_no_answer(answer: bytes, info: bytes, said: str) -> None:
    """It is said where, and not what it was."""
    with (
        answering(None, answer=answer, info=info) as at,
        pytest.raises(ValueError, match=said) as e,
    ):
        OpenVpnSource(at).snapshot()
    assert at in str(e.value)


def test_a_client_is_asked() -> None:
    """It has addresses of its own."""
    answer = crlf(STATE_OF_CLIENT + b"\nEND\n" + OF_A_CLIENT)
    with answering(None, answer=answer) as at:
        told = OpenVpnSource(at).snapshot()
    assert tuple(map(str, told.local_addrs)) == ("10.8.0.3/32", "fd00:8::1001/128")


def test_nobody_is_there(tmp_path: Path) -> None:
    """Neither a socket nor a file, and one that nobody listens at."""
    for at in (str(tmp_path / "none"), "127.0.0.1:1", "[::1]:1", "localhost:1"):
        with pytest.raises(OSError, match=r"."):
            OpenVpnSource(at).snapshot()
    with answering(tmp_path) as at:
        pass
    with pytest.raises(ConnectionRefusedError):
        OpenVpnSource(at).snapshot()


@pytest.mark.parametrize("at", ["", "example.com:7505", "127.0.0.1:0", "127.0.0.1:65536", ":7505"])
def test_what_is_no_place(at: str) -> None:
    """Names are not looked up."""
    with pytest.raises(ValueError, match="expected"):
        OpenVpnSource(at)


def test_where_tcp_is() -> None:
    """Whoever counts the daemon's sockets must know which one is none of the tunnel's."""
    assert OpenVpnSource("localhost:7505").tcp == ("127.0.0.1", 7505)
    assert OpenVpnSource("[::1]:7505").tcp == ("::1", 7505)
    assert OpenVpnSource("/run/x:7505").tcp is None
    assert OpenVpnSource("status.log").tcp is None


# -- the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [VERSION_1, VERSION_2, STATUS_3], ids=["1", "2", "3"])
def test_a_status_file_is_read(tmp_path: Path, status: bytes) -> None:
    """In each version; a socket that takes its place is asked from then on."""
    path = tmp_path / "management"
    path.write_bytes(status)
    source = OpenVpnSource(str(path))
    told = source.snapshot()
    assert len(told.peers) == 3
    assert source.snapshot() is told
    path.unlink()
    with answering(tmp_path):
        assert source.snapshot().local_addrs


@pytest.mark.parametrize("status", [b"", VERSION_2[:-4], OF_A_CLIENT], ids=["none", "half", "c"])
def test_a_file_that_is_no_status(tmp_path: Path, status: bytes) -> None:
    """It is a ValueError, with the file's name."""
    path = tmp_path / "status"
    path.write_bytes(status)
    with pytest.raises(ValueError, match=f"^{path}: the status "):
        OpenVpnSource(str(path)).snapshot()


def test_what_is_neither_socket_nor_file(tmp_path: Path) -> None:
    """A pipe is not waited for, nor a device read for ever."""
    os.mkfifo(tmp_path / "pipe")
    for at in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(ValueError, match="expected a socket or a status file"):
            OpenVpnSource(at).snapshot()
    with pytest.raises(IsADirectoryError):
        OpenVpnSource(str(tmp_path)).snapshot()


def test_a_file_that_is_written_over_is_read_whole(tmp_path: Path) -> None:
    """OpenVPN writes over the last status: half of one and half of another are never told of."""
    path = tmp_path / "status"
    versions = [VERSION_2, VERSION_2.replace(b"10.8.0.3", b"10.8.7.9").replace(b"2846", b"9")]
    path.write_bytes(versions[0])
    expected = set()
    for version in versions:
        path.write_bytes(version)
        expected.add(OpenVpnSource(str(path)).snapshot())
    assert len(expected) == 2
    stopping = threading.Event()

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not stopping.is_set():
                for version in versions:
                    file.seek(0)
                    for line in version.splitlines(keepends=True):
                        file.write(line)
                        time.sleep(0.001)
                    file.truncate()
                    stopping.wait(0.2)

    writer = threading.Thread(target=write)
    writer.start()
    source, told = OpenVpnSource(str(path)), set()
    try:
        for _ in range(10):
            with contextlib.suppress(ValueError):
                told.add(source.snapshot())
    finally:
        stopping.set()
        writer.join()
    assert told
    assert told <= expected
