"""Run the benches and print one table: `python -m bench [NAME ...]`, as in `python -m bench count`.

Without names all of bench/bench_*.py run, which takes about eight minutes. `--curve` runs
bench/curve_*.py instead, whose rows are the points of the curves that `python -m bench.report`
draws. `--table` prints the table of the last run again. The results stay in bench.json or
curve.json of bench/results, or in a file after `--output`: bench/README.md describes it.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from bench import RESULTS
from bench.run import files_of, run
from bench.table import markdown


def arguments_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the benches.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as count; default: all")
    parser.add_argument("--curve", action="store_true", help="the points of the curves instead")
    parser.add_argument("--table", action="store_true", help="print the last run's table again")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    arguments = parser.parse_args(argv)
    known = files_of("curve" if arguments.curve else "bench")
    for name in arguments.names:
        if name not in known:
            parser.error(f"no {name!r}; there are: {' '.join(known)}")
    return arguments


def main(argv: list[str]) -> int:
    """Run what is asked for; a missed budget is no failure, a bench that failed is one."""
    arguments = arguments_of(argv)
    kind = "curve" if arguments.curve else "bench"
    output: Path = arguments.output or RESULTS / f"{kind}.json"
    if not arguments.table:
        # Whoever ends the run ends what it has started.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
        document = run(kind, arguments.names)
        output.parent.mkdir(exist_ok=True)
        output.write_text(json.dumps(document, indent=1) + "\n")
    elif output.exists():
        document = json.loads(output.read_text())
    else:
        sys.stderr.write(f"bench: there is no {output}\n")
        return 1
    sys.stdout.write(markdown(document) + "\n")
    failed = any(missing["what"] == "failed" for missing in document["without"])
    return 1 if failed or not document["rows"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
