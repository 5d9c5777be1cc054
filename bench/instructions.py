"""Instructions a packet, counted by callgrind, against the figures that are committed.

    python -m bench.instructions [--record]

Times are noise on a shared machine; instructions are the same whatever else runs on it. What the
compiler makes of the sources does differ between compilers, so figures are kept for each. They tell
of the loop that callgrind's processor takes: AVX2, where it does not know AVX-512.
"""

import json
import subprocess
import sys

from bench import BENCH
from bench.compiling import build_program, compiler_name
from bench.harness import tool

__all__ = ["CONNECTIONS", "count_instructions", "measured"]

CONNECTIONS = {"1": 1, "1 k": 1 << 10, "64 k": 1 << 16}
PACKETS = 1 << 16

# What each stands for is in programs/instructions.c.
OTHER_WAYS = {
    "one a bracket": ("single", "1 k"),
    "super-packets": ("super", "1 k"),
    "datagrams": ("datagrams", "1 k"),
}
TOLERANCE = 0.02
"""A build with other flags, or a C library of another version, is within 1 %."""
EXPECTED = BENCH / "instructions.json"


def count_instructions(version: int, connections: int, way: str = "batch") -> float:
    """Count a packet's instructions, of uniform traffic whose connections are known.

    Args:
        version: 4 or 6, of IP.
        connections: how many there are.
        way: how the packets come: `batch`, `single`, `super` or `datagrams`.

    Returns:
        Instructions a packet.

    Raises:
        FileNotFoundError: valgrind is not installed.
        subprocess.CalledProcessError: the program failed; it is built without optimisation.
    """
    program = build_program(BENCH / "programs" / "instructions.c", with_core=True)
    run = subprocess.run(
        [
            *(tool("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *("--toggle-collect=measure", program),
            *(way, str(version), str(connections), str(PACKETS)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    collected = next(line for line in run.stderr.splitlines() if "Collected" in line)
    return int(collected.split(":")[1]) / PACKETS


def measured() -> dict[str, float]:
    """All the figures that are committed, as they are now."""
    batches = {
        f"IPv{version}, {size}": count_instructions(version, connections)
        for version in (4, 6)
        for size, connections in CONNECTIONS.items()
    }
    others = {
        f"IPv4, {size}, {name}": count_instructions(4, CONNECTIONS[size], way)
        for name, (way, size) in OTHER_WAYS.items()
    }
    return {name: round(count, 1) for name, count in (batches | others).items()}


def main(arguments: list[str]) -> int:
    """Compare, or record; the exit status is 1 if a figure is off, or there is none to compare."""
    known = json.loads(EXPECTED.read_text())
    compiler = compiler_name()
    found = measured()
    if arguments == ["--record"]:
        EXPECTED.write_text(json.dumps(known | {compiler: found}, indent=2) + "\n")
    elif arguments:
        sys.stderr.write("usage: python -m bench.instructions [--record]\n")
        return 2
    expected = found if arguments else known.get(compiler)
    if expected is None:
        sys.stderr.write(f"no figures of {compiler}; there are: {', '.join(known)}\n")
        return 1
    off = 0
    for name, count in found.items():
        known_count = expected.get(name, 0.0)
        wrong = abs(count - known_count) > TOLERANCE * known_count
        off += wrong
        verdict = f"expected {known_count}, MISS" if wrong else "ok"
        sys.stdout.write(f"{name:24} {count:7.1f} instructions a packet, {verdict}\n")
    if off:
        sys.stderr.write(
            "better or worse than committed by more than 2 %: if that is meant, "
            "python -m bench.instructions --record\n"
        )
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
