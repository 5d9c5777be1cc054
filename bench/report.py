"""Draw what the last runs measured, or print it as a table that a document can quote.

    python -m bench.report [FOLDER]             # draws into docs/figures
    python -m bench.report --table [FILE ...]   # prints Markdown; default: bench/results/bench.json
    python -m bench.report --table --budgets    # only rows that have a budget
    python -m bench.report --table --rows 'IPv6$'   # only rows with such a name
    python -m bench.report --table --budgets --into docs/performance.md   # replaces a page's table

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
BEGIN, END = "<!-- bench table -->\n", "<!-- /bench table -->"
"""What stands around the table in a page that quotes one."""


def tabulate(
    paths: list[Path], shown: Callable[[dict[str, Any]], bool], page: Path | None = None
) -> int:
    """Make a table of these documents' rows that are shown.

    Args:
        paths: the documents; none: the last whole run.
        shown: whether a row is in the table.
        page: gets the table in place of the one that it has; None: the table is printed.

    Returns:
        The exit status: 1 if a document is missing, or the page has no place for a table.
    """
    paths = paths or [RESULTS / "bench.json"]
    absent = [path for path in paths if not path.exists()]
    for path in absent:
        sys.stderr.write(f"bench: there is no {path}\n")
    if absent:
        return 1
    documents = [json.loads(path.read_text()) for path in paths]
    table = markdown(*sorted(documents, key=lambda one: one["date"]), shown=shown) + "\n"
    if page is None:
        sys.stdout.write(table)
        return 0
    return _replace_table(page, table)


def _replace_table(page: Path, table: str) -> int:
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.stderr.write(f"bench: {page}: expected one pair of {BEGIN.strip()} and {END}\n")
        return 1
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
    return 0


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
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="put the table into this page; do not print it"
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folder, or documents")
    arguments = parser.parse_args(argv)
    if arguments.table:

        def shown(row: dict[str, Any]) -> bool:
            named = arguments.rows.search(row["row"]) is not None
            return named and (row["budget"] is not None or not arguments.budgets)

        return tabulate(arguments.paths, shown, arguments.into)
    if arguments.into is not None:
        parser.error("--into goes with --table")
    if len(arguments.paths) > 1:
        parser.error("expected one folder to draw into")
    from bench.figures import draw  # noqa: PLC0415 - printing a table does not need matplotlib

    return draw(arguments.paths[0] if arguments.paths else FIGURES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
