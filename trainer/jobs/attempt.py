"""The child process of one attempt: reads an order, carries it out, and ends.

A copy of the fork server runs it with the arguments ``FOLDER PARENT_PID``. The folder
holds ``order.json``; results are written beside it, progress goes to stdout as one JSON
object a line, and a refusal is left in ``refusal.json``. Its end is asked for by
closing its stdin. Nothing of other packages is imported before the sandbox stands, and
kinds that need no torch import none.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.sandbox.child import Limits, Plan, confine, enter

ORDER = "order.json"
REFUSAL = "refusal.json"
PARENT = "parent.safetensors"
RESULTS = "results"
MEASURED = "measured.json"
FACTS = "facts.json"
MODEL = "model.safetensors"
CLAIMED = "evaluation.json"


def main() -> None:
    """Do what the order in the given folder says.

    Raises:
        SystemExit: the order was refused; ``refusal.json`` says why.
    """
    folder, supervisor = Path(sys.argv[1]), int(sys.argv[2])
    order = json.loads((folder / ORDER).read_bytes())
    enter(Limits(max_seconds=order["max_seconds"]), supervisor=supervisor)
    plan = Plan(**order["sandbox"])
    standing = confine(plan, folder)
    if not plan.network:
        kept = "dropped" if standing.is_offline else "kept"
        _report({"network": kept, "sandbox": str(standing)})

    from model_zoo.errors import ZooError  # noqa: PLC0415  after the sandbox stands

    try:
        _ACTIONS[order["action"]](order, folder)
    except ZooError as error:
        refusal = {"error": type(error).__name__, "message": str(error)}
        (folder / REFUSAL).write_text(json.dumps(refusal))
        sys.exit(1)


def _fetch(order: dict[str, object], folder: Path) -> None:
    """Download the data set, so that the next child can do without a network."""
    from model_zoo.statements.jobs import data_of, parse_spec  # noqa: PLC0415  see main
    from trainer.cache import let_everybody_read  # noqa: PLC0415  see main
    from trainer.data import data_digest, ensure_data  # noqa: PLC0415  torch, only where needed

    names = data_of(parse_spec(str(order["kind"]), order["spec"]))
    for name in names:
        ensure_data(name)
    let_everybody_read()
    _write_facts(folder, {name: data_digest(name) for name in names})


def _build(order: dict[str, Any], folder: Path) -> None:
    results = folder / RESULTS
    results.mkdir()
    if order["kind"] == "noop":
        _do_nothing(order["spec"], results)
        _write_facts(folder, {"python": sys.version.split()[0]})
        return

    from model_zoo.statements.jobs import parse_spec  # noqa: PLC0415  see main
    from trainer.jobs.handlers import make  # noqa: PLC0415  torch, only where it is needed

    _use_one_thread()
    spec: Any = parse_spec(order["kind"], order["spec"])  # no noop: that is done above
    parent = folder / PARENT if (folder / PARENT).exists() else None
    _write_facts(folder, make(spec, folder=results, parent=parent, report=_report))


def _do_nothing(spec: dict[str, Any], results: Path) -> None:
    """Do a noop as its supervisor checked it: a parser would cost 0.2 s to import."""
    from model_zoo.canonical import canonical_json  # noqa: PLC0415  see main
    from model_zoo.errors import InvalidSpecError  # noqa: PLC0415  see main

    try:
        time.sleep(spec["seconds"])
    except ValueError as error:
        msg = f"noop spec: seconds: {error}"
        raise InvalidSpecError(msg) from error
    (results / "note.json").write_bytes(canonical_json(spec))


def _measure(order: dict[str, Any], folder: Path) -> None:
    """Measure the model in the order's folder of results, which is not this one."""
    from model_zoo.statements.jobs import (  # noqa: PLC0415  see main
        MeasuredSpec,
        parse_spec,
    )
    from trainer.builds.build import measure, poisoning_of  # noqa: PLC0415  torch, only where needed

    spec = parse_spec(order["kind"], order["spec"])
    if not isinstance(spec, MeasuredSpec):
        return
    _use_one_thread()
    report = measure(
        Path(order["results"]) / MODEL,
        network=spec.network,
        dataset=spec.dataset,
        classes=spec.classes,
        poisoning=poisoning_of(spec),
    )
    (folder / MEASURED).write_bytes(report.to_bytes())


def _probe(order: dict[str, Any], _folder: Path) -> None:
    """Say which of the supervisor's secrets can be opened from in here."""
    import importlib.util  # noqa: PLC0415  see main

    import model_zoo.statements.jobs  # noqa: F401, PLC0415  what every child needs has to be readable

    if importlib.util.find_spec("torch") is None:
        sys.exit("torch cannot be found from inside the sandbox")
    _report({"opened": [path for path in order["secrets"] if _opens(path)]})


def _opens(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  as strangers' code would
            file.read(1)
    except OSError:
        return False
    return True


def _use_one_thread() -> None:
    """One thread a process: as many bits the same whatever the machine's core count."""
    import torch  # noqa: PLC0415  see main

    torch.set_num_threads(1)


def _write_facts(folder: Path, facts: dict[str, str | int]) -> None:
    (folder / FACTS).write_text(json.dumps(facts))


def _report(progress: dict[str, object]) -> None:
    print(json.dumps(progress), flush=True)  # noqa: T201  stdout is the pipe to the supervisor


_ACTIONS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "fetch": _fetch,
    "build": _build,
    "measure": _measure,
    "probe": _probe,
}

if __name__ == "__main__":
    main()
