"""A progress bar. This module loads rich: import it only when a bar is shown."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from netlog.display.units import binary_rate, binary_size

__all__ = ["reading_bar"]


class _Terminal(Console):
    """A terminal whose cursor stays: a process that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - rich's own
        return False


class _Amount(ProgressColumn):
    """How much was read, how fast, and how long the rest takes."""

    def render(self, task: Task) -> Text:
        text = f"{binary_size(int(task.completed)):>10} of {binary_size(int(task.total or 0))}"
        if task.speed:
            text += f"{binary_rate(task.speed):>12}/s"
        if task.time_remaining is not None:
            minutes, seconds = divmod(int(task.time_remaining), 60)
            text += f"{minutes:>5}:{seconds:02} left"
        return Text(text, style="dim")


def reading_bar(total_bytes: int) -> tuple[Progress, TaskID]:
    """Make a bar for standard error.

    Args:
        total_bytes: how much there is to read.

    Returns:
        The bar and its task. The caller starts and refreshes it, and stops it at the end, which
        erases it.
        Lines that are written to standard error meanwhile appear above it.
    """
    bar = Progress(
        TextColumn("reading"),
        BarColumn(None, style="bright_black", complete_style="cyan", finished_style="cyan"),
        TextColumn("{task.percentage:>3.0f} %"),
        _Amount(Column(no_wrap=True)),
        console=_Terminal(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        expand=True,
    )
    return bar, bar.add_task("reading", total=total_bytes)
