"""Run the benches and print one table: `python -m bench [NAME ...]`.

    python -m bench                     # all of bench/bench_*.py, about eleven minutes
    python -m bench count relay         # two of them
    python -m bench count -k Zipf       # some rows of one
    python -m bench --quick             # two rounds of each: checks that everything runs here
    python -m bench --list              # their names, and what each claims
    python -m bench --table             # the last table again
    python -m bench --json > run.json   # the document instead of the table

The document goes to bench/results/bench.json (curve.json with --curve), or to the file that
--output names; bench/README.md describes it. It is written when the run is complete. During the run
and after Ctrl-C, the rows measured so far are in bench.part.json beside it, and the document of the
last complete run is kept. Each row is printed on standard error as soon as it is measured.
"""

import argparse
import ast
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bench import RESULTS
from bench.peers import PATH, missing
from bench.run import Plan, files_of, run
from bench.table import markdown

INTERRUPTED = 130


def arguments_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as count; default: all")
    parser.add_argument("-k", dest="only", default="", metavar="WORDS", help="like pytest's -k")
    parser.add_argument("--curve", action="store_true", help="measure the curves' points instead")
    parser.add_argument("--quick", action="store_true", help="two rounds of each, to try them")
    parser.add_argument("--list", action="store_true", help="list the benches")
    parser.add_argument("--table", action="store_true", help="print the last run's table again")
    parser.add_argument("--json", action="store_true", help="print the document, not the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the document goes")
    arguments = parser.parse_args(argv)
    known = files_of("curve" if arguments.curve else "bench")
    for name in arguments.names:
        if name not in known:
            parser.error(f"no bench {name!r}; there are: {' '.join(known)}")
    return arguments


def write(document: dict[str, Any], path: Path) -> None:
    """Write the document completely, or leave the old file unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(path)


def measure(plan: Plan, output: Path) -> dict[str, Any]:
    """Run the plan, keep what it measured, and return the document."""
    part = output.with_name(f"{output.stem}.part{output.suffix}")
    for line in missing():
        sys.stderr.write(f"bench: {line}\n")
    # SIGTERM interrupts the run, like Ctrl-C, so that it ends the processes that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    document = run(plan, lambda so_far: write(so_far, part))
    if document.get("ended"):
        write(document, part)
        sys.stderr.write(
            f"bench: {document['ended']}; {len(document['rows'])} rows are kept in {part}\n"
        )
    else:
        write(document, output)
        part.unlink(missing_ok=True)
        sys.stderr.write(f"bench: {len(document['rows'])} rows are in {output}\n")
    return document


def listed(kind: str) -> str:
    """Return a line for each file: its name and its claim."""
    claims = {
        name: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n", 1)[0]
        for name, path in files_of(kind).items()
    }
    return "".join(f"{name:10} {claim}\n" for name, claim in claims.items())


def main(argv: list[str]) -> int:
    """Run what the command line names. A missed budget is not a failure; a failed bench is."""
    arguments = arguments_of(argv)
    os.environ["PATH"] = PATH
    kind = "curve" if arguments.curve else "bench"
    output: Path = arguments.output or RESULTS / f"{kind}.json"
    if arguments.list:
        sys.stdout.write(listed(kind))
        return 0
    if not arguments.table:
        plan = Plan(kind, tuple(arguments.names), arguments.only, arguments.quick)
        document = measure(plan, output)
    elif output.exists():
        document = json.loads(output.read_text())
    else:
        sys.stderr.write(f"bench: {output} does not exist; run python -m bench first\n")
        return 1
    shown = json.dumps(document, indent=1) if arguments.json else markdown(document)
    sys.stdout.write(shown + "\n")
    if document.get("ended"):
        return INTERRUPTED
    failed = any(missing["what"] == "failed" for missing in document["without"])
    return 1 if failed or not document["rows"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
