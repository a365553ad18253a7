"""Children that attack, and the ways in which a worker may have to start them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.jobs.supervisor import Child

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AS_USER = HERE / "as_user.py"
UNSHARE, LANDLOCK_CREATE_RULESET = 272, 444
"""Of x86_64."""

WITHOUT_NAMESPACES = "a user without namespaces"
WAYS: dict[str, tuple[int | None, list[int] | None]] = {
    "root, child another user": (65534, None),
    "root, child root as well": (None, None),
    "a user": (None, []),
    WITHOUT_NAMESPACES: (None, [UNSHARE]),
    "a user without Landlock": (None, [LANDLOCK_CREATE_RULESET]),
}
"""Way -> the child's user, and what is denied to a supervisor that is not root."""


def hostile_child(
    attack: str,
    arguments: Mapping[str, object],
    *,
    user: int | None = None,
    readable: tuple[Path, ...] = (),
) -> Child:
    """Return a child that carries out an attack in place of the build.

    Args:
        attack: a name in ``hostile_child.ATTACKS``.
        arguments: of that attack.
        user: whose rights the child gets.
        readable: what it is shown beside its own code.
    """
    script = HERE / "hostile_child.py"
    program = (str(script), attack, json.dumps(arguments))
    return Child(user=user, program=program, readable=(script, *readable))


def supervise(
    way: str, folder: Path, attack: str, **arguments: object
) -> dict[str, Any]:
    """Have a process supervise an attack in one of WAYS; return what was told.

    Args:
        way: a name in WAYS.
        folder: a new folder; its parents can be entered by everybody.
        attack: a name in ``hostile_child.ATTACKS``.
        arguments: of that attack.
    """
    user, denied = WAYS[way]
    folder.mkdir()
    module = "tests.trainer.supervised"
    code = f"import runpy; runpy.run_module({module!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, str(folder), json.dumps(user)]
    command += [attack, json.dumps(arguments)]
    if denied is not None:
        folder.chmod(0o777)
        command = [
            sys.executable,
            str(AS_USER),
            json.dumps(denied),
            *command,
        ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
