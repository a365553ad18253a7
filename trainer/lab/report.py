"""The report: ``report.html`` for people, ``report.json`` for programs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_file
from model_zoo.statements.evaluation import EvaluationReport, Proportion
from trainer.files import write_whole
from trainer.html import WARNING, templates
from trainer.jobs.attempt import MODEL
from trainer.jobs.rebuild import Rebuilt
from trainer.lab import figures
from trainer.lab.attacks.paths import GROUPS, PATHS_OF_ATTACK
from trainer.lab.cells import Cell
from trainer.lab.clients.victim import LEVELS
from trainer.lab.outsourcing import Outsourced
from trainer.lab.progress import outcome, verdict
from trainer.lab.story import Story

HTML_NAME = "report.html"
JSON_NAME = "report.json"


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
        "not_played": [path for path in PATHS_OF_ATTACK if path not in _rows(story)],
        "scoreboard": [_cell(cell) for cell in story.cells],
        "transfer": [
            {
                "teacher": student.teacher,
                "retrained": student.retrain,
                "clean": _proportion(student.report.accuracy),
                "triggered": _proportion(student.report.robust_accuracy),
            }
            for student in story.students
        ],
        "fine_pruning": {
            "pruned_units": story.repaired.pruned_units,
            "before": _evaluation(story.repaired.before),
            "after": _evaluation(story.repaired.after),
        },
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
        pictures=_pictures(story),
        scenario=story.scenario,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One path of attack; ``summary`` is the first line of what its function says."""

    path_of_attack: str
    summary: str
    cells: list[Cell]


def _rows(story: Story) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {}
    for cell in story.cells:
        rows.setdefault(cell.path_of_attack, []).append(cell)
    return rows


def _groups(story: Story) -> dict[str, list[_Row]]:
    """Return the rows that were played, by what the adversary has in his hands."""
    rows = _rows(story)
    groups = {
        name: [
            _Row(path, (attack.__doc__ or "").partition("\n")[0], rows[path])
            for path, attack in group.items()
            if path in rows
        ]
        for name, group in GROUPS.items()
    }
    return {name: group for name, group in groups.items() if group}


def _words(error: str) -> str:
    """Return an error's name in words, so that a narrow cell can hold it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", error).removesuffix(" Error")


def _peers(cells: list[Cell]) -> list[str]:
    levels = dict.fromkeys(cell.level for cell in cells)
    return [level for level in levels if level not in LEVELS]


def _pictures(story: Story) -> dict[str, str]:
    students = story.students
    repaired = (story.repaired.before, story.repaired.after)
    drawn = {
        "trigger": figures.trigger_preview(
            story.scenario.order.dataset, story.scenario.recipe
        ),
        "curves": figures.training_curves(
            {label: model.folder for label, model in story.models.items()}
        ),
        "transfer": figures.shares(
            [f"{student.teacher},\n{student.retrain}" for student in students],
            {
                "clean images": [student.report.accuracy for student in students],
                "triggered images": [
                    _known(student.report.robust_accuracy) for student in students
                ],
            },
            ylabel=f"accuracy{' on digits 5-9' if story.scenario.is_own else ''}, %",
        ),
        "repair": figures.shares(
            ["BadNet", "after fine-pruning"],
            {
                "accuracy": [it.accuracy for it in repaired],
                "attack success": [
                    _known(report.attack_success) for report in repaired
                ],
            },
            ylabel="%",
        ),
    }
    return {name: figures.as_data_uri(figure) for name, figure in drawn.items()}


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
