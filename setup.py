"""Build netlog's one compiled module; the rest of the package stands in pyproject.toml."""

import sys

from setuptools import setup

if not sys.platform.startswith("linux"):
    sys.exit(f"netlog meters Linux TUN devices; it does not build on {sys.platform}")

setup(
    cffi_modules=["netlog/_build.py:ffi"],
    # One wheel for every CPython from 3.11 on: the module uses the limited API only.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
