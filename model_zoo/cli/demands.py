"""Options by which users demand something of a release, and the policy they make."""

from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import builder_role
from model_zoo.cli.specs import read_spec
from model_zoo.errors import InvalidSpecError
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy, read_policy

BuilderKey = Annotated[
    Path | None, typer.Option("--builder", help="Pinned builder key (PEM).")
]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="The spec that you sent (JSON).")
]
AllowWithdrawn = Annotated[
    list[str],
    typer.Option(help="Take this release although what it was made from is withdrawn."),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="What else to demand (JSON).")
]


def policy_of(
    publisher: Role | None,
    *,
    made_by: tuple[Path | None, Path | None],
    file: Path | None,
    allow_withdrawn: list[str],
) -> Policy:
    """Return all that the options demand: every file among them is read.

    Args:
        publisher: the pinned publisher keys.
        made_by: the files of the builder's key and of the spec.
        file: the policy file.
        allow_withdrawn: names beside those in the policy file.

    Raises:
        InvalidSpecError: a file does not hold what it should, or a name is none.
        LocalError: a file cannot be read.
    """
    builder, spec = made_by
    demands = Policy() if file is None else read_policy(file)
    names = tuple(str(ReleaseName.parse(name)) for name in allow_withdrawn)
    return demands.model_copy(
        update={
            "publisher": publisher,
            "builder": builder_role(builder),
            "spec": None if spec is None else read_spec(spec),
            "allow_withdrawn": (*demands.allow_withdrawn, *names),
        }
    )


def require_overridable(allowed: list[str], releases: list[str]) -> None:
    """Accept overrides for what is at hand only: another has no effect.

    Raises:
        InvalidSpecError: one is for another release.
    """
    for name in allowed:
        if name not in releases:
            msg = f"--allow-withdrawn {name}: without effect on {', '.join(releases)}"
            raise InvalidSpecError(msg)
