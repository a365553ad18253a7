"""``zoo experiment`` as tests call it: words for typer, and errors let through."""

from inspect import signature

import typer

from model_zoo.cli.parsing import spread
from trainer.cli import experiments

COMMAND = spread(experiments.experiment)
APP = typer.Typer()
APP.command()(COMMAND)


def experiment(name: str = "", **options: object) -> None:
    """Run ``zoo experiment NAME`` with ``options``, and let errors through."""
    assert options.keys() <= signature(COMMAND).parameters.keys()
    words = [name] if name else []
    for option, value in options.items():
        flag = f"--{option.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    typer.main.get_command(APP)(words, standalone_mode=False)
