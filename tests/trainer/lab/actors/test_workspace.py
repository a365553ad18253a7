"""The laboratory's folder: taken up after a kill, cleared after an end."""

from contextlib import suppress
from pathlib import Path

import pytest

from model_zoo.errors import ConflictError, LocalError
from model_zoo.statements.jobs import TrainSpec
from trainer.lab.actors.workspace import take_up, workspace


def test_an_interrupted_run_is_taken_up(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), workspace(tmp_path) as work:
        (work / "orders.json").write_text("{}")
        raise KeyboardInterrupt
    with workspace(tmp_path) as work:
        assert (work / "orders.json").exists()


def test_a_finished_run_starts_anew_and_keeps_its_keys(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        (work / "orders.json").write_text("{}")
        (work / "keys").mkdir()
        (work / "keys" / "alice.pem").touch()
    with workspace(tmp_path) as work:
        assert not (work / "orders.json").exists()
        assert (work / "keys" / "alice.pem").exists()


def test_two_laboratories_do_not_share_a_folder(tmp_path: Path) -> None:
    with workspace(tmp_path), pytest.raises(LocalError, match="another zoo lab"):
        workspace(tmp_path).__enter__()


def test_the_folder_says_what_lies_in_it(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        marks = [path for path in work.iterdir() if "BACKDOORED" in path.name]
    assert len(marks) == 1


def test_a_work_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "finished").write_text("my thesis")

    with pytest.raises(ConflictError, match="work"), workspace(tmp_path):
        pass

    assert (tmp_path / "work" / "finished").read_text() == "my thesis"


SPEC = TrainSpec(held_out=1)


@pytest.mark.parametrize(
    ("begun", "now"),
    [(SPEC, None), (None, SPEC), (SPEC, SPEC.model_copy(update={"seed": 1}))],
)
def test_an_interrupted_run_is_taken_up_with_its_own_spec_only(
    begun: TrainSpec | None, now: TrainSpec | None, tmp_path: Path
) -> None:
    with suppress(KeyboardInterrupt), workspace(tmp_path) as work:
        take_up(work, begun)
        raise KeyboardInterrupt

    with (
        pytest.raises(ConflictError, match="interrupted run: expected"),
        workspace(tmp_path) as work,
    ):
        take_up(work, now)

    with workspace(tmp_path) as work:
        take_up(work, begun)
    with workspace(tmp_path) as work:  # it has ended
        take_up(work, now)
