"""Draw the terminal that README.md shows: `python -m docs._generate.terminal`.

What it shows is what `netlog fmt` makes of docs/figures/flows.jsonl, in the colours of a terminal.
That file is a message of a live gateway: `netlog watch --source tailscale` beside an unchanged
tailscaled whose control server is a headscale.
"""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

__all__ = ["COMMAND", "draw", "shown"]

FIGURES = Path(__file__).resolve().parents[1] / "figures"
COMMAND = ("netlog", "fmt", "--resolve", "name", "flows.jsonl")
TITLE = "netlog fmt: who talked to whom through the gateway, and how much"

# Ours has no web font: a figure loads nothing from elsewhere.
FORMAT = """\
<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">
<title>TITLE</title>
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect fill="#11151c" width="{width}" height="{height}" rx="12"/>
<g transform="translate(20, 28)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
THEME = TerminalTheme(
    (17, 21, 28),
    (214, 221, 230),
    [
        (17, 21, 28),
        (255, 123, 114),
        (126, 211, 133),
        (236, 196, 106),
        (121, 184, 255),
        (214, 160, 255),
        (108, 210, 220),
        (214, 221, 230),
    ],
)


def shown() -> str:
    """What a user sees: the command, and what it prints on a terminal."""
    here, there = pty.openpty()
    with os.fdopen(here, "rb", buffering=0) as terminal:
        command = (sys.executable, "-m", *COMMAND)
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        subprocess.run(command, cwd=FIGURES, stdout=there, env=environment, check=True)  # noqa: S603 - this program
        os.close(there)
        said = io.BytesIO()
        try:
            while chunk := terminal.read(65536):
                said.write(chunk)
        except OSError:  # how a terminal ends that nobody has open
            pass
    return f"$ {' '.join(COMMAND)}\n" + said.getvalue().decode().replace("\r\n", "\n")


def draw() -> str:
    """The figure."""
    text = Text.from_ansi(shown().rstrip("\n"))
    width = max(line.cell_len for line in text.split())
    console = Console(record=True, width=width + 2, file=io.StringIO(), force_terminal=True)
    console.print(text, soft_wrap=True)
    return console.export_svg(
        theme=THEME,
        code_format=FORMAT.replace("TITLE", TITLE),
        unique_id="netlog",
        font_aspect_ratio=0.6,
    )


if __name__ == "__main__":
    (FIGURES / "fmt.svg").write_text(draw())
