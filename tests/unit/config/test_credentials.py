"""netlog.config.credentials: secrets from files and the environment, and nowhere to be seen."""

import logging
from pathlib import Path

import pytest

from netlog import ConfigError
from netlog.config.credentials import read_credentials
from tests.unit.config.sink_configs import HEC, HTTP, HTTP_JSON, parsed


def test_secrets_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line break at the end of a file is not part of it; nothing of it is in a repr."""
    for name, text in (("private-id", "5ecre7\n"), ("authorization", "Bearer 5ecre7\r\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "token").write_text("5ecre7")
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("COPY_ID", "5ecre7-copy")
    monkeypatch.setenv("LOG_KEY", "5ecre7-key")
    sinks = (HTTP + HTTP_JSON + HEC).replace("/etc/netlog", str(tmp_path))
    found = read_credentials(parsed(sinks), "gateway.toml")
    assert (found[0].private_id, found[0].copy_id) == ("5ecre7", "5ecre7-copy")
    assert dict(found[1].headers) == {
        "X-Tenant": "a",
        "Authorization": "Bearer 5ecre7",
        "X-Key": "5ecre7-key",
    }
    assert found[2].token == "5ecre7"  # noqa: S105 - made up
    assert "5ecre7" not in repr(found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected a readable file: No such file or directory"),
        (b"", "expected a secret, got nothing"),
        (b"\n", "expected a secret, got nothing"),
        (b"one\ntwo\n", "expected one line of printable ASCII"),
        ("gehe\xedm".encode(), "expected one line of printable ASCII"),
        (b"\xff\xfe", "expected a file with one line of text"),
        (b"x" * 65537, "expected a file of at most 65536 bytes"),
    ],
    ids=["missing", "empty", "blank", "two-lines", "not-ascii", "binary", "long"],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The error has the file's name and the key, and not what is in it."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    config = parsed(HEC.replace("/etc/netlog", str(tmp_path)))
    with pytest.raises(ConfigError) as caught:
        read_credentials(config, "gateway.toml")
    assert str(caught.value) == f"gateway.toml: sinks[0].token_file: {said}"


def test_a_variable_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the key and the variable."""
    monkeypatch.delenv("LOG_TOKEN", raising=False)
    config = parsed(HEC.replace('token_file = "/etc/netlog/token"', 'token_env = "LOG_TOKEN"'))
    with pytest.raises(ConfigError, match=r"sinks\[0\]\.token_env: .* LOG_TOKEN to be set"):
        read_credentials(config, "gateway.toml")


def test_certificates_must_be_there(tmp_path: Path) -> None:
    """A missing file of certificates is found before anything starts."""
    config = parsed(HEC + f'ca_file = "{tmp_path}/ca.pem"')
    with pytest.raises(ConfigError, match=r"sinks\[0\]\.ca_file: expected a readable file"):
        read_credentials(config, "gateway.toml")


def test_a_secret_that_others_can_read_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what to do about it, once for each file."""
    (tmp_path / "token").write_text("5ecre7")
    (tmp_path / "token").chmod(0o644)
    config = parsed(HEC.replace("/etc/netlog", str(tmp_path)))
    with caplog.at_level(logging.WARNING, logger="netlog"):
        read_credentials(config, "gateway.toml")
        (tmp_path / "token").chmod(0o640)
        read_credentials(config, "gateway.toml")
    assert [record.message for record in caplog.records] == [
        f"gateway.toml: sinks[0].token_file: readable by all users: run chmod o= {tmp_path}/token"
    ]


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://logs.example.com", 1),
        ("http://192.0.2.1:8088", 1),
        ("http://127.0.0.1:8088", 0),
        ("http://[::1]:8088", 0),
        ("http://localhost:8088", 0),
        ("https://logs.example.com", 0),
    ],
)
def test_a_secret_in_the_clear_is_a_warning(
    url: str, warned: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this machine may be spoken to without encryption, and nothing said about it."""
    monkeypatch.setenv("LOG_TOKEN", "5ecre7")
    sink = HEC.replace('token_file = "/etc/netlog/token"', 'token_env = "LOG_TOKEN"')
    with caplog.at_level(logging.WARNING, logger="netlog"):
        read_credentials(parsed(sink.replace("https://splunk.example.com:8088", url)), "a.toml")
    said = "a.toml: sinks[0].url: http encrypts neither messages nor secrets: use https"
    assert [record.message for record in caplog.records] == [said] * warned


def test_a_proxy_gets_its_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file or a variable; nothing of them is in a repr or in an error."""
    (tmp_path / "proxy").write_text("me:5ecre7\n")
    (tmp_path / "token").write_text("token")
    monkeypatch.setenv("PROXY_PASSWORD", "5ecre7")
    hec = HEC.replace("/etc/netlog", str(tmp_path)) + 'proxy = "http://proxy:3128"\n'
    from_file = parsed(f'{hec}proxy_credentials_file = "{tmp_path}/proxy"\n')
    (found,) = read_credentials(from_file, "gateway.toml")
    assert (found.token, found.proxy) == ("token", "me:5ecre7")
    assert "5ecre7" not in repr(found)
    wrong = parsed(hec + 'proxy_credentials_env = "PROXY_PASSWORD"\n')
    with pytest.raises(ConfigError) as caught:
        read_credentials(wrong, "gateway.toml")
    assert str(caught.value) == "gateway.toml: sinks[0].proxy_credentials: expected user:password"


def test_a_variable_that_is_not_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP_PROXY would be taken by others."""
    monkeypatch.setenv("LOG_KEY", "key")
    monkeypatch.setenv("HTTP_PROXY", "http://hidden")
    monkeypatch.delenv("http_proxy", raising=False)
    sink = HTTP_JSON.replace("127.0.0.1", "192.0.2.1")
    sink = sink.replace('{ Authorization = "/etc/netlog/authorization" }', "{}")
    read_credentials(parsed(sink), "gateway.toml")
    said = [each.getMessage() for each in caplog.records]
    assert said[-1] == (
        "gateway.toml: sinks[0].proxy: HTTP_PROXY is not used: set http_proxy, in lower case"
    )
    read_credentials(parsed(sink + "proxy = false\n"), "gateway.toml")
    assert not any("HTTP_PROXY" in each.getMessage() for each in caplog.records[2:])
