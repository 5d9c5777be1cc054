"""The platforms that wheels are built for."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["GLIBC_VERSION", "MUSL_VERSION", "TARGETS", "Target"]

GLIBC_VERSION = "2.28"
"""The oldest that numpy's current wheels run on, too. `getrandom` needs 2.25."""
MUSL_VERSION = "1.2"


@dataclass(frozen=True, slots=True)
class Target:
    """A processor and a C library."""

    machine: Literal["x86_64", "aarch64"]
    libc: Literal["glibc", "musl"]

    @property
    def triple(self) -> str:
        """As zig names it."""
        if self.libc == "glibc":
            return f"{self.machine}-linux-gnu.{GLIBC_VERSION}"
        return f"{self.machine}-linux-musl"

    @property
    def tag(self) -> str:
        """The platform tag of its wheels: PEP 600, PEP 656."""
        family, version = (
            ("manylinux", GLIBC_VERSION) if self.libc == "glibc" else ("musllinux", MUSL_VERSION)
        )
        return f"{family}_{version.replace('.', '_')}_{self.machine}"

    @property
    def libc_name(self) -> str:
        """What its programs say that they need."""
        return "libc.so.6" if self.libc == "glibc" else f"libc.musl-{self.machine}.so.1"


TARGETS = (
    Target("x86_64", "glibc"),
    Target("x86_64", "musl"),
    Target("aarch64", "glibc"),
    Target("aarch64", "musl"),
)
