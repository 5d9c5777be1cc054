"""Run the benches and print one table: `python -m bench [NAME ...]`, as in `python -m bench count`.

Without names all of bench/bench_*.py run, which takes about six minutes. `--table` prints the table
of the last run again.
"""

import os
import subprocess
import sys

from bench.harness import COMMAND
from bench.native import BENCH, RESULTS
from bench.table import markdown

LATEST = RESULTS / "latest.json"


def main(arguments: list[str]) -> int:
    """Run what is asked for; the exit status is pytest's: a missed budget is no failure."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(BENCH.glob("bench_*.py"))}
    names = [argument for argument in arguments if argument != "--table"]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.stderr.write(f"bench: no {unknown[0]!r}; there are: {' '.join(known)}\n")
        return 2
    status = 0
    if "--table" not in arguments:
        RESULTS.mkdir(exist_ok=True)
        LATEST.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-o", "python_files=bench_*.py", "--benchmark-columns=median,rounds"),
            f"--benchmark-json={LATEST}",
            *(str(known[name]) for name in names or known),
        ]
        # pytest's own table is of times of whole rounds; it goes to standard error.
        environment = {**os.environ, COMMAND: " ".join(["python -m bench", *names])}
        status = subprocess.run(
            command, cwd=BENCH.parent, env=environment, stdout=sys.stderr, check=False
        ).returncode
    if not LATEST.exists() or not LATEST.stat().st_size:
        sys.stderr.write("bench: nothing was measured\n")
        return status or 1
    sys.stdout.write(markdown(LATEST) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
