"""The C half of the benches: bench/*.c with the core, compiled as setup.py compiles the core."""

import importlib.util
import shutil
import sys
from typing import Any

from cffi import FFI

from bench import BENCH, RESULTS
from bench.compiling import SOURCES, build_program, digest
from netlog._build import INCLUDES, ROOT, compile_flags

__all__ = ["BENCH", "RESULTS", "build_program", "ffi", "lib"]


def _load() -> Any:  # noqa: ANN401 - cffi's modules have no type
    """Import the module; build it first if these sources have no build yet."""
    name = "_bench_" + digest()
    folder = RESULTS / name
    built = sorted(folder.glob(f"{name}*.so"))
    if not built:
        ffi = FFI()
        ffi.cdef((BENCH / "bench.cdef").read_text())
        compiler, linker = compile_flags()
        ffi.set_source(
            name,
            '#include "bench.h"',
            sources=[str(path) for path in SOURCES],
            include_dirs=[str(BENCH), *(str(ROOT / folder) for folder in INCLUDES)],
            extra_compile_args=compiler,
            extra_link_args=linker,
            libraries=["pthread"],
            py_limited_api=True,
        )
        for old in RESULTS.glob("_bench_*"):
            shutil.rmtree(old)
        ffi.compile(tmpdir=str(folder))
        built = sorted(folder.glob(f"{name}*.so"))
    spec = importlib.util.spec_from_file_location(name, built[0])
    if spec is None or spec.loader is None:
        sys.exit(f"bench: {built[0]}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_module = _load()
ffi: Any = _module.ffi
lib: Any = _module.lib
