"""Build netlog's compiled module, its preload library, and the C library that wheels contain.

Everything else is in pyproject.toml. `python setup.py build_library --build-lib DIR` builds only
the C library, in DIR/netlog.
"""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build import build as build_all
from setuptools.command.build_ext import build_ext

# setuptools' copy of distutils: importing setuptools puts it under this name.
from distutils.ccompiler import new_compiler  # isort: skip
from distutils.sysconfig import customize_compiler  # isort: skip

if not sys.platform.startswith("linux"):
    sys.exit(f"netlog meters Linux TUN devices and cannot be built on {sys.platform}")

build = runpy.run_path("netlog/_build.py")
preload_compiler, preload_linker = build["preload_flags"]()
# This is not a Python module. The dynamic linker loads it into other programs, which bring glibc.
preload = Extension(
    "netlog._preload",
    sources=build["preload_sources"](),
    include_dirs=build["INCLUDES"],
    depends=build["headers"](),
    extra_compile_args=preload_compiler,
    extra_link_args=preload_linker,
    libraries=["pthread", "dl"],
    py_limited_api=True,
)

# The prefix is relative to the file itself, because a wheel can be unpacked anywhere.
PKG_CONFIG = """\
prefix=${{pcfiledir}}/../..
Name: netlog
Description: Counts packets and datagrams per connection, in lock-free tables
Version: {version}
Cflags: -I${{prefix}}/include
Libs: -L${{prefix}}/lib -lnetlog -pthread
"""


class BuildLibrary(Command):
    """netlog.h, the headers that it includes, a static library, and a file for pkg-config.

    An in-place build leaves them out: its users have csrc/.
    """

    description = "build the C library"
    user_options: ClassVar = [
        ("build-lib=", "b", "directory in which the package is assembled"),
        ("build-temp=", "t", "directory for object files"),
    ]
    editable_mode = False

    def initialize_options(self) -> None:
        """Set every option to unknown."""
        self.build_lib: str | None = None
        self.build_temp: str | None = None

    def finalize_options(self) -> None:
        """Take each option that was not given from the `build` command."""
        self.set_undefined_options(
            "build", ("build_lib", "build_lib"), ("build_temp", "build_temp")
        )
        self._root = Path(self.build_lib or "", "netlog")

    def _headers(self) -> dict[Path, Path]:
        headers = Path("csrc/include").glob("*.h")
        return {self._root / "include" / path.name: path for path in sorted(headers)}

    def run(self) -> None:
        """Compile the library, and add the headers and the pkg-config file."""
        if self.editable_mode:
            return
        compiler = new_compiler()
        customize_compiler(compiler)
        objects = compiler.compile(
            build["library_sources"](),
            output_dir=str(Path(self.build_temp or "", "library")),
            include_dirs=build["INCLUDES"],
            extra_postargs=build["LIBRARY_FLAGS"],
        )
        self.mkpath(str(self._root / "lib" / "pkgconfig"))
        self.mkpath(str(self._root / "include"))
        compiler.create_static_lib(objects, "netlog", output_dir=str(self._root / "lib"))
        for target, source in self._headers().items():
            self.copy_file(str(source), str(target))
        version = self.distribution.get_version()
        found = self._root / "lib" / "pkgconfig" / "netlog.pc"
        found.write_text(PKG_CONFIG.format(version=version))

    def get_outputs(self) -> list[str]:
        """The files that this command adds to a wheel."""
        made = ("lib/libnetlog.a", "lib/pkgconfig/netlog.pc")
        return [*(str(self._root / name) for name in made), *map(str, self._headers())]

    def get_output_mapping(self) -> dict[str, str]:
        """Which of these files is a copy of which source."""
        return {str(target): str(source) for target, source in self._headers().items()}

    def get_source_files(self) -> list[str]:
        """The files from which the library is built."""
        return [*build["library_sources"](), *build["headers"]()]


class BuildExtensions(build_ext):
    """The usual step. It leaves out the preload library unless the target's C library is glibc.

    The library hooks functions of glibc. The compiler knows the target, which need not be this
    system.
    """

    def build_extensions(self) -> None:
        """Compile what the target can load."""
        ask = ("-E", "-dM", "-include", "stdio.h", "-x", "c", "/dev/null")
        macros = subprocess.run(  # noqa: S603 - the compiler
            [*self.compiler.compiler_so, *ask], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        if "#define __GLIBC__ " not in macros:
            self.extensions.remove(preload)
        super().build_extensions()


class Build(build_all):
    """The usual build, followed by that of the C library."""

    sub_commands: ClassVar = [*build_all.sub_commands, ("build_library", None)]


setup(
    ext_modules=[preload],
    cffi_modules=["netlog/_build.py:ffi"],
    cmdclass={"build": Build, "build_ext": BuildExtensions, "build_library": BuildLibrary},
    # One wheel serves every CPython from 3.11 on, because the module uses only the limited API.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
