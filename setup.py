"""Build netlog's compiled module, its preload library, and the C library that wheels bring.

The rest stands in pyproject.toml. `python setup.py build_library --build-lib DIR` makes the C
library alone, in DIR/netlog.
"""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build import build as build_all
from setuptools.command.build_ext import build_ext

# setuptools' own, under the name that it gives it.
from distutils.ccompiler import new_compiler  # isort: skip
from distutils.sysconfig import customize_compiler  # isort: skip

if not sys.platform.startswith("linux"):
    sys.exit(f"netlog meters Linux TUN devices; it does not build on {sys.platform}")

build = runpy.run_path("netlog/_build.py")
preload_compiler, preload_linker = build["preload_flags"]()
# No module: a library that the dynamic linker loads into other programs.
preload = Extension(
    "netlog._preload",
    sources=build["preload_sources"](),
    include_dirs=["csrc"],
    depends=build["headers"](),
    extra_compile_args=preload_compiler,
    extra_link_args=preload_linker,
    libraries=["pthread", "dl"],
    py_limited_api=True,
)

# Found from where it lies: a wheel is unpacked anywhere.
PKG_CONFIG = """\
prefix=${{pcfiledir}}/../..
Name: netlog
Description: Counts packets and datagrams per connection, in lock-free tables
Version: {version}
Cflags: -I${{prefix}}/include
Libs: -L${{prefix}}/lib -lnetlog -pthread
"""


class BuildLibrary(Command):
    """netlog.h and what it needs, as a static library with a file for pkg-config.

    Left out of a build in place, whose users have csrc/.
    """

    description = "build the C library"
    user_options: ClassVar = [
        ("build-lib=", "b", "where the package is put together"),
        ("build-temp=", "t", "where object files go"),
    ]
    editable_mode = False

    def initialize_options(self) -> None:
        """Nothing is known yet."""
        self.build_lib: str | None = None
        self.build_temp: str | None = None

    def finalize_options(self) -> None:
        """What the whole build has, unless it was said."""
        self.set_undefined_options(
            "build", ("build_lib", "build_lib"), ("build_temp", "build_temp")
        )
        self._root = Path(self.build_lib or "", "netlog")

    def _headers(self) -> dict[Path, Path]:
        return {self._root / "include" / name: Path("csrc", name) for name in build["API_HEADERS"]}

    def run(self) -> None:
        """Compile, and put headers and pkg-config's file beside it."""
        if self.editable_mode:
            return
        compiler = new_compiler()
        customize_compiler(compiler)
        objects = compiler.compile(
            build["library_sources"](),
            output_dir=str(Path(self.build_temp or "", "library")),
            include_dirs=["csrc"],
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
        """The files that a wheel has by it."""
        made = ("lib/libnetlog.a", "lib/pkgconfig/netlog.pc")
        return [*(str(self._root / name) for name in made), *map(str, self._headers())]

    def get_output_mapping(self) -> dict[str, str]:
        """Which of them are copies of which source."""
        return {str(target): str(source) for target, source in self._headers().items()}

    def get_source_files(self) -> list[str]:
        """What it is made of."""
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
    """The usual build, with the C library."""

    sub_commands: ClassVar = [*build_all.sub_commands, ("build_library", None)]


setup(
    ext_modules=[preload],
    cffi_modules=["netlog/_build.py:ffi"],
    cmdclass={"build": Build, "build_ext": BuildExtensions, "build_library": BuildLibrary},
    # One wheel for every CPython from 3.11 on: the module uses the limited API only.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
