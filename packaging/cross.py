"""`make cross`: the C tests on other machines, and the table of them in docs/portability.md.

The core and its tests are compiled as strict C11, statically, with warnings as errors, by Debian's
cross compilers. They run in qemu-user, or at once where this kernel executes them. Each test says
itself what it leaves out there.

    cross.py [--write] [MACHINE...]

--write puts the table into the page. Without it the page must have the table that was found.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SELFTEST = ROOT / "csrc" / "selftest"
PAGE = ROOT / "docs" / "portability.md"
WORK = ROOT / "build" / "cross"
TABLE = re.compile(r"^\| machine \|.*?(?=^$)", re.MULTILINE | re.DOTALL)
LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor, the compiler for it, and what runs its programs."""

    name: str
    bits: int
    order: str
    compiler: str
    emulator: str = ""
    flags: str = "-Werror"


MACHINES = (
    Machine("x86_64", 64, "little", "gcc"),
    Machine("x86_64, musl", 64, "little", "musl-gcc", flags=""),
    Machine("i686", 32, "little", "i686-linux-gnu-gcc", "qemu-i386"),
    Machine("aarch64", 64, "little", "aarch64-linux-gnu-gcc", "qemu-aarch64"),
    Machine("armhf", 32, "little", "arm-linux-gnueabihf-gcc", "qemu-arm"),
    Machine("riscv64", 64, "little", "riscv64-linux-gnu-gcc", "qemu-riscv64"),
    Machine("s390x", 64, "big", "s390x-linux-gnu-gcc", "qemu-s390x"),
    Machine("powerpc", 32, "big", "powerpc-linux-gnu-gcc", "qemu-ppc"),
    Machine("mips", 32, "big", "mips-linux-gnu-gcc", "qemu-mips"),
    Machine("mipsel", 32, "little", "mipsel-linux-gnu-gcc", "qemu-mipsel"),
)


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    # Each machine says itself whether a warning is an error: musl's headers cause some.
    own = {name: value for name, value in os.environ.items() if name != "NETLOG_WERROR"}
    try:
        return subprocess.run(
            words, cwd=ROOT, env=own, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"not done after {LIMIT_S} s")


def _compile(machine: Machine, folder: Path) -> None:
    compiler = f"{machine.compiler} -static"
    if machine.compiler == "musl-gcc":
        # Debian's musl-gcc has no headers of the kernel.
        kernel = WORK / "kernel"
        kernel.mkdir(parents=True, exist_ok=True)
        for name in ("linux", "asm-generic", "x86_64-linux-gnu/asm"):
            link = kernel / Path(name).name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/usr/include/{name}")
        compiler += f" -idirafter {kernel}"
    emulated = " -DEMULATED" if machine.emulator else ""
    made = _run(
        *("make", "-s", "-k", f"-j{os.cpu_count()}", "-C", SELFTEST, "programs", "STD=c11"),
        *(f"BUILD={folder}", f"CC={compiler}"),
        f"CHECK_FLAGS=-O1 -DSLOWER=20{emulated} {machine.flags}",
    )
    if made.returncode:
        sys.exit(f"{machine.name}: {made.stdout}{made.stderr}")


def _try(machine: Machine) -> str:
    """Compile and run all tests for a machine, and return its row of the table."""
    folder = WORK / machine.name.replace(", ", "-")
    _compile(machine, folder)
    names = sorted(path.stem.removeprefix("test_") for path in SELFTEST.glob("test_*.c"))
    emulator = (machine.emulator,) if machine.emulator else ()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ran = list(pool.map(lambda name: _run(*emulator, folder / "check" / name), names))
    failed = [
        f"{machine.name}: {name}: status {one.returncode}\n{one.stdout}{one.stderr}"
        for name, one in zip(names, ran, strict=True)
        if one.returncode
    ]
    if failed:
        sys.exit("\n".join(failed))
    said = [line for one in ran for line in one.stdout.splitlines()]
    left_out = [line.replace(": left out: ", ": ") for line in said if ": left out: " in line]
    return (
        f"| {machine.name} | {machine.bits} | {machine.order} | `{machine.compiler}` | "
        f"{len(names)} | {'; '.join(left_out) or 'nothing'} |"
    )


def main() -> None:
    """Try the machines that were named, or all, and compare with the page."""
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    WORK.mkdir(parents=True, exist_ok=True)
    rows = []
    for machine in MACHINES:
        if not names or machine.name in names:
            rows.append(_try(machine))
            sys.stdout.write(rows[-1] + "\n")
            sys.stdout.flush()
    page = PAGE.read_text()
    if "--write" in sys.argv and not names:
        head = "| machine | bits | byte order | compiler | tests | left out, and why |\n"
        table = head + "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        PAGE.write_text(TABLE.sub(lambda _: table, page))
    elif missing := [row for row in rows if row not in page]:
        sys.exit(f"{PAGE.name} says something else: {missing}; run packaging/cross.py --write")


if __name__ == "__main__":
    main()
