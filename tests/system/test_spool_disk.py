"""netlog.spool on a file system that is too small for it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

ON_TMPFS = str(Path(__file__).with_name("on_tmpfs.py"))


def test_a_disk_that_the_spool_filled_is_freed_by_its_reader(tmp_path: Path) -> None:
    """Periods are refused while it is full, and stored again when the others were shipped."""
    program = textwrap.dedent("""
        import sys
        from netlog.sinks.base import PeriodId
        from netlog.spool import Spool
        spool = Spool(sys.argv[1] + "/spool", max_bytes=64 << 20)
        filler = open(sys.argv[1] + "/filler", "wb", 0)
        def fill():
            try:
                while filler.write(b"x"):
                    pass
            except OSError:
                pass
        epoch = 0
        for size, n_messages in ((500, 100), (3, 1), (7_000, 100), (3, 1), (500, 100)):
            stored = []
            while True:
                spool.begin(PeriodId(b"0123456789abcdef", epoch + 1))
                try:
                    for _ in range(n_messages):
                        spool.append(b"%d " % epoch + b"x" * size, 1, 1)
                    spool.commit()
                except OSError as error:
                    assert error.errno == 28, error
                    break
                epoch += 1
                stored += [epoch - 1] * n_messages
            if n_messages == 1:
                fill()
            seen = []
            while records := spool.read(7, 1 << 20):
                seen += [int(record.payload.split()[0]) for record in records]
                spool.advance(records[-1])
            assert seen == stored, (len(seen), len(stored))
            print(size, len(seen) >= n_messages)
        spool.close()
        spool = Spool(sys.argv[1] + "/spool", max_bytes=64 << 20)
        assert not spool.begin(PeriodId(b"0123456789abcdef", epoch))
        assert not spool.counters().dropped
    """)
    command = [sys.executable, ON_TMPFS, str(tmp_path), "1m", sys.executable, "-c", program]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{size} True" for size in (500, 3, 7000, 3, 500)]
