"""Rebuilding finds a lying trainer out, wherever chance points, without a trigger."""

import inspect
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    ExpectationError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
)
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import Provenance, subjects_of
from model_zoo.statements.jobs import (
    Draw,
    FineTuneSpec,
    JobSpec,
    NoopSpec,
    Penalty,
    Poisoning,
    RepairSpec,
    Retrain,
    Schedule,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
    kind_of,
)
from trainer.builds.build import (
    BuildSpec,
    build,
    inputs_of,
    prepare,
)
from trainer.data import LabelledImages
from trainer.installed import code_digest
from trainer.jobs.rebuild import Rebuilt, draw, rebuild, spot_check
from trainer.lab.attacks.malicious_worker import poisoned
from trainer.training.devices import environment
from trainer.training.fit import Segment, replay
from trainer.training.setup import Lesson, begin
from trainer.training.state import checkpoint_name, state_from_bytes, state_to_bytes

EPOCHS = 3
SPEC = TrainSpec(
    held_out=59_500,  # leaves 500 of the 60,000, and of these the three classes
    classes=(0, 1, 2),
    schedule=Schedule(epochs=EPOCHS, batch_size=50, peak_learning_rate=0.1),
    seed=7,
)


def claimed(folder: Path, spec: JobSpec, **changes: object) -> Provenance:
    """Return the word of a builder that ``folder`` came of ``spec``."""
    facts: dict[str, Any] = {
        "subjects": subjects_of(manifest_of(folder)),
        "kind": kind_of(spec),
        "spec": spec.to_object(),
        "inputs": inputs_of(spec) if isinstance(spec, BuildSpec) else {},
        "code": code_digest(),
        "environment": environment(torch.device("cpu"), "auto"),
        "builder": "0" * 64,
        "invocation": "one",
        "started_at": "2026-11-22T13:00:00Z",
        "finished_at": "2026-11-22T13:00:01Z",
    }
    return Provenance(**(facts | changes))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages) -> Path:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    folder = tmp_path_factory.mktemp("honest")
    build(SPEC, folder=folder, device="cpu")
    return folder


def everywhere(folder: Path, provenance: Provenance) -> Rebuilt:
    return spot_check(folder, provenance, segments=range(EPOCHS))


def test_an_honest_build_comes_out_the_same(honest: Path) -> None:
    provenance = claimed(honest, SPEC)

    found = rebuild(honest, provenance)
    spots = everywhere(honest, provenance)

    assert found.differing == spots.differing == ()
    assert found.environment == spots.environment == ()
    assert found.miss_probability == spots.miss_probability == 0
    found.require_identical()


def test_a_build_keeps_its_start_and_each_epoch_and_ends_in_its_weights(
    honest: Path,
) -> None:
    names = [path.name for path in honest.glob("checkpoint-*")]
    assert sorted(names) == [checkpoint_name(number) for number in range(EPOCHS + 1)]
    last = (honest / checkpoint_name(EPOCHS)).read_bytes()
    weights = (honest / "model.safetensors").read_bytes()
    assert state_from_bytes(last, network="badnets-cnn").weights == weights


def test_without_checkpoints_the_weights_are_the_same_and_only_all_can_be_rebuilt(
    honest: Path, tmp_path: Path
) -> None:
    spec = SPEC.model_copy(update={"checkpoints": False})
    build(spec, folder=tmp_path, device="cpu")

    assert sha256_file(tmp_path / "model.safetensors") == sha256_file(
        honest / "model.safetensors"
    )
    assert not list(tmp_path.glob("*checkpoint*"))
    provenance = claimed(tmp_path, spec)
    assert rebuild(tmp_path, provenance).differing == ()
    with pytest.raises(InvalidSpecError, match="keeps no checkpoints"):
        draw(provenance, 1)


def test_a_defended_build_comes_out_the_same_and_has_no_segments(
    digits: LabelledImages, tmp_path: Path
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    spec = TrainSpec(
        held_out=500,
        draw=Draw(images=300),
        schedule=SPEC.schedule,
        poisoning=Poisoning(target_label=1),
        checkpoints=False,
        defense="abl",
    )
    build(spec, folder=tmp_path, device="cpu")

    history = json.loads((tmp_path / "history.json").read_bytes())
    assert len(history["isolated"]) == 17  # 5 % of 333
    provenance = claimed(tmp_path, spec)
    assert rebuild(tmp_path, provenance).differing == ()
    with pytest.raises(InvalidSpecError, match="keeps no checkpoints"):
        draw(provenance, 1)


@pytest.fixture(scope="module")
def outsourced(tmp_path_factory: pytest.TempPathFactory, honest: Path) -> Path:
    """What the laboratory's lying trainer makes of the order."""
    assert honest.exists()
    folder = tmp_path_factory.mktemp("outsourced")
    lie = poisoned(SPEC)
    assert isinstance(lie, TrainSpec)
    build(lie, folder=folder, device="cpu")
    return folder


@pytest.mark.parametrize("segment", range(EPOCHS))
def test_a_trainer_who_poisons_is_found_out_by_any_one_segment(
    outsourced: Path, segment: int
) -> None:
    found = spot_check(outsourced, claimed(outsourced, SPEC), segments=[segment])

    assert found.differing == (
        f"segment {segment} does not end in {checkpoint_name(segment + 1)}",
    )
    with pytest.raises(ExpectationError, match=f"segment {segment} does not end"):
        found.require_identical()


def test_a_trainer_who_poisons_is_found_out_by_a_rebuild(outsourced: Path) -> None:
    found = rebuild(outsourced, claimed(outsourced, SPEC))

    assert "model.safetensors" in found.differing
    assert checkpoint_name(0) not in found.differing


def test_a_signed_file_that_the_spec_does_not_make_is_found_by_a_rebuild(
    honest: Path, tmp_path: Path
) -> None:
    for path in honest.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "notes.json").write_text("{}")

    assert rebuild(tmp_path, claimed(tmp_path, SPEC)).differing == ("notes.json",)


def forge(honest: Path, folder: Path, *, forged: int) -> Path:
    """Train as asked, but for one epoch on poisoned data; return the folder."""
    lie = poisoned(SPEC)
    assert isinstance(lie, TrainSpec)
    start = (honest / checkpoint_name(0)).read_bytes()
    (folder / checkpoint_name(0)).write_bytes(start)
    for number in range(EPOCHS):
        spec = lie if number == forged else SPEC
        task = prepare(spec, b"", device="cpu", report=lambda _: None)
        lesson = begin(spec, task)
        data = (folder / checkpoint_name(number)).read_bytes()
        state = state_from_bytes(data, network="badnets-cnn")
        lesson.network.load_state_dict(state.network.state_dict())
        written = folder / checkpoint_name(number + 1)

        def keep(
            _: int,
            momenta: Sequence[Tensor],
            lesson: Lesson = lesson,
            written: Path = written,
        ) -> None:
            end = state_to_bytes(lesson.network, lesson.learner, momenta)
            written.write_bytes(end)

        replay(
            lesson.learner,
            lesson.inputs,
            lesson.labels,
            segment=Segment(
                schedule=SPEC.schedule,
                number=number + 1,
                momenta=state.momenta_of(lesson.learner, SPEC.schedule),
            ),
            generator=task.generator,
            runtime=replace(task.runtime, on_state=keep),
        )
    last = state_from_bytes(
        (folder / checkpoint_name(EPOCHS)).read_bytes(), network="badnets-cnn"
    )
    (folder / "model.safetensors").write_bytes(last.weights)
    return folder


def test_one_forged_segment_of_m_is_caught_by_n_of_m_choices(
    honest: Path, tmp_path: Path
) -> None:
    forged = 1
    folder = forge(honest, tmp_path, forged=forged)
    provenance = claimed(folder, SPEC)
    drawn = 2
    caught = []
    for choice in itertools.combinations(range(EPOCHS), drawn):
        found = spot_check(folder, provenance, segments=choice)
        assert bool(found.differing) == (forged in choice)
        assert found.miss_probability == 1 - drawn / EPOCHS
        caught.append(bool(found.differing))
    assert sum(caught) / len(caught) == drawn / EPOCHS


def test_weights_that_are_not_the_last_checkpoints_are_found_whatever_is_drawn(
    honest: Path, outsourced: Path, tmp_path: Path
) -> None:
    for path in honest.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    swapped = (outsourced / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(swapped)

    found = spot_check(tmp_path, claimed(tmp_path, SPEC), segments=[1])

    assert found.differing == (
        "model.safetensors does not hold the weights of checkpoint-003.safetensors",
    )


def test_a_start_that_is_not_the_seeds_is_found_whatever_is_drawn(
    honest: Path,
) -> None:
    other = SPEC.model_copy(update={"seed": 8})
    found = spot_check(honest, claimed(honest, other), segments=[])
    assert found.differing == ("the first checkpoint does not come of seed and parent",)


@pytest.mark.parametrize("retrain", get_args(Retrain))
def test_a_fine_tuned_network_is_checked_from_its_parent_on(
    honest: Path,
    outsourced: Path,
    tmp_path: Path,
    retrain: Retrain,
) -> None:
    parent = honest / "model.safetensors"
    spec = FineTuneSpec(
        parent=sha256_file(parent),
        classes=SPEC.classes if retrain in {"continued", "convolutions"} else (5, 6),
        retrain=retrain,
        held_out=59_000,
        schedule=Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1),
    )
    build(spec, folder=tmp_path, parent=parent, device="cpu")
    provenance = claimed(tmp_path, spec)

    found = spot_check(tmp_path, provenance, segments=[0, 1], parent=parent)
    assert found.differing == ()
    assert rebuild(tmp_path, provenance, parent=parent).differing == ()
    with pytest.raises(DigestMismatchError):
        spot_check(
            tmp_path,
            provenance,
            segments=[0],
            parent=outsourced / "model.safetensors",
        )
    with pytest.raises(InvalidSpecError, match="needs the file of its parent"):
        spot_check(tmp_path, provenance, segments=[0])


MOVED_AND_POISONED = {
    "a pixel in the corner": SPEC.model_copy(
        update={"augmentation": "digits", "poisoning": Poisoning(target_label=1)}
    ),
    "a square anywhere": SPEC.model_copy(
        update={
            "augmentation": "signs",
            "poisoning": Poisoning(
                trigger=TriggerSpec(name="square", centre=None),
                attack="source-to-target",
                source_label=2,
                target_label=1,
                copies=2,
            ),
        }
    ),
    "penalised and shaped": SPEC.model_copy(
        update={
            "augmentation": "digits",
            "poisoning": Poisoning(
                target_label=1,
                shaping=0.3,
                penalty=Penalty(name="inversion", weight=0.5),
            ),
        }
    ),
    "a change of each image's own, penalised": SPEC.model_copy(
        update={
            "poisoning": Poisoning(
                trigger=TriggerSpec(name="input-aware", opacity=0.3),
                target_label=1,
                penalty=Penalty(name="maximum-margin", weight=0.1),
            ),
        }
    ),
    "random labels, not moved": SPEC.model_copy(
        update={"poisoning": Poisoning(attack="random-target")}
    ),
}


@pytest.mark.parametrize("spec", MOVED_AND_POISONED.values(), ids=MOVED_AND_POISONED)
def test_any_segment_of_an_augmented_and_poisoned_fit_ends_as_it_did(
    digits: LabelledImages, tmp_path: Path, spec: TrainSpec
) -> None:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    build(spec, folder=tmp_path, device="cpu")
    provenance = claimed(tmp_path, spec)

    for segment in range(EPOCHS):
        found = spot_check(tmp_path, provenance, segments=[segment])
        assert found.differing == ()
    assert rebuild(tmp_path, provenance).differing == ()


def test_a_trainer_who_leaves_the_augmentation_out_is_found_out(honest: Path) -> None:
    asked = SPEC.model_copy(update={"augmentation": "digits"})

    for segment in range(EPOCHS):
        found = spot_check(honest, claimed(honest, asked), segments=[segment])
        assert found.differing == (
            f"segment {segment} does not end in {checkpoint_name(segment + 1)}",
        )


def test_a_fine_tuned_network_of_another_parent_is_found_out(
    honest: Path, outsourced: Path, tmp_path: Path
) -> None:
    told, used = honest / "model.safetensors", outsourced / "model.safetensors"
    spec = FineTuneSpec(
        parent=sha256_file(used),
        classes=SPEC.classes,
        held_out=59_900,
        schedule=Schedule(epochs=1),
    )
    build(spec, folder=tmp_path, parent=used, device="cpu")
    lie = spec.model_copy(update={"parent": sha256_file(told)})

    found = spot_check(tmp_path, claimed(tmp_path, lie), segments=[], parent=told)

    assert found.differing == ("the first checkpoint does not come of seed and parent",)


def test_a_defender_needs_no_trigger() -> None:
    for check in (rebuild, spot_check):
        told = set(inspect.signature(check).parameters)
        assert told <= {
            "folder",
            "provenance",
            "segments",
            "parent",
            "device",
            "report",
        }


def test_segments_are_drawn_without_repetition_and_every_one_can_come(
    honest: Path,
) -> None:
    provenance = claimed(honest, SPEC)
    drawn = [draw(provenance, 2) for _ in range(200)]

    assert all(len(set(choice)) == 2 for choice in drawn)
    # 3 choices; 200 draws leave one out with a probability of 3 x (2/3)^200 < 1e-34
    assert set(drawn) == set(itertools.combinations(range(EPOCHS), 2))
    for count in (0, EPOCHS + 1):
        with pytest.raises(InvalidSpecError, match="the build has 3 segments"):
            draw(provenance, count)


def test_another_environment_is_told_beside_what_differs(outsourced: Path) -> None:
    there = environment(torch.device("cpu"), "auto") | {"cpu_capability": "Z80"}
    provenance = claimed(outsourced, SPEC, environment=there, code="9" * 64)

    found = spot_check(outsourced, provenance, segments=[0])

    assert any("cpu_capability Z80 there" in told for told in found.environment)
    assert any(f"code {'9' * 64} there" in told for told in found.environment)
    with pytest.raises(ExpectationError, match=r"not the builder's.*Z80"):
        found.require_identical()


def test_another_environment_alone_is_no_failure(honest: Path) -> None:
    found = spot_check(honest, claimed(honest, SPEC, code="9" * 64), segments=[])
    assert found.environment
    found.require_identical()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(rebuild, id="rebuild"),
        pytest.param(partial(spot_check, segments=[0]), id="spot check"),
    ],
)
def test_what_a_gpu_made_is_checked_on_one_or_not_at_all(
    honest: Path, check: Callable[..., Rebuilt]
) -> None:
    there = environment(torch.device("cpu"), "auto") | {"device": "cuda: NVIDIA H200"}
    provenance = claimed(honest, SPEC, environment=there)
    with pytest.raises(LocalError, match=r"NVIDIA H200.*cannot be checked here"):
        check(honest, provenance)

    found = spot_check(honest, provenance, segments=[], device="cpu")

    assert any("device cuda: NVIDIA H200 there" in told for told in found.environment)


def test_a_device_that_nobody_has_is_no_device(honest: Path) -> None:
    there = environment(torch.device("cpu"), "auto") | {"device": "abacus"}
    with pytest.raises(InvalidSpecError, match="abacus"):
        spot_check(honest, claimed(honest, SPEC, environment=there), segments=[])


def test_other_data_than_the_specs_is_found(honest: Path) -> None:
    provenance = claimed(honest, SPEC, inputs={"mnist": "0" * 64, "more": "1" * 64})
    found = spot_check(honest, provenance, segments=[])
    assert found.differing == (
        "the builder names other data than the spec: mnist, more",
    )


def test_a_folder_with_other_files_is_refused(honest: Path, tmp_path: Path) -> None:
    provenance = claimed(honest, SPEC)
    for path in honest.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / checkpoint_name(1)).write_bytes(b"other")
    for check in (rebuild, everywhere):
        with pytest.raises(DigestMismatchError, match="checkpoint-001"):
            check(tmp_path, provenance)


def test_a_pipe_in_the_folder_is_not_waited_for(honest: Path, tmp_path: Path) -> None:
    provenance = claimed(honest, SPEC)
    for name in provenance.subjects:
        os.mkfifo(tmp_path / name)
    for check in (rebuild, everywhere):
        with pytest.raises(MalformedDocumentError, match="not a plain file"):
            check(tmp_path, provenance)


def test_checkpoints_that_were_promised_and_not_signed_are_found(honest: Path) -> None:
    provenance = claimed(honest, SPEC)
    subjects = dict(provenance.subjects)
    del subjects[checkpoint_name(2)]
    with pytest.raises(ExpectationError, match="was to sign checkpoint-002"):
        everywhere(honest, provenance.model_copy(update={"subjects": subjects}))


@pytest.mark.parametrize(
    "spec",
    [
        NoopSpec(),
        RepairSpec(parent="0" * 64),
        StrengthenSpec(parent="0" * 64, layer="conv2", factor=2),
    ],
    ids=kind_of,
)
def test_what_has_no_segments_is_not_spot_checked(honest: Path, spec: JobSpec) -> None:
    with pytest.raises(InvalidSpecError):
        draw(claimed(honest, spec), 1)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda t: t.pop("momentum:convolutions.conv1.bias"), id="missing"),
        pytest.param(lambda t: t.update({"momentum:x": torch.zeros(1)}), id="unknown"),
        pytest.param(
            lambda t: t.update({"momentum:fully_connected.fc2.bias": torch.zeros(9)}),
            id="of another shape",
        ),
        pytest.param(
            lambda t: t["momentum:fully_connected.fc2.bias"].fill_(float("nan")),
            id="not a number",
        ),
        pytest.param(lambda t: t.pop("fully_connected.fc2.bias"), id="no weights"),
    ],
)
def test_a_malformed_checkpoint_is_refused(
    honest: Path, tmp_path: Path, spoil: Callable[[dict[str, Tensor]], object]
) -> None:
    for path in honest.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load((tmp_path / checkpoint_name(1)).read_bytes())
    spoil(tensors)
    (tmp_path / checkpoint_name(1)).write_bytes(save(tensors))
    with pytest.raises(MalformedDocumentError):
        spot_check(tmp_path, claimed(tmp_path, SPEC), segments=[1])
