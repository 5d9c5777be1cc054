"""Sources of Debian packages, as this machine's release came with them."""

import platform
import tarfile
from pathlib import Path

from process import WheelError, only, run

__all__ = ["DebianSources"]

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class DebianSources:
    """apt's lists of sources, in a folder, so that the machine's own lists stay as they are."""

    def __init__(self, folder: Path) -> None:
        """Fetch the lists.

        Raises:
            WheelError: apt failed, or this is not a Debian.
        """
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        entries = folder / "sources.list"
        signed = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
        places = run(
            *("apt-get", "indextargets", "Created-By: Packages"),
            *("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"),
        )
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        of_release = sorted({place for place in places.splitlines() if f" {release} " in place})
        entries.write_text("".join(f"deb-src{signed} {place}\n" for place in of_release))
        self._folder = folder
        self._options = [
            *("-o", f"Dir::Etc::SourceList={entries}", "-o", "Dir::Etc::SourceParts=/dev/null"),
            *("-o", f"Dir::State::Lists={lists}", "-o", "APT::Sandbox::User=root"),
        ]
        run("apt-get", *self._options, "-qq", "update")

    def first_of(self, packages: tuple[str, ...]) -> str:
        """The first of these source packages that this release has.

        Raises:
            WheelError: it has none of them.
        """
        for package in packages:
            if run("apt-cache", *self._options, "showsrc", "--only-source", package):
                return package
        raise WheelError(f"no source of {' or '.join(packages)} in apt's lists")

    def unpack(self, package: str) -> Path:
        """Fetch a package's original source, without Debian's changes, and unpack it.

        Raises:
            WheelError: apt failed.
        """
        folder = self._folder / package
        folder.mkdir()
        run("apt-get", *self._options, "-qq", "source", "--download-only", package, folder=folder)
        with tarfile.open(only(folder, "*.orig.tar.*[!c]")) as archive:
            archive.extractall(folder / "unpacked", filter="tar")
        return only(folder / "unpacked", "*")
