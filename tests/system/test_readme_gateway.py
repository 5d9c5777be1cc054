"""The gateway of docs/start/python.md, with a real interface."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.namespace import Namespace

pytestmark = pytest.mark.root

PAGE = Path(__file__).parents[2] / "docs" / "start" / "python.md"


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    """As it is; its devices, logger, relay and sink are opened and closed in order."""
    (source,) = re.findall(
        r"^<!-- run as root -->\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    with Namespace() as namespace:
        process = namespace.popen(
            sys.executable, "-c", source, cwd=tmp_path, stderr=subprocess.PIPE
        )
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert (tmp_path / "flows.jsonl").exists()
