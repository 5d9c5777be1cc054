"""The sinks of a gateway's TOML file."""

import pytest

from netlog import ConfigError
from netlog.config.sinks import (
    FileSinkConfig,
    HecSinkConfig,
    HttpJsonSinkConfig,
    HttpSinkConfig,
    StdoutSinkConfig,
    sink_names,
)
from tests.unit.config.sink_configs import HEC, HTTP, HTTP_JSON, parsed

FILE = """
[[sinks]]
type = "file"
path = "/var/log/netlog/flows.jsonl"
rotate_bytes = "64MiB"
rotate_age_s = 86400
keep = 14
keep_bytes = "1 GiB"
compression = "zstd"
"""


def refused(sinks: str) -> str:
    """What is said about wrong sinks, without the file's name before it."""
    with pytest.raises(ConfigError) as caught:
        parsed(sinks)
    said = str(caught.value)
    assert said.startswith("gateway.toml: ")
    return said.removeprefix("gateway.toml: ")


def test_every_sink_is_read() -> None:
    """All keys of all types, with sizes in bytes."""
    config = parsed('[[sinks]]\ntype = "stdout"\n' + FILE + HTTP + HTTP_JSON + HEC)
    assert config.sinks == (
        StdoutSinkConfig(),
        FileSinkConfig(
            path="/var/log/netlog/flows.jsonl",
            rotate_bytes=64 << 20,
            rotate_age_s=86400.0,
            keep=14,
            keep_bytes=1 << 30,
            compression="zstd",
        ),
        HttpSinkConfig(
            url="https://logs.example.com/",
            collection="tailtraffic.log.example.com",
            private_id_file="/etc/netlog/private-id",
            copy_id_env="COPY_ID",
            spool="/var/spool/netlog/http",
            spool_bytes=1 << 20,
            ca_file="/etc/netlog/ca.pem",
        ),
        HttpJsonSinkConfig(
            url="http://127.0.0.1:8080/in?stream=flows",
            spool="/var/spool/netlog/json",
            spool_bytes=256 << 20,
            headers={"X-Tenant": "a"},
            header_files={"Authorization": "/etc/netlog/authorization"},
            header_env={"X-Key": "LOG_KEY"},
            body="array",
            compression="gzip",
        ),
        HecSinkConfig(
            url="https://splunk.example.com:8088",
            token_file="/etc/netlog/token",  # noqa: S106 - a path
            spool="/var/spool/netlog/hec",
            user="splunk",
        ),
    )
    assert sink_names(config.sinks) == [
        "standard output",
        "/var/log/netlog/flows.jsonl",
        "https://logs.example.com/c/tailtraffic.log.example.com",
        "http://127.0.0.1:8080/in",
        "https://splunk.example.com:8088",
    ]


def test_sinks_of_one_receiver_have_names_of_their_own() -> None:
    """Two ways to the same place are told apart by their spools."""
    config = parsed(HEC + HEC.replace("netlog/hec", "netlog/more"))
    assert sink_names(config.sinks) == [
        "https://splunk.example.com:8088 (/var/spool/netlog/hec)",
        "https://splunk.example.com:8088 (/var/spool/netlog/more)",
    ]


def changed(text: str, old: str, new: str) -> str:
    """A sink with one thing else."""
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        pytest.param(
            changed(FILE, '"64MiB"', '"64MB"'),
            "sinks[0].rotate_bytes: expected a number of bytes, or text such as '64MiB', got '64M",
            id="size",
        ),
        pytest.param(
            changed(FILE, '"64MiB"', "true"),
            "sinks[0].rotate_bytes: expected a number of bytes, or text such as '64MiB', got True",
            id="size-bool",
        ),
        pytest.param(
            changed(FILE, '"64MiB"', "0"),
            "sinks[0].rotate_bytes: expected at least 1 byte",
            id="size-zero",
        ),
        pytest.param(
            changed(FILE, '"64MiB"', '"9999999TiB"'),
            "sinks[0].rotate_bytes: expected at least 1 byte and at most 4096 TiB",
            id="size-huge",
        ),
        pytest.param(
            changed(FILE, "86400", "0"), "sinks[0].rotate_age_s: expected a number >= 1", id="age"
        ),
        pytest.param(
            changed(FILE, "14", "0"), "sinks[0].keep: expected a whole number >= 1", id="keep"
        ),
        pytest.param(
            changed(FILE, "14", '"14"'),
            "sinks[0].keep: expected a whole number, got a string",
            id="keep-text",
        ),
        pytest.param(
            changed(FILE, '"zstd"', '"gzip"'),
            "sinks[0].compression: expected 'none' or 'zstd', got 'gzip'",
            id="file-compression",
        ),
        pytest.param(
            '[[sinks]]\ntype = "file"\npath = "a"\nkeep = 1',
            "sinks[0].keep: expected only with rotate_bytes or rotate_age_s",
            id="keep-without-rotation",
        ),
        pytest.param(
            '[[sinks]]\ntype = "file"\npath = "a"\ncompression = "zstd"',
            "sinks[0].compression: expected only with rotate_bytes or rotate_age_s",
            id="compression-without-rotation",
        ),
        pytest.param(
            FILE + '[[sinks]]\ntype = "file"\npath = "/var/log/./netlog//flows.jsonl"',
            "sinks[1]: expected a unique value, but '/var/log/netlog/flows.jsonl' is also in "
            "sinks[0]",
            id="path-twice",
        ),
        pytest.param(
            changed(FILE, "/var/log/netlog/flows.jsonl", "/run/netlog//gateway"),
            "sinks[0].path: expected another path, this one belongs to the meter",
            id="path-of-the-meter",
        ),
        pytest.param(
            changed(HTTP, "/var/spool/netlog/http", "/run/netlog/gateway.spool/"),
            "sinks[0].spool: expected another path, this one belongs to the meter",
            id="spool-of-the-meter",
        ),
        pytest.param(
            changed(HTTP, "https://logs.example.com/", "logs.example.com"),
            "sinks[0].url: expected a URL such as https://logs.example.com",
            id="url",
        ),
        pytest.param(
            HTTP + "proxy = true\n",
            "sinks[0].proxy: expected false, or a URL such as http://proxy.example.com:3128",
            id="proxy-true",
        ),
        pytest.param(
            HTTP + 'proxy = "socks5://hidden"\n',
            "sinks[0].proxy: expected a proxy with http, such as http://proxy.example.com:3128, "
            "not socks5",
            id="proxy-scheme",
        ),
        pytest.param(
            HTTP + 'proxy = "http://user:hidden@proxy"\n',
            "sinks[0].proxy: expected a URL without user and password: see proxy_credentials_file",
            id="proxy-password",
        ),
        pytest.param(
            HTTP + 'proxy = false\nproxy_credentials_file = "/etc/netlog/proxy"\n',
            "sinks[0].proxy_credentials: expected only with the URL of a proxy in proxy",
            id="proxy-credentials-alone",
        ),
        pytest.param(
            HTTP + 'proxy = "p:1"\nproxy_credentials_file = "/a"\nproxy_credentials_env = "A"\n',
            "sinks[0].proxy_credentials_file: expected either this or proxy_credentials_env, got "
            "both",
            id="proxy-credentials-twice",
        ),
        pytest.param(
            changed(HTTP, "https://logs", "ftp://logs"),
            "sinks[0].url: expected a URL such as https://logs.example.com",
            id="url-scheme",
        ),
        pytest.param(
            changed(HTTP, "https://logs", "https://me:secret@logs"),
            "sinks[0].url: expected a URL without user name and password",
            id="url-password",
        ),
        pytest.param(
            changed(HTTP, 'spool = "/var/spool/netlog/http"\n', ""),
            "sinks[0].spool: expected a value, but the key is missing",
            id="no-spool",
        ),
        pytest.param(
            changed(HTTP, "1048576", "1048575"),
            "sinks[0].spool_bytes: expected at least 1048576 (1MiB), got 1048575",
            id="spool-small",
        ),
        pytest.param(
            HTTP + changed(HEC, "/var/spool/netlog/hec", "/var/spool/netlog/http/"),
            "sinks[1].spool: expected a unique value, but '/var/spool/netlog/http' is also in "
            "sinks[0].spool",
            id="spool-twice",
        ),
        pytest.param(
            HTTP + 'private_id_env = "X"',
            "sinks[0].private_id_file: expected either this or private_id_env, got both",
            id="private-id-both",
        ),
        pytest.param(
            changed(HTTP, "private_id_file", "copy_id_file"),
            "sinks[0].private_id_file: expected either this or private_id_env, got neither",
            id="private-id-neither",
        ),
        pytest.param(
            HTTP + 'copy_id_file = "X"',
            "sinks[0].copy_id_file: expected either this or copy_id_env, got both",
            id="copy-id-both",
        ),
        pytest.param(
            changed(HTTP, '"COPY_ID"', '"0f1e2d3c 4"'),
            "sinks[0].copy_id_env: expected the name of an environment variable",
            id="environment-name",
        ),
        pytest.param(
            changed(HEC, 'token_file = "/etc/netlog/token"', ""),
            "sinks[0].token_file: expected either this or token_env, got neither",
            id="token",
        ),
        pytest.param(
            HEC + 'token = "secret"',
            "sinks[0].token: no such key; expected type, url, spool, spool_bytes, ca_file, proxy, "
            "proxy_credentials_file, proxy_credentials_env, token_file, token_env, user, "
            "compression",
            id="unknown-key",
        ),
        pytest.param(
            changed(HTTP_JSON, '"array"', '"lines"'),
            "sinks[0].body: expected 'array' or 'ndjson', got 'lines'",
            id="body",
        ),
        pytest.param(
            changed(HTTP_JSON, "X-Tenant =", '"X Tenant" ='),
            "sinks[0].headers: expected the name of an HTTP header, got 'X Tenant'",
            id="header-name",
        ),
        pytest.param(
            changed(HTTP_JSON, "X-Tenant", "Content-Length"),
            "sinks[0].headers.Content-Length: expected another header, netlog sets this one itself",
            id="header-of-ours",
        ),
        pytest.param(
            changed(HTTP_JSON, "X-Tenant", "x-key"),
            "sinks[0].header_env.X-Key: expected each header once, but it is also in headers.x-key",
            id="header-twice",
        ),
        pytest.param(
            changed(HTTP_JSON, '"a"', '"a\\r\\nX-Other: b"'),
            "sinks[0].headers.X-Tenant: expected printable ASCII",
            id="header-injection",
        ),
        pytest.param(
            changed(HTTP_JSON, '"a"', "1"),
            "sinks[0].headers[...]: expected a string, got a whole number",
            id="header-type",
        ),
    ],
)
def test_a_wrong_sink_is_named_by_key_and_expectation(sinks: str, said: str) -> None:
    """The error says which key, and what was expected there, and quotes no secret."""
    text = refused(sinks)
    assert text.startswith(said)
    assert "secret" not in text
    assert "0f1e" not in text
