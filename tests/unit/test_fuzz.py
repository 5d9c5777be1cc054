"""The fuzzers' own: every harness has a corpus, and runs what it begins with."""

import subprocess
import sys
import zipfile

import pytest

from fuzz.__main__ import HERE, core_harnesses, parser_harnesses
from tests.support import ROOT

RUN = """
import importlib, sys, zipfile
harness = importlib.import_module("fuzz.parsers." + sys.argv[1])
for seed in harness.seeds():
    harness.fuzz(seed)
with zipfile.ZipFile(sys.argv[2]) as archive:
    for name in archive.namelist():
        harness.fuzz(archive.read(name))
harness.fuzz(b"")
"""


@pytest.mark.parametrize("name", [*core_harnesses(), *parser_harnesses()])
def test_every_harness_has_a_corpus(name: str) -> None:
    """A small one, whose inputs are whole."""
    path = HERE / "corpus" / f"{name}.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()
    assert path.stat().st_size < 50_000


@pytest.mark.parametrize("name", parser_harnesses())
def test_the_corpus_has_no_fault(name: str) -> None:
    """What was found once is not found again, without the fuzzer too."""
    corpus = HERE / "corpus" / f"{name}.zip"
    command = [sys.executable, "-c", RUN, name, str(corpus)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
