"""Build netlog's compiled module and its preload library; the rest stands in pyproject.toml."""

import platform
import runpy
import sys

from setuptools import Extension, setup

if not sys.platform.startswith("linux"):
    sys.exit(f"netlog meters Linux TUN devices; it does not build on {sys.platform}")

build = runpy.run_path("netlog/_build.py")
# No module: a library that the dynamic linker loads into other programs, which bring glibc.
preload = Extension(
    "netlog._preload",
    sources=build["preload_sources"](),
    include_dirs=["csrc"],
    depends=build["headers"](),
    extra_compile_args=build["PRELOAD_FLAGS"],
    extra_link_args=["-O3", "-flto", "-Wl,--as-needed", "-Wl,-z,defs", "-Wl,-z,now"],
    libraries=["pthread", "dl"],
    py_limited_api=True,
)

setup(
    ext_modules=[preload] if platform.libc_ver()[0] == "glibc" else [],
    cffi_modules=["netlog/_build.py:ffi"],
    # One wheel for every CPython from 3.11 on: the module uses the limited API only.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
