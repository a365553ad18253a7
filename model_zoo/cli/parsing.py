"""How a command line becomes a call: every word acts, and options come as objects.

ADR 35.
"""

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from typer.core import TyperCommand

from model_zoo.errors import InvalidSpecError


class StrictCommand(TyperCommand):
    """A command that refuses what its parser would drop in silence.

    Of an option given twice the parser keeps the last: the first of two policies would
    be no demand any more. An empty word is what a script's unset variable leaves, and
    reads as if the option were not there.
    """

    def parse_args(
        self,
        ctx: Any,  # noqa: ANN401  of the click that typer brings along
        args: list[str],
    ) -> list[str]:
        """Parse a command line once its words are known to act.

        Raises:
            InvalidSpecError: an option is given twice, or a word is empty.
        """
        if not ctx.resilient_parsing:
            given, _, order = self.make_parser(ctx).parse_args(args=list(args))
            _require_once(order)
            for parameter in self.params:
                _require_words(parameter.opts[0], given.get(parameter.name or ""))
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def _require_once(order: Sequence[Any]) -> None:
    times = Counter(it.opts[0] for it in order if not it.multiple)
    twice = [option for option, count in times.items() if count > 1]
    if twice:
        msg = f"{', '.join(twice)}: given more than once, and only one would count"
        raise InvalidSpecError(msg)


def _require_words(name: str, value: object) -> None:
    words = value if isinstance(value, list | tuple) else (value,)
    if "" in words:
        msg = f"{name}: empty; leave it out, or see whether a script's variable is set"
        raise InvalidSpecError(msg)


def spread(command: Callable[..., object]) -> Callable[..., object]:
    """Return ``command`` with an option for each field of its options objects.

    Typer makes one option of one parameter. So a parameter that is a dataclass gives
    way to the dataclass's own, which stay what they are called; the command is called
    with the object.
    """
    parameters = inspect.signature(command).parameters
    objects: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if isinstance(parameter.annotation, type)
        and dataclasses.is_dataclass(parameter.annotation)
    }
    if not objects:
        return command
    flat: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        fields = inspect.signature(objects[name]).parameters if name in objects else {}
        flat += fields.values() if fields else [parameter]

    @functools.wraps(command)
    def called(**given: object) -> object:
        made = {
            name: kind(
                **{it.name: given.pop(it.name) for it in dataclasses.fields(kind)}
            )
            for name, kind in objects.items()
        }
        return command(**given, **made)

    called.__annotations__ = {it.name: it.annotation for it in flat}
    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return called
