"""The handshake of writers and poller in a model: right as it is, wrong without any one order."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "swap.pml"
MEMORY_MIB = 3900

MUTATIONS = (
    "LEAVE_RELAXED",
    "EPOCH_RELAXED",
    "LOOK_FIRST",
    "DRAIN_FIRST",
    "CLEAR_LATE",
    "DRAIN_BUSY",
)
"""Of both forms of the handshake."""

pytestmark = pytest.mark.skipif(not shutil.which("spin"), reason="needs spin")


def verify(folder: Path, *defined: str) -> str:
    """Search all states; return what the verifier prints."""
    defines = [f"-D{name}" for name in defined]
    subprocess.run(["spin", *defines, "-a", MODEL], cwd=folder, check=True, capture_output=True)
    options = ["-w", "-O2", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}"]
    subprocess.run(["cc", *options, "-o", "pan", "pan.c"], cwd=folder, check=True)
    done = subprocess.run(
        ["./pan", "-m100000"], cwd=folder, check=True, capture_output=True, text=True
    )
    # A search that ended early proves nothing.
    assert "max search depth too small" not in done.stdout
    assert "memory limit" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("form", [(), ("RELY",)], ids=["plain", "barriers"])
def test_every_count_is_drained_once(tmp_path: Path, form: tuple[str, ...]) -> None:
    """In every interleaving of two writers with two brackets each, and a poller."""
    found = verify(tmp_path, *form)
    assert "errors: 0" in found
    assert "Search not completed" not in found
    assert "unreached in proctype" in found  # it came to the end, and looked at all


@pytest.mark.parametrize(
    "defined",
    [
        ("OPEN_RELEASE",),
        ("RELY", "NO_BARRIER"),
        ("RELY", "OPEN_RELAXED"),
        *((mutation,) for mutation in MUTATIONS),
        *(("RELY", mutation) for mutation in MUTATIONS),
    ],
    ids=" ".join,
)
def test_no_order_is_more_than_is_needed(tmp_path: Path, defined: tuple[str, ...]) -> None:
    """Without any one of them, spin finds a count that is lost or doubled."""
    found = verify(tmp_path, *defined)
    assert "errors: 1" in found
    assert "assertion violated (drained==counted)" in found


def test_every_mutation_is_tried() -> None:
    """Those that the model has."""
    head = MODEL.read_text().partition("#ifndef")[0]
    named = {line.split()[1] for line in head.splitlines() if line.startswith(" *  ")}
    assert named == {*MUTATIONS, "OPEN_RELEASE", "NO_BARRIER", "OPEN_RELAXED"}
