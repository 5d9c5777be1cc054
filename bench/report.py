"""Draw what the last runs measured, or print it as a table that a document can quote.

    python -m bench.report [FOLDER]             # draws into docs/figures
    python -m bench.report --table [FILE ...]   # prints Markdown; default: bench/results/bench.json
    python -m bench.report --table --budgets    # only rows that have a budget
    python -m bench.report --table --rows 'IPv6$'   # only rows whose name matches

The curves of a packet's and a poll's cost by connections come from `python -m bench --curve`, the
histograms of stalls from `python -m bench stall` or a whole run. What was not measured is not
drawn. Each figure names its machine. A table of several documents takes the rows of each file from
the last run that has any: a newer measurement replaces an older one.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import BENCH, RESULTS
from bench.table import markdown

FIGURES = BENCH.parent / "docs" / "figures"


def tabulate(paths: list[Path], shown: Callable[[dict[str, Any]], bool]) -> int:
    """Print these documents' rows that are shown; the exit status is 1 if a document is missing."""
    paths = paths or [RESULTS / "bench.json"]
    absent = [path for path in paths if not path.exists()]
    for path in absent:
        sys.stderr.write(f"bench: {path} does not exist\n")
    if not absent:
        documents = [json.loads(path.read_text()) for path in paths]
        sys.stdout.write(
            markdown(*sorted(documents, key=lambda one: one["date"]), shown=shown) + "\n"
        )
    return 1 if absent else 0


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r}: not a regular expression: {error}") from error


def main(argv: list[str]) -> int:
    """Draw, or print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", action="store_true", help="print a table; draw nothing")
    parser.add_argument("--budgets", action="store_true", help="only rows that have a budget")
    parser.add_argument(
        "--rows", type=_pattern, default="", metavar="REGEX", help="only rows whose name matches"
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folder, or documents")
    arguments = parser.parse_args(argv)
    if arguments.table:

        def shown(row: dict[str, Any]) -> bool:
            named = arguments.rows.search(row["row"]) is not None
            return named and (row["budget"] is not None or not arguments.budgets)

        return tabulate(arguments.paths, shown)
    if len(arguments.paths) > 1:
        parser.error("expected one folder to draw into")
    from bench.figures import draw  # noqa: PLC0415 - printing a table does not need matplotlib

    return draw(arguments.paths[0] if arguments.paths else FIGURES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
