"""Instructions a packet, counted by callgrind, compared with the committed figures.

    python -m bench.instructions [--record]

Times are noisy on a shared machine; instructions do not depend on what else runs. Compilers do make
different code from the same sources, so there are figures for each compiler. They are those of the
loop that callgrind's processor runs: AVX2 where it does not support AVX-512.
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

# programs/instructions.c explains each.
OTHER_WAYS = {
    "one a bracket": ("single", "1 k"),
    "super-packets": ("super", "1 k"),
    "datagrams": ("datagrams", "1 k"),
}
TOLERANCE = 0.02
"""A build with other flags or another version of the C library differs by less than 1 %."""
EXPECTED = BENCH / "instructions.json"


def count_instructions(version: int, connections: int, way: str = "batch") -> float:
    """Count instructions a packet, for uniform traffic of known connections.

    Args:
        version: 4 or 6, of IP.
        connections: number of connections.
        way: how the packets come: `batch`, `single`, `super` or `datagrams`.

    Returns:
        Instructions a packet.

    Raises:
        FileNotFoundError: valgrind is not installed.
        subprocess.CalledProcessError: the program failed, for example because it was built without
            optimisation.
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
    """Measure all figures that are committed."""
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
    """Compare or record; the exit status is 1 if a figure is off, or none is known to compare."""
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
        sys.stderr.write(
            f"no figures for {compiler}, only for {', '.join(known)}; "
            "to add them: python -m bench.instructions --record\n"
        )
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
            "figures differ from the committed ones by more than 2 %; if that is intended, "
            "run python -m bench.instructions --record\n"
        )
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
