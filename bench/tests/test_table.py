"""The benches' table: what it says is what the documents have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import BENCH
from bench.table import joined, line_of, markdown
from bench.tests.documents import document, row


def test_a_row_has_its_figures_and_its_verdict() -> None:
    """Measured, beside, ratio, budget and whether it is kept stand in the row, as in the JSON."""
    table = markdown(document(row("a row"), row("another", ratio=3.0, ok=False)))
    first, second = (line for line in table.splitlines() if line.startswith(("| a row", "| ano")))
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells == ["a row", "20.0 ns", "10.0 ns (floor)", "2.00", "<= 2x", "ok"]
    assert second.strip("| ").endswith("MISS")
    assert "1 of 2 budgets kept, 1 missed." in table
    assert "A Processor (virtual), 2 cores" in table


def test_a_row_of_windows_has_its_interval() -> None:
    """A ratio that is a median of neighbours is shown with where that median lies."""
    shown = line_of(row("on and off", ratio=0.985, ratio_interval=[0.98, 0.99], windows=201))
    assert "0.985 (0.980 to 0.990)" in shown
    assert "(" not in line_of(row("plain", ratio_interval=[1, 2], beside=None))


def test_rows_that_were_measured_again_replace_those_that_were() -> None:
    """Of several documents each file's rows are those of the last run that has rows of it."""
    old = document(row("old a"), row("old b", file="bench_b"))
    new = document(row("new a"))
    assert [each["row"] for each in joined([old, new])] == ["new a", "old b"]
    assert [each["row"] for each in joined([new, old])] == ["old a", "old b"]


def test_what_is_not_shown_is_counted() -> None:
    """A selection has its rows and the verdict on all of them."""
    whole = document(row("a"), row("b", budget=None, ok=None), row("c", ok=False))
    selection = markdown(whole, shown=lambda info: info["row"] != "c")
    assert [name for name in "abc" if f"| {name} " in selection] == ["a", "b"]
    assert "1 of 2 budgets kept, 1 missed. Rows not shown here: 1." in selection
    assert "not shown" not in markdown(whole)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        pytest.param(["--budgets"], ["a row", "another"], id="with a budget"),
        pytest.param(["--rows", "row$"], ["a row", "a free row"], id="by name"),
        pytest.param(["--budgets", "--rows", "row$"], ["a row"], id="both"),
    ],
)
def test_a_page_quotes_some_rows(tmp_path: Path, options: list[str], names: list[str]) -> None:
    """The command's options choose rows."""
    path = tmp_path / "run.json"
    rows = row("a row"), row("another"), row("a free row", budget=None, ok=None)
    path.write_text(json.dumps(document(*rows)))
    command = (sys.executable, "-m", "bench.report", "--table", *options, str(path))
    done = subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True)
    shown = done.stdout
    cells = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")]
    assert cells == ["what", *names]


PAGE = "# A page\n\n<!-- bench table -->\nan old table\n<!-- /bench table -->\n\nAnd an end.\n"


def quote(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Put the table of a run into a page."""
    (folder / "page.md").write_text(page)
    (folder / "run.json").write_text(json.dumps(document(row("a row"))))
    command = (sys.executable, "-m", "bench.report", "--table", "--into", str(folder / "page.md"))
    return subprocess.run(
        (*command, str(folder / "run.json")),
        cwd=BENCH.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_table_replaces_that_of_a_page(tmp_path: Path) -> None:
    """What stands around it stays, and doing it again changes nothing."""
    for page in (PAGE, None):
        done = quote(tmp_path, page or (tmp_path / "page.md").read_text())
        assert (done.returncode, done.stdout) == (0, "")
        text = (tmp_path / "page.md").read_text()
        assert text.startswith("# A page\n\n<!-- bench table -->\n\nA Processor")
        assert text.endswith("missed.\n\n<!-- /bench table -->\n\nAnd an end.\n")
        assert text.count("| a row ") == 1
        assert "an old table" not in text


@pytest.mark.parametrize(
    "page", ["# A page\n", PAGE + PAGE], ids=["without a place", "with two places"]
)
def test_a_page_without_one_place_for_a_table_stays(tmp_path: Path, page: str) -> None:
    """It is said on standard error."""
    done = quote(tmp_path, page)
    assert done.returncode == 1
    assert "page.md: expected one pair of" in done.stderr
    assert (tmp_path / "page.md").read_text() == page


def test_what_has_no_row_is_said() -> None:
    """Skipped benches are counted by reason; what others disturbed or was not run is named."""
    why = "nfstream is not installed: .venv/bin/pip install nfstream"
    without = [{"file": "f", "bench": str(n), "what": "skipped", "why": why} for n in range(2)]
    busy = [{"file": "bench_a", "other_cores": 0.7}, {"file": "bench_b", "other_cores": 0.1}]
    shown = markdown(
        document(without=without, files=busy, ended="the run was interrupted", not_run=["bench_z"])
    )
    assert f"2 benches skipped: {why}" in shown
    assert "Others were busy while these ran: bench_a (0.7 cores)." in shown
    assert "Incomplete: the run was interrupted; not run: bench_z." in shown
    assert "Nothing was measured." in shown


def test_a_trial_says_so() -> None:
    """A table of a run with --quick says that its figures mean nothing."""
    assert "mean nothing" in markdown(document(row("a"), quick=True))
    assert "mean nothing" not in markdown(document(row("a")))
