"""Run the benches and print one table: `python -m bench [NAME ...]`.

    python -m bench                     # all of bench/bench_*.py, about eleven minutes
    python -m bench count relay         # two of them
    python -m bench count -k Zipf       # some rows of one
    python -m bench --quick             # two rounds of each: does everything run here?
    python -m bench --list              # their names, and what each claims
    python -m bench --table             # the last table again
    python -m bench --json > run.json   # the document instead of the table

The document goes to bench/results/bench.json (curve.json with --curve), or where --output says;
bench/README.md describes it. It is written when the run is over. Until then, and after Ctrl-C, what
has been measured is in bench.part.json beside it, and the last whole run's is kept. Each row is
said on standard error as soon as it is measured.
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
    parser.add_argument("-k", dest="only", default="", metavar="WORDS", help="as pytest's -k")
    parser.add_argument("--curve", action="store_true", help="the points of the curves instead")
    parser.add_argument("--quick", action="store_true", help="two rounds of each, as a trial")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--table", action="store_true", help="print the last run's table again")
    parser.add_argument("--json", action="store_true", help="print the document, not the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the document goes")
    arguments = parser.parse_args(argv)
    known = files_of("curve" if arguments.curve else "bench")
    for name in arguments.names:
        if name not in known:
            parser.error(f"no {name!r}; there are: {' '.join(known)}")
    return arguments


def write(document: dict[str, Any], path: Path) -> None:
    """Write it whole, or leave what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(path)


def measure(plan: Plan, output: Path) -> dict[str, Any]:
    """Run it, and keep what it measured; gives the document."""
    part = output.with_name(f"{output.stem}.part{output.suffix}")
    for line in missing():
        sys.stderr.write(f"bench: {line}\n")
    # Whoever ends the run ends what it has started.
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
    """A line for each file: its name and its claim."""
    claims = {
        name: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n", 1)[0]
        for name, path in files_of(kind).items()
    }
    return "".join(f"{name:10} {claim}\n" for name, claim in claims.items())


def main(argv: list[str]) -> int:
    """Run what is asked for; a missed budget is no failure, a bench that failed is one."""
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
        sys.stderr.write(f"bench: there is no {output}\n")
        return 1
    shown = json.dumps(document, indent=1) if arguments.json else markdown(document)
    sys.stdout.write(shown + "\n")
    if document.get("ended"):
        return INTERRUPTED
    failed = any(missing["what"] == "failed" for missing in document["without"])
    return 1 if failed or not document["rows"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
