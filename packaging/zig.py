"""zig as the C compiler: one compiler for every processor and C library, from a package of PyPI.

It brings the headers of each C library and, for glibc, the symbol versions of each release, so what
it links runs on that release and later ones whatever this machine has.
"""

import os
import shutil
import sysconfig
from pathlib import Path

import ziglang
from targets import Target

__all__ = ["Zig"]

ZIG = Path(ziglang.__file__).with_name("zig")
FLAGS = ("-fomit-frame-pointer", "-fno-sanitize=undefined")
"""zig keeps frame pointers (7 % more instructions for single packets), and calls a runtime that
only zig has where behaviour is undefined."""
HOOK_FLAGS = ("-flto", "-O2", "-falign-functions=64")
"""For the hooks of `netlog exec`. They run right after system calls, which leave little of them in
the caches, so few and whole lines count: a read of a TUN costs 16 ns more than a bare one, at -O3
24 ns, and with gcc's code 14.5 ns."""

# setuptools asks for -flto=auto where that links: for the hooks. zig knows only -flto.
COMPILER = """\
#!/bin/sh
for argument; do
	shift
	case $argument in
	-flto=auto) set -- "$@" {hook_flags} ;;
	*) set -- "$@" "$argument" ;;
	esac
done
export ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}
exec {zig} cc -target {triple} {flags} "$@"
"""


class Zig:
    """The compiler for one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Put a script that calls zig, and Python's headers, into a folder of the target's own."""
        self.compiler = folder / "cc"
        folder.mkdir(parents=True, exist_ok=True)
        self.compiler.write_text(
            COMPILER.format(
                zig=ZIG,
                triple=target.triple,
                flags=" ".join(FLAGS),
                hook_flags=" ".join(HOOK_FLAGS),
                cache=folder.parent / "zig-cache",
            )
        )
        self.compiler.chmod(0o755)
        self._headers = folder / "python"
        shutil.copytree(sysconfig.get_path("include"), self._headers, dirs_exist_ok=True)
        shutil.copy(_pyconfig(), self._headers / "pyconfig.h")
        self._platform = f"linux-{target.machine}"

    def environment(self) -> dict[str, str]:
        """This process's, with zig as the compiler, and without what is said to netlog's build."""
        return {
            **{name: said for name, said in os.environ.items() if not name.startswith("NETLOG_")},
            "CC": str(self.compiler),
            "AR": f"{ZIG} ar",
        }

    def python_environment(self) -> dict[str, str]:
        """The same for setuptools, which then builds for the target's platform.

        Python's headers are copied: where Debian keeps them, this machine's C library lies beside
        them. pyconfig.h is this machine's, also for another target. On 64-bit Linux it differs in
        names that the limited API does not use (compared: Debian's for amd64 and arm64, 3.11).
        """
        return self.environment() | {
            "LDSHARED": f"{self.compiler} -shared -Wl,--strip-debug",
            "CFLAGS": f"-I{self._headers}",
            "_PYTHON_HOST_PLATFORM": self._platform,
        }


def _pyconfig() -> Path:
    """The file with the definitions; Debian has one a processor, behind one that includes it."""
    given = Path(sysconfig.get_config_h_filename())
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    own = given.parent.parent / multiarch / given.parent.name / given.name
    return own if own.exists() else given
