"""netlog.gateways.sinks: the sinks of a configuration, all or none."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netlog import ConfigError
from netlog.config.credentials import read_credentials
from netlog.config.file import parse_config
from netlog.config.relay import RelayConfig
from netlog.gateways.sinks import open_sinks, wrong_sinks
from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import (
    DurableSink,
    FileSink,
    PeriodId,
    Sink,
    SinkGroup,
    StreamSink,
)
from tests.support import ROOT
from tests.support.namespace import wait_for

PRIVATE_ID = "a8" + "5c" * 30 + "7f"
NODE = """
[node]
id = "a"
[tun]
name = "tun0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:1"
"""
HTTP = """
[[sinks]]
type = "http"
url = "http://127.0.0.1:9"
collection = "flows.example.com"
private_id_file = "private-id"
spool = "spool"
"""


def check_sinks(*arguments: Any) -> None:  # noqa: ANN401 - as they are passed on
    """Raise the first error that is found without opening anything."""
    for wrong in wrong_sinks(*arguments):
        raise ConfigError(wrong)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    Path("private-id").write_text(f"{PRIVATE_ID}\n")
    Path("private-id").chmod(0o600)


def parsed(text: str) -> RelayConfig:
    """A configuration."""
    return parse_config(text, "gateway.toml", RelayConfig)


def opened(text: str) -> dict[str, Sink]:
    """The sinks of a configuration."""
    config = parsed(text)
    return open_sinks(config, read_credentials(config, "gateway.toml"), "gateway.toml")


def file_sink(name: str, more: str = "") -> str:
    """A file of a configuration."""
    return f'[[sinks]]\ntype = "file"\npath = "{name}"\n{more}\n'


def message(number: int) -> Message:
    """A message that says which one it is."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 1, number, 0, 0)
    return Message(f"n{number}", number, number, virtual_traffic=flow_array([row]))


def names(folder: str = ".") -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def test_each_type_has_its_sink() -> None:
    """Remote ones are durable, local ones are not without a meter in a file."""
    hec = '[[sinks]]\ntype = "hec"\nurl = "http://127.0.0.1:9"\ntoken_env = "HOME"\nspool = "b"\n'
    json = '[[sinks]]\ntype = "http-json"\nurl = "http://127.0.0.1:9/a/"\nspool = "c"\n'
    sinks = opened(NODE + '[[sinks]]\ntype = "stdout"\n' + file_sink("f") + HTTP + hec + json)
    kinds = {name: isinstance(sink, DurableSink) for name, sink in sinks.items()}
    assert kinds == {
        "standard output": False,
        "f": False,
        "http://127.0.0.1:9/c/flows.example.com": True,
        "http://127.0.0.1:9": True,
        "http://127.0.0.1:9/a": True,
    }
    assert isinstance(sinks["standard output"], StreamSink)
    group = SinkGroup(sinks)
    assert set(group.counters()) == set(kinds)
    group.close()


def test_a_sink_that_can_not_be_had_closes_the_others() -> None:
    """Neither a lock nor a thread nor a descriptor is left."""

    def held() -> tuple[int, int]:
        return len(names("/proc/self/fd")), threading.active_count()

    before = held()
    with pytest.raises(FileNotFoundError):
        opened(NODE + file_sink("f") + HTTP + file_sink("missing/f"))
    for sink in opened(NODE + file_sink("f") + HTTP).values():
        sink.close()
    Path("spool").rename("aside")
    Path("spool").touch()
    with pytest.raises(NotADirectoryError):
        opened(NODE + file_sink("f") + HTTP)
    assert held() == before


@pytest.mark.parametrize("ready", [check_sinks, open_sinks])
def test_a_wrong_private_id_is_named(ready: Callable[..., object]) -> None:
    """By check and by run: the file, the key, and nothing of the id."""
    Path("private-id").write_text("5ecre7")
    config = parsed(NODE + HTTP)
    credentials = read_credentials(config, "gateway.toml")
    with pytest.raises(ConfigError, match=r"^gateway\.toml: sinks\[0\]\.private_id: ") as caught:
        ready(config, credentials, "gateway.toml")
    assert "5ecre7" not in str(caught.value)
    assert names() == ["private-id"]


def test_certificates_that_are_none_are_named() -> None:
    """The error has the key."""
    Path("ca.pem").write_text("no certificate")
    config = parsed(NODE + HTTP.replace("http:/", "https:/") + 'ca_file = "ca.pem"')
    credentials = read_credentials(config, "gateway.toml")
    with pytest.raises(ConfigError, match=r"^gateway\.toml: sinks\[0\]\.ca_file: "):
        check_sinks(config, credentials, "gateway.toml")


def test_checking_makes_nothing() -> None:
    """No file, no spool."""
    config = parsed(NODE + file_sink("f", 'rotate_bytes = 1\ncompression = "zstd"') + HTTP)
    check_sinks(config, read_credentials(config, "gateway.toml"), "gateway.toml")
    assert names() == ["private-id"]


@pytest.mark.parametrize(
    ("sink", "module", "said"),
    [
        (
            HTTP,
            "urllib3",
            "a sink over HTTP needs an optional package: pip install 'netlog-flows[http]'",
        ),
        (
            file_sink("f", 'rotate_bytes = 1\ncompression = "zstd"'),
            "backports.zstd",
            "packing rotated files needs an optional package: pip install 'netlog-flows[zstd]'",
        ),
    ],
    ids=["http", "zstd"],
)
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="zstd is part of Python")
def test_a_missing_package_is_named(sink: str, module: str, said: str) -> None:
    """With the extra that brings it, and the key."""
    Path("gateway.toml").write_text(NODE + sink)
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from netlog.cli import main; sys.exit(main(['check', 'gateway.toml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(
        rf"netlog: gateway.toml: line [0-9]+: sinks\[0\]: {re.escape(said)}", done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_files_beside_a_meter_have_spools_of_their_own(tmp_path: Path) -> None:
    """Each message is in each file once, also when a period is offered again after a restart."""
    text = f'meter = "{tmp_path}/run/meter"\n' + NODE + file_sink("one") + file_sink("two")
    period = PeriodId(bytes(16), 1)
    for wanted in (True, False):
        group = SinkGroup(opened(text))
        assert group.begin(period) is wanted
        if wanted:
            group.write(message(1))
            group.commit()
        group.close()
    for name in ("one", "two"):
        assert Path(name).read_bytes() == message(1).to_json() + b"\n"
    assert len(list(tmp_path.glob("run/meter.spool/*"))) == 2
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_a_rotated_file_is_as_the_configuration_says() -> None:
    """The keys reach the sink."""
    more = 'rotate_bytes = 10\nkeep = 1\ncompression = "zstd"'
    sinks = opened(NODE + file_sink("flows.jsonl", more))
    sink = sinks["flows.jsonl"]
    assert isinstance(sink, FileSink)
    for number in range(5):
        sink.write(message(number))
    wait_for(
        lambda: [path.suffix for path in Path().glob("flows-*")] == [".zst"], "one packed is left"
    )
    sink.close()
