"""What is missing for a bench is said, with what to install."""

from pathlib import Path

import pytest

from bench import peers


def test_everything_that_can_be_missing_can_be_installed() -> None:
    """Each peer has its package, or says where it comes from."""
    for name in ("go", *peers.PROGRAMS, *peers.LIBRARIES, *peers.MODULES):
        assert "not known" not in peers.installs(name)


def test_a_missing_program_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench that wants it is skipped, and a run says so first, with the package."""
    monkeypatch.setattr(peers, "PATH", str(tmp_path))
    wanted = "nfpcapd is not installed: sudo apt install nfdump"
    with pytest.raises(pytest.skip.Exception, match=wanted):
        peers.tool_or_skip("nfpcapd")
    assert wanted in peers.missing()
    assert "libdpdk is not installed: sudo apt install libdpdk-dev" in peers.missing()


def test_a_program_that_is_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is given, and it is not missing."""
    program = tmp_path / "nfpcapd"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(peers, "PATH", str(tmp_path))
    assert peers.tool_or_skip("nfpcapd") == str(program)
    assert not [line for line in peers.missing() if line.startswith("nfpcapd")]
