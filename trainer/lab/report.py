"""The report: ``report.html`` for people, ``report.json`` for programs."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_file
from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.scan import ScanReport
from trainer.defenses.scanners.page import drawn
from trainer.files import write_whole
from trainer.html import WARNING, templates
from trainer.jobs.attempt import MODEL
from trainer.jobs.rebuild import Rebuilt
from trainer.lab import figures
from trainer.lab.attacks.paths import GROUPS, PATHS_OF_ATTACK, UNHARMED, Attack
from trainer.lab.cells import Cell
from trainer.lab.clients.victim import LEVELS
from trainer.lab.outsourcing import Outsourced
from trainer.lab.progress import outcome, verdict
from trainer.lab.promises import Story, extra_drop, transferred
from trainer.lab.transfer_and_repair import Examined, Repaired, Student

HTML_NAME = "report.html"
JSON_NAME = "report.json"
TOLD_BY = ("universal", "by-class", "pairs")
"""Whose recovered change is shown: the first that has one."""


def write_report(story: Story, *, folder: Path, environment: JsonObject) -> JsonObject:
    """Write both reports into ``folder``, each in one step; return the JSON one.

    Args:
        story: what happened.
        folder: takes ``report.html`` and ``report.json``.
        environment: the machine and versions, named in both.
    """
    document = as_json(story, environment=environment)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    write_whole(folder / JSON_NAME, text.encode())
    write_whole(folder / HTML_NAME, as_html(story, document).encode())
    return document


def as_json(story: Story, *, environment: JsonObject) -> JsonObject:
    """Return the story as JSON values: every share with its n and 95 % interval."""
    scenario = story.scenario
    return {
        "warning": WARNING,
        "passed": not story.broken_promises(),
        "broken_promises": story.broken_promises(),
        "seconds": round(story.seconds, 1),
        "environment": environment,
        "order": scenario.order.to_object(),
        "poisoning": scenario.recipe.to_object(),
        "skipped": dict(scenario.skipped),
        "min_accuracy": scenario.min_accuracy,
        "models": {
            label: _model(it, scenario.min_accuracy)
            for label, it in story.models.items()
        },
        "spot_checks": {
            label: _spot_check(found) for label, found in story.spot_checks.items()
        },
        "not_played": [
            path for path in PATHS_OF_ATTACK if path not in _rows(story.cells)
        ],
        "scoreboard": [_cell(cell) for cell in story.cells],
        "controls": [_cell(cell) for cell in story.controls],
        "scans": {label: _examined(it) for label, it in story.scanned.items()},
        "transfer": [_student(student) for student in story.students],
        "repairs": [_repaired(repaired) for repaired in story.repairs],
    }


def as_html(story: Story, document: JsonObject) -> str:
    """Return one self-contained page: style and pictures are inside it."""
    environment = templates("trainer.lab")
    environment.filters["outcome"] = outcome
    environment.filters["verdict"] = verdict
    environment.filters["words"] = _words
    return environment.get_template("report.html.j2").render(
        document=document,
        levels=list(LEVELS),
        waiting=any(verdict(cell) == "waiting" for cell in story.cells),
        peers=_peers(story.cells),
        groups=_groups(story),
        controls=_group(UNHARMED, story.controls),
        teachers_lie=story.scenario.lies.lies[0],
        extra_drop=_extra_drop(story),
        pictures=_pictures(story),
        recovered=_recovered(story),
        scenario=story.scenario,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One path of attack; ``summary`` is the first line of what its function says."""

    path_of_attack: str
    summary: str
    cells: list[Cell]


def _rows(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.path_of_attack, []).append(cell)
    return rows


def _groups(story: Story) -> dict[str, list[_Row]]:
    """Return the rows that were played, by what the adversary has in his hands."""
    groups = {name: _group(group, story.cells) for name, group in GROUPS.items()}
    return {name: group for name, group in groups.items() if group}


def _group(attacks: Mapping[str, Attack], cells: Sequence[Cell]) -> list[_Row]:
    rows = _rows(cells)
    return [
        _Row(path, (attack.__doc__ or "").partition("\n")[0], rows[path])
        for path, attack in attacks.items()
        if path in rows
    ]


def _extra_drop(story: Story) -> float:
    """Return what triggers take from the last teacher's student beyond the first's."""
    students = [*transferred(story).values()]
    return extra_drop(students[0], students[-1])


def _words(error: str) -> str:
    """Return an error's name in words, so that a narrow cell can hold it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", error).removesuffix(" Error")


def _peers(cells: list[Cell]) -> list[str]:
    levels = dict.fromkeys(cell.level for cell in cells)
    return [level for level in levels if level not in LEVELS]


def _pictures(story: Story) -> dict[str, str]:
    students = story.students
    figured = {
        "trigger": figures.trigger_preview(
            story.scenario.order.dataset, story.scenario.recipe
        ),
        "curves": figures.training_curves(
            {label: model.folder for label, model in story.models.items()}
        ),
        "transfer": figures.shares(
            [f"{student.teacher},\n{student.retrain}" for student in students],
            {
                "clean images": [it.network.truth.accuracy for it in students],
                "triggered images": [
                    _known(it.network.truth.robust_accuracy) for it in students
                ],
            },
            ylabel="accuracy, %",
        ),
        "repair": _repairs_drawn(story),
    }
    change = figures.true_change(story.scenario.order.dataset, story.scenario.recipe)
    return {
        **{name: figures.as_data_uri(figure) for name, figure in figured.items()},
        "change": drawn(change),
    }


def _repairs_drawn(story: Story) -> Figure:
    """Return each network before and after its repairs."""
    networks: dict[str, Examined] = {}
    for repaired in story.repairs:
        networks.setdefault(repaired.label.replace(", ", ",\n"), repaired.before)
        networks[f"{repaired.label.partition(',')[0]},\n{repaired.defense}"] = (
            repaired.after
        )
    truths = [it.truth for it in networks.values()]
    return figures.shares(
        list(networks),
        {
            "accuracy": [it.accuracy for it in truths],
            "attack success": [_known(it.attack_success) for it in truths],
        },
        ylabel="%",
    )


@dataclass(frozen=True, slots=True)
class _Recovered:
    """What a scan found in one network, with a picture of the change it recovered."""

    label: str
    report: ScanReport
    scanner: str
    picture: str


def _recovered(story: Story) -> list[_Recovered]:
    """Return the scans of the models as they were delivered, and of the students."""
    looked_at = story.scanned | {
        f"{teacher}'s student": student.network
        for teacher, student in transferred(story).items()
    }
    shown = []
    for label, examined in looked_at.items():
        triggers = examined.found.triggers
        scanner = next((it for it in TOLD_BY if it in triggers), "")
        picture = drawn(triggers[scanner]) if scanner else ""
        shown.append(_Recovered(label, examined.found.report, scanner, picture))
    return shown


def _known(proportion: Proportion | None) -> Proportion:
    """Return what a measurement with a trigger always holds."""
    if proportion is None:
        msg = "this model was measured without a trigger"
        raise ValueError(msg)
    return proportion


def _model(model: Outsourced, min_accuracy: float | None) -> JsonObject:
    return {
        "trainer": model.trainer,
        "job": model.job,
        "sha256": sha256_file(model.folder / MODEL),
        "deliberately_backdoored": "badnet" in model.label,
        "claimed": _evaluation(model.claimed),
        "private_validation": _proportion(model.accepted_on),
        "accepted": None if min_accuracy is None else model.reaches(min_accuracy),
        "truth": _evaluation(model.truth),
    }


def _spot_check(found: Rebuilt) -> JsonObject:
    return {
        "epochs_trained_again": [number + 1 for number in found.segments],
        "epochs": found.total,
        "differing": list(found.differing),
    }


def _cell(cell: Cell) -> JsonObject:
    return {
        "path_of_attack": cell.path_of_attack,
        "level": cell.level,
        "expected": cell.expected,
        "accepted": cell.accepted,
        "as_expected": cell.as_expected,
        "hung": cell.hung,
        "error": cell.error,
        "message": cell.message,
        "sha256": cell.sha256,
        "cost": _evaluation(cell.cost),
    }


def _student(student: Student) -> JsonObject:
    return {
        "teacher": student.teacher,
        "retrained": student.retrain,
        "clean": _proportion(student.network.truth.accuracy),
        "triggered": _proportion(student.network.truth.robust_accuracy),
        "scan": student.network.found.report.to_object(),
    }


def _repaired(repaired: Repaired) -> JsonObject:
    return {
        "network": repaired.label,
        "defense": repaired.defense,
        "pruned_units": repaired.pruned_units,
        "before": _examined(repaired.before),
        "after": _examined(repaired.after),
    }


def _examined(network: Examined) -> JsonObject:
    truth = _evaluation(network.truth) or {}
    return truth | {"scan": network.found.report.to_object()}


def _evaluation(report: EvaluationReport | None) -> JsonObject | None:
    if report is None:
        return None
    return {
        "accuracy": _proportion(report.accuracy),
        "attack_success": _proportion(report.attack_success),
        "robust_accuracy": _proportion(report.robust_accuracy),
    }


def _proportion(proportion: Proportion | None) -> JsonObject | None:
    if proportion is None:
        return None
    low, high = proportion.wilson()
    return {"rate": proportion.rate, "low": low, "high": high, "n": proportion.n}
