"""Progress of the laboratory on the terminal, while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from model_zoo.cli.output import console
from model_zoo.statements.scan import ScanReport
from trainer.lab.cells import Cell


def heading(number: int, text: str) -> None:
    """Print the heading of a section."""
    console.rule(f"[bold]{number}. {text}", align="left")


@contextmanager
def job_progress() -> Iterator[Progress]:
    """Show one bar a job while the block runs."""
    with Progress(
        TextColumn("  {task.description:<28}"),
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        yield progress


def verdict(cell: Cell) -> str:
    """Return what came of a victim in one word, that of its letter on the board."""
    if cell.hung:
        return "waiting"
    return "accepted" if cell.accepted else "refused"


def outcome(cell: Cell) -> str:
    """Return a cell in words: refused by what, or accepted at what cost."""
    if verdict(cell) == "refused":
        return f"refused: {cell.error}"
    if cell.cost is None or cell.cost.attack_success is None:
        return verdict(cell)
    accuracy, success = cell.cost.accuracy.rate, cell.cost.attack_success.rate
    return f"{verdict(cell)}: ACC {accuracy:.2%}, ASR {success:.2%}"


def scanned(report: ScanReport) -> str:
    """Return what a scan concluded, in words."""
    return f"{report.verdict}: {report.why}"


COLOURS = {"accepted": "red", "waiting": "yellow", "refused": "green"}


def scoreboard(cells: list[Cell]) -> None:
    """Print paths of attack against levels of protection, in 80 columns or less."""
    levels = list(dict.fromkeys(cell.level for cell in cells))
    table = Table(
        title="Who ended up with the BadNet?", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("path of attack", no_wrap=True)
    for number, _ in enumerate(levels, start=1):
        table.add_column(str(number), justify="right", no_wrap=True)
    rows: dict[str, list[str]] = {}
    for cell in cells:
        word = verdict(cell)
        mark = " " if cell.as_expected else "!"
        text = f"[{COLOURS[word]}]{word[0].upper()}[/]{mark}"
        rows.setdefault(cell.path_of_attack, []).append(text)
    for path_of_attack, texts in rows.items():
        table.add_row(path_of_attack, *texts)
    console.print(
        "A accepted the BadNet, R refused it, W waits still; ! not as expected"
    )
    for number, level in enumerate(levels, start=1):
        console.print(f"{number:2} {level}")
    console.print(table)
