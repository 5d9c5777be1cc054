"""The folders of csrc/: each includes, and calls, only what lies below it; the public names."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

import netlog
import netlog.sinks
import netlog.sources
import netlog.spool

ROOT = next(path for path in Path(__file__).parents if (path / "csrc").is_dir())
CSRC = ROOT / "csrc"

# From the bottom up; folders of one line know nothing of each other.
FLOORS = (
    ("base", "include"),
    ("packet",),
    ("gso", "prefixes"),
    ("table",),
    ("count",),
    ("meter", "rows"),
    ("capture", "io", "preload", "tap"),
    ("relay",),
    ("python",),
)
RANK = {folder: rank for rank, folders in enumerate(FLOORS) for folder in folders}
MOST_FILES = 12
"""At the top of csrc/ and netlog/: a folder that has more holds several ideas."""


def below(folder: str) -> set[str]:
    """The folders that a folder may use, itself included."""
    return {folder} | {other for other, rank in RANK.items() if rank < RANK[folder]}


def includes() -> list[tuple[Path, str]]:
    """Each file of the core, and what it includes of the core."""
    found = []
    for path in sorted(CSRC.glob("*/*.[ch]")):
        if path.parent.name != "selftest":
            names = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
            found += [(path, name) for name in names]
    return found


def folder_of(name: str) -> str:
    """The folder of an included file; the public headers are found without theirs."""
    folder, slash, _ = name.partition("/")
    return folder if slash else "include"


def test_every_folder_has_a_place() -> None:
    """No folder of csrc/ escapes the rule, and none of the rule is gone."""
    folders = {path.name for path in CSRC.iterdir() if path.is_dir()}
    assert folders == {*RANK, "selftest"}


def test_the_architecture_page_shows_the_rule() -> None:
    """Its table of folders has each one, from the bottom up."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page[page.index("| `csrc/` |") : page.index("`netlog/` is policy")]
    shown = [re.findall(r"`(\w+)/`", line.split("|")[1]) for line in table.splitlines()[2:-1]]
    listed = [folder for folders in shown for folder in folders]
    assert sorted(listed) == sorted({*RANK, "selftest"})
    ranks = [RANK[folder] for folder in listed if folder != "selftest"]
    assert ranks == sorted(ranks)


def test_includes_run_downwards() -> None:
    """A file includes what is in its own folder, or in one below."""
    listed = includes()
    assert len(listed) > 100
    wrong = [
        f"{path.relative_to(ROOT)} includes {name}"
        for path, name in listed
        if folder_of(name) not in below(path.parent.name)
    ]
    assert wrong == []


def test_includes_name_files_that_exist() -> None:
    """Each name is a path from csrc/, or a public header."""
    for path, name in includes():
        target = CSRC / name if "/" in name else CSRC / "include" / name
        assert target.is_file(), f"{path}: {name}"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The object files of each folder but python/, which needs Python to link."""
    out = tmp_path_factory.mktemp("objects")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    flags = ["-std=gnu11", "-O0", "-fPIC", "-pthread", f"-I{CSRC}", f"-I{CSRC / 'include'}"]
    made: dict[str, list[Path]] = {}
    for folder in sorted(set(RANK) - {"python"}):
        sources = sorted((CSRC / folder).glob("*.c"))
        if sources:
            (out / folder).mkdir()
            subprocess.run(
                [compiler, *flags, "-c", *map(str, sources)], check=True, cwd=out / folder
            )
            made[folder] = sorted((out / folder).glob("*.o"))
    return made


def test_calls_run_downwards(objects: dict[str, list[Path]], tmp_path: Path) -> None:
    """Each folder links with those below it alone: nothing is called that lies above or beside."""
    for folder in objects:
        used = [path for each in below(folder) for path in objects.get(each, [])]
        linked = subprocess.run(
            ["cc", "-shared", "-Wl,-z,defs", "-o", tmp_path / folder, *used, "-lpthread", "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert linked.returncode == 0, f"{folder}:\n{linked.stderr}"


@pytest.mark.parametrize("folder", ["csrc", "netlog"])
def test_a_folder_is_no_heap(folder: str) -> None:
    """What is built in place does not count."""
    names = [path.name for path in (ROOT / folder).iterdir() if path.is_file()]
    kept = [name for name in names if not name.startswith(("_core.", "_preload."))]
    assert len(kept) <= MOST_FILES


def test_public_names_are_the_committed_ones() -> None:
    """A name that goes, or comes, is a decision: public_names.txt is changed with it."""
    packages = (netlog, netlog.sinks, netlog.sources, netlog.spool)
    names = [f"{package.__name__}.{name}" for package in packages for name in package.__all__]
    header = "".join(path.read_text() for path in sorted((CSRC / "include").glob("*.h")))
    names += [f"C {name}" for name in set(re.findall(r"NETLOG_API [^;(]*?(netlog_\w+)\(", header))]
    assert sorted(names) == Path(__file__).with_name("public_names.txt").read_text().splitlines()
