"""A run of benches: what was measured is kept, whatever happens to the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import BENCH, child, run
from bench.machine import Usage, describe
from tests.support.namespace import wait_for

GOOD = """
from bench.harness import Row
import pytest
@pytest.mark.parametrize("n", [1, 2], ids=["one", "two"])
def test_good(benchmark, n):
    benchmark.pedantic(lambda: None, rounds=1)
    Row(f"good {n}", float(n), "ns").save(benchmark)
"""
OTHERS = """
import os, pytest, time
def test_skipped(benchmark):
    pytest.skip("no peer")
def test_failing(benchmark):
    from bench.harness import Row
    benchmark.pedantic(lambda: None, rounds=1)
    Row("measured, but wrong", 1.0, "ns").save(benchmark)
    assert 1 == 2
def test_without(benchmark):
    benchmark.pedantic(lambda: None, rounds=1)
"""
DYING = GOOD + "\ndef test_dies(benchmark):\n    import os\n    os._exit(3)\n"
HANGING = (
    GOOD
    + """
def test_hangs(benchmark):
    import os, time
    from pathlib import Path
    Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(600)
"""
)


def plan(folder: Path, **files: str) -> run.Plan:
    """Files of benches in a folder of their own."""
    for name, text in files.items():
        (folder / f"bench_{name}.py").write_text(text)
    return run.Plan("bench", folder=folder, logs=folder / "log")


def rows(document: dict[str, Any]) -> list[str]:
    """The names of what was measured."""
    return [row["row"] for row in document["rows"]]


def test_a_run_has_every_row_and_every_reason(tmp_path: Path) -> None:
    """Rows come in order; skipped and failed benches are named with why, and have no row."""
    kept: list[dict[str, Any]] = []
    document = run.run(plan(tmp_path, a=GOOD, b=OTHERS), kept.append)
    assert rows(document) == ["good 1", "good 2"]
    why = {(each["bench"], each["what"]): each["why"] for each in document["without"]}
    assert why["test_skipped", "skipped"] == "no peer"
    assert why["test_failing", "failed"] == "assert 1 == 2"
    assert why["test_without", "failed"] == "it has saved no row"
    assert len(why) == 3
    assert [rows(each) for each in kept] == [["good 1", "good 2"]] * 2
    assert [each["rows"] for each in document["files"]] == [2, 0]
    assert document["ended"] == ""
    assert document["rows"][0]["command"] == "python -m bench"
    json.dumps(document)


def test_a_file_that_dies_loses_what_it_has_not_measured(tmp_path: Path) -> None:
    """What was measured before stays, the bench in which it died is named, the next file runs."""
    document = run.run(plan(tmp_path, a=DYING, b=GOOD), lambda _: None)
    assert rows(document) == ["good 1", "good 2"] * 2
    (missing,) = document["without"]
    assert missing["bench"] == "test_dies"
    assert "exit status 3" in missing["why"]


class Clock:
    """The time of a machine, which jumps when it is told to."""

    def __init__(self) -> None:
        self.jumped_s = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self.jumped_s


def test_a_file_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its bound; what it measured before stays, and the next file runs."""
    clock = Clock()
    monkeypatch.setattr(child, "time", clock)

    def run_file(path: Path, log: Path, settings: dict[str, str], bound_s: float, told: Any) -> str:  # noqa: ANN401 - of bench.child
        def seen(line: dict[str, Any]) -> None:
            told(line)
            if line.get("begun") == "test_hangs":
                clock.jumped_s += bound_s

        return child.run_file(path, log, settings, bound_s, seen)

    monkeypatch.setattr(run, "run_file", run_file)
    document = run.run(plan(tmp_path, a=HANGING, b=GOOD), lambda _: None)
    assert rows(document) == ["good 1", "good 2"] * 2
    assert document["without"][-1]["why"] == "not finished in time"
    assert document["without"][-1]["bench"] == "test_hangs"


def test_only_some_benches(tmp_path: Path) -> None:
    """-k chooses among them, as pytest's."""
    chosen = plan(tmp_path, a=GOOD)
    document = run.run(
        run.Plan("bench", ("a",), "one", folder=chosen.folder, logs=chosen.logs), lambda _: None
    )
    assert rows(document) == ["good 1"]
    assert document["command"] == "python -m bench -k 'one' a"


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    """The rows so far are in a file beside the last whole run's, which stays; status 130."""
    plan(tmp_path, a=HANGING, b=GOOD)
    whole = tmp_path / "bench.json"
    whole.write_text("the last whole run")
    told = tmp_path / "bench_a.pid"
    code = (
        "import sys; from pathlib import Path; from bench.run import Plan; "
        "from bench.__main__ import measure; "
        f"folder = Path({str(tmp_path)!r}); "
        "plan = Plan('bench', folder=folder, logs=folder / 'log'); "
        "sys.exit(130 if measure(plan, folder / 'bench.json')['ended'] else 0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=BENCH.parent,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        while "good 2" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        wait_for(lambda: told.exists() and told.read_text() != "", "the bench hangs")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said += process.stderr.read()
        assert process.wait(60) == 130
    assert not Path("/proc", told.read_text()).exists()
    assert "2 rows are kept in" in said
    document = json.loads((tmp_path / "bench.part.json").read_text())
    assert rows(document) == ["good 1", "good 2"]
    assert document["not_run"] == ["the rest of bench_a", "bench_b"]
    assert whole.read_text() == "the last whole run"


def test_the_machine_is_described() -> None:
    """Turbo, governor and stolen time are there, and say `unknown` where nothing says it."""
    assert {"cpu", "cores", "turbo", "governor", "kernel"} <= describe().keys()
    begun = Usage.now()
    spent = time.process_time()
    while time.process_time() - spent < 0.3:
        sum(range(1000))
    cores = Usage.now().cores_since(begun)
    # Rounded, and on average over a time that others may have had most of.
    assert (cores["own_cores"] + 0.01) * (cores["seconds"] + 0.1) > 0.3
    assert cores["own_cores"] <= (os.cpu_count() or 1) + 0.1
    assert cores.keys() == {"seconds", "own_cores", "other_cores", "steal_cores"}
