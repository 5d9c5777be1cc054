"""`netlog exec` around commands that need no rights: status, signals, streams, refusals."""

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netlog.errors import NotMeterableError
from netlog.preload.library import library_path, preload_environment
from netlog.preload.programs import find_program
from tests.support import ROOT

EXEC = (sys.executable, "-W", "error", "-m", "netlog", "exec")
OUTPUT = ("--output", "flows.jsonl")


def popen(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `netlog exec` in a folder and a process group of its own."""
    return subprocess.Popen(
        (*EXEC, *arguments),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], given: str = "") -> tuple[int, str, str]:
    """Wait for its end: status, standard output and error."""
    try:
        out, err = process.communicate(given, timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert "Traceback" not in err, err
    return process.returncode, out, err


def test_status_and_streams_are_the_commands(tmp_path: Path) -> None:
    """What the command reads, writes and returns passes, and nothing else is in its output."""
    script = "read line; echo got $line; echo trouble >&2; exit 7"
    status, out, err = ended(popen(tmp_path, *OUTPUT, "--", "sh", "-c", script), "this\n")
    assert (status, out) == (7, "got this\n")
    assert err.splitlines()[0] == "trouble"
    assert "opened no TUN interface" in err
    assert (tmp_path / "flows.jsonl").read_bytes() == b""


def test_a_signal_that_kills_the_command_is_in_the_status(tmp_path: Path) -> None:
    """As a shell would have it: 128 and the signal's number."""
    status, _, _ = ended(popen(tmp_path, *OUTPUT, "--", "sh", "-c", "kill -9 $$"))
    assert status == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"])
def test_signals_are_handed_on(tmp_path: Path, number: str) -> None:
    """The command gets each once, and decides what it means."""
    script = f"trap 'echo {number}; exit 3' {number}; echo ready; while :; do sleep 0.05; done"
    process = popen(tmp_path, *OUTPUT, "--", "bash", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{number}"))
    status, out, _ = ended(process)
    assert (status, out) == (3, f"{number}\n")


def test_what_goes_on_after_the_command_is_waited_for(tmp_path: Path) -> None:
    """A daemon's parent ends at once; netlog ends with the daemon, with the parent's status."""
    script = "(exec >&- 2>&-; while [ ! -e stop ]; do sleep 0.05; done; echo > done) & exit 4"
    process = popen(tmp_path, *OUTPUT, "--", "bash", "-c", script)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    (tmp_path / "stop").touch()
    assert ended(process)[0] == 4
    assert (tmp_path / "done").exists()


def test_signals_and_mask_of_the_command_are_as_without(tmp_path: Path) -> None:
    """It does not inherit what netlog blocks and ignores."""
    show = ("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    plain = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert signals(ended(popen(tmp_path, *OUTPUT, "--", *show))[1]) == signals(plain)


def signals(shown: str) -> list[int]:
    """Sets of signals, without 32 and 33: the C library's own, which posix_spawn() ignores."""
    return [int(line.split()[1], 16) & ~(3 << 31) for line in shown.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(OUTPUT, "expected either --attach METER or -- COMMAND", id="no-command"),
        pytest.param(("--", "true"), "expected --output FILE or --config FILE", id="no-sink"),
        pytest.param((*OUTPUT, "--route", "x", "--", "true"), "routes.overlay", id="route"),
        pytest.param((*OUTPUT, "--sock-port", "0", "--", "true"), "sock_ports", id="port"),
    ],
)
def test_wrong_usage_is_status_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Before anything is started."""
    status, _, err = ended(popen(tmp_path, *arguments))
    assert status == 2
    assert said in err


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """A clear error, and status 1."""
    status, _, err = ended(popen(tmp_path, *OUTPUT, "--", "no-such-daemon"))
    assert (status, err) == (1, "netlog: no-such-daemon: no such command\n")


def test_a_config_has_the_sinks(tmp_path: Path) -> None:
    """A configuration in place of --output; standard output is refused there."""
    config = tmp_path / "exec.toml"
    config.write_text('[node]\nid = "n"\n[[sinks]]\ntype = "file"\npath = "a.jsonl"\n')
    status, _, _ = ended(popen(tmp_path, "--config", str(config), "--", "true"))
    assert status == 0
    assert (tmp_path / "a.jsonl").exists()
    config.write_text('[node]\nid = "n"\n[[sinks]]\ntype = "stdout"\n')
    status, _, err = ended(popen(tmp_path, "--config", str(config), "--", "true"))
    assert status == 2
    assert "standard output belongs to the command" in err


def test_nothing_is_left(tmp_path: Path) -> None:
    """The meter's directory goes, also where a sink cannot be opened."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    (tmp_path / "run").mkdir()
    for output, expected in (("flows.jsonl", 0), ("none/flows.jsonl", 1)):
        command = (*EXEC, "--output", output, "--", "true")
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == expected
        assert list((tmp_path / "run").iterdir()) == []


def compiled(folder: Path, *flags: str) -> str:
    """A program that does nothing."""
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(("cc", *flags, "-o", program, source), check=True)
    return str(program)


def test_static_programs_are_refused(tmp_path: Path) -> None:
    """A program that is linked statically would ignore the library silently."""
    program = compiled(tmp_path, "-static")
    with pytest.raises(NotMeterableError, match=r"statically.*netlog watch"):
        find_program(program)
    status, _, err = ended(popen(tmp_path, *OUTPUT, "--", program))
    assert status == 1
    assert "netlog watch" in err


def test_go_programs_are_refused(tmp_path: Path) -> None:
    """Also those that are linked dynamically: known by the section that Go's linker makes."""
    source = tmp_path / "go.c"
    source.write_text(
        '__attribute__((section(".go.buildinfo"), used)) static const char go[16] = "go";\n'
        "int main(void) { return 0; }\n"
    )
    program = tmp_path / "go"
    subprocess.run(("cc", "-o", program, source), check=True)
    with pytest.raises(NotMeterableError, match="Go program"):
        find_program(str(program))
    assert find_program(compiled(tmp_path))


def test_go_programs_without_sections_are_refused(tmp_path: Path) -> None:
    """A file whose section headers were stripped still has the note of Go's linker."""
    source = tmp_path / "go.c"
    source.write_text(
        '__attribute__((section(".note.a"), used, aligned(4)))\n'
        "static const struct { int name, data, type; char text[4]; int id; } note =\n"
        '    { 4, 4, 4, "Go", 0 };\n'
        "int main(void) { return 0; }\n"
    )
    program = tmp_path / "go"
    subprocess.run(("cc", "-o", program, source), check=True)
    data = bytearray(program.read_bytes())
    bits = 8 * struct.calcsize("P")
    at, size = {64: (40, 8), 32: (32, 4)}[bits]
    data[at : at + size] = bytes(size)  # e_shoff: no section headers
    program.write_bytes(data)
    with pytest.raises(NotMeterableError, match="Go program"):
        find_program(str(program))


def with_machine(data: bytearray) -> bytes:
    """An ELF file of an architecture that nobody has: e_machine is 0xfe."""
    data[18:20] = b"\xfe\x00"
    return bytes(data)


def with_musl(data: bytearray) -> bytes:
    """An ELF file that asks for musl's dynamic linker."""
    return re.sub(rb"/lib[\w./-]*/ld-linux[\w.-]*", lambda old: musl(old[0]), data, count=1)


def musl(old: bytes) -> bytes:
    """The path of musl's linker, in the room of another's."""
    return b"/lib/ld-musl.so".ljust(len(old), b"\0")[: len(old)]


@pytest.mark.parametrize(
    ("change", "said"), [(with_machine, "another architecture"), (with_musl, "another C library")]
)
def test_programs_of_other_systems_are_refused(
    tmp_path: Path, change: Callable[[bytearray], bytes], said: str
) -> None:
    """Of another architecture, or with another C library."""
    program = Path(compiled(tmp_path))
    program.write_bytes(change(bytearray(program.read_bytes())))
    with pytest.raises(NotMeterableError, match=said):
        find_program(str(program))


@example([(37, 16)])  # an offset that no file can have
@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), max_size=20))
def test_a_damaged_program_is_an_answer(changes: list[tuple[int, int]]) -> None:
    """Whatever the headers of a file say, netlog finds a program or says why it is none."""
    data = bytearray(Path("/bin/true").read_bytes())
    for at, byte in changes:
        data[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "damaged")
        program.write_bytes(data)
        program.chmod(0o755)
        with contextlib.suppress(NotMeterableError):
            assert find_program(str(program)) == str(program)


def test_scripts_are_their_interpreter(tmp_path: Path) -> None:
    """A script is as good as what executes it."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ntrue\n")
    script.chmod(0o755)
    assert find_program(str(script)) == str(script)
    script.write_text(f"#!{compiled(tmp_path, '-static')}\n")
    with pytest.raises(NotMeterableError, match="statically"):
        find_program(str(script))


def test_privileged_programs_are_refused_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set-user-ID counts where it would give more rights than there are: not for root."""
    program = Path(compiled(tmp_path))
    program.chmod(0o4755)
    assert find_program(str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(NotMeterableError, match="set-user-ID"):
        find_program(str(program))


def test_no_program_at_all(tmp_path: Path) -> None:
    """Neither ELF nor script, and a damaged ELF file."""
    program = tmp_path / "program"
    for content in (b"", b"text", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\xff" * 48):
        program.write_bytes(content)
        program.chmod(0o755)
        with pytest.raises(NotMeterableError, match="neither an ELF program nor a script"):
            find_program(str(program))


def test_without_glibc_nothing_is_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library was not built, exec says why, and what to use instead."""
    monkeypatch.setattr("netlog.preload.library.LIBRARY", "_preload.none.so")
    with pytest.raises(NotMeterableError, match="without its preload library"):
        find_program("true")
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    with pytest.raises(NotMeterableError, match=r"hooks glibc, .*: .*`netlog watch`"):
        find_program("true")


def test_other_libraries_stay_preloaded() -> None:
    """Ours comes behind them."""
    found = preload_environment({"LD_PRELOAD": "/a.so", "X": "y"}, "/b.so", "/meter", (1, 2))
    assert found["LD_PRELOAD"] == "/a.so:/b.so"
    assert found["NETLOG_PRELOAD_PORTS"] == "1,2"
    assert found["X"] == "y"
    with pytest.raises(ValueError, match="without blanks"):
        preload_environment({}, "/a b.so", "/meter")


def test_the_library_exports_the_hooks_alone() -> None:
    """Nothing of it may stand in for a function of the program's."""
    if shutil.which("nm") is None:
        pytest.skip("needs nm of binutils")
    shown = subprocess.run(
        ("nm", "-D", "--defined-only", library_path()), capture_output=True, text=True, check=True
    )
    names = {line.split()[-1].partition("@")[0] for line in shown.stdout.splitlines()}
    assert {"read", "recvmmsg", "__read_chk", "open64", "close_range"} <= names
    assert not [name for name in names if "netlog" in name or "descriptor" in name]


def test_without_a_meter_the_library_does_nothing(tmp_path: Path) -> None:
    """A program that is started with the library, but without netlog, is left alone."""
    environment = preload_environment(os.environ, library_path(), str(tmp_path / "none"))
    done = subprocess.run(
        ("sh", "-c", "echo hello | cat"), env=environment, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"hello\n", b"")
