"""How the laboratory tells its story while it plays it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from model_zoo.cli.output import console
from trainer.lab.cells import Cell


def heading(number: int, text: str) -> None:
    """Open a chapter."""
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


def outcome(cell: Cell) -> str:
    """Return a cell in words: refused by what, or accepted at what cost."""
    if not cell.accepted:
        return f"refused: {cell.error}"
    if cell.hung:
        return "accepted: still waiting"
    if cell.cost is None or cell.cost.attack_success is None:
        return "accepted"
    accuracy, success = cell.cost.accuracy.rate, cell.cost.attack_success.rate
    return f"accepted: ACC {accuracy:.2%}, ASR {success:.2%}"


def scoreboard(cells: list[Cell]) -> None:
    """Print paths of attack against levels of protection, a letter a cell."""
    table = Table(title="Who ended up with the BadNet: A accepted, R refused")
    table.add_column("path of attack", no_wrap=True)
    for level in dict.fromkeys(cell.level for cell in cells):
        table.add_column(level, justify="center")
    rows: dict[str, list[str]] = {}
    for cell in cells:
        colour, letter = ("red", "A") if cell.accepted else ("green", "R")
        mark = "" if cell.as_expected else " (NOT AS EXPECTED)"
        text = f"[{colour}]{letter}[/]{mark}"
        rows.setdefault(cell.path_of_attack, []).append(text)
    for path_of_attack, texts in rows.items():
        table.add_row(path_of_attack, *texts)
    console.print(table)
