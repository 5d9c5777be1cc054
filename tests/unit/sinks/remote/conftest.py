"""Spools in memory, which sync after every message, and a certificate."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(fast_dir: Path) -> Path:
    """As pytest's, but in memory."""
    return fast_dir


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signed itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate; to install it: apt install openssl")
    directory = tmp_path_factory.mktemp("tls")
    files = (directory / "certificate.pem", directory / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *names, "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files
