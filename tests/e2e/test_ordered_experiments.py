"""Experiments whose models a trainer of a real zoo makes, as jobs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model_zoo.cli.options import Connection
from model_zoo.digests import sha256_file
from model_zoo.errors import LocalError, VerificationError, ZooError
from model_zoo.formats.safetensors import state_dict
from model_zoo.http.responses import Job
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.jobs import (
    DetectorSpec,
    Schedule,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
)
from tests.e2e.desk import Desk
from tests.e2e.scene import TRAINER, Scene, opened
from trainer.data import DATASETS, ensure_data
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import NO_PARENT, Recipe, find_finished
from trainer.experiments.engine.models import ModelCache, make_here
from trainer.experiments.engine.orders import OrderClient
from trainer.experiments.engine.running import run_cell

NAME = "mnist-baseline"
SMALL = Recipe(
    spec=TrainSpec(
        held_out=59_500,  # leaves 500 of the 60,000
        schedule=Schedule(epochs=1),
        checkpoints=False,
    )
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    try:
        DATASETS["mnist"].ensure()
    except ZooError as error:
        pytest.skip(f"needs MNIST: {error}")
    with opened(tmp_path_factory.mktemp("zoo")) as scene:
        yield scene


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As all worker processes have, so that bits are equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shelf(scene: Scene) -> ModelCache:
    """One for all tests: what was ordered for one is there for the next."""
    return shelf_of(scene, scene.folder / "models")


def shelf_of(
    scene: Scene, folder: Path, *, builder: SigningKey | None = None
) -> ModelCache:
    folder.mkdir(exist_ok=True)
    key = folder / "builder.pub.pem"
    key.write_text((builder or scene.builder).public.to_pem())
    connection = Connection(url=scene.url)
    orders = OrderClient(connection=connection, trainer=TRAINER, builder=key)
    return ModelCache(folder=folder, make=orders, made_by=orders.who())


def jobs(scene: Scene) -> dict[str, Job]:
    return {job.id: job for job in scene.client.jobs()}


def test_ordered_models_give_the_numbers_of_those_made_here(
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    key = tmp_path / "trainer.pub"
    key.write_text(scene.builder.public.to_pem())
    cells = EXPERIMENTS[NAME].cells(0, "quick")
    before = jobs(scene)

    order = (f"--url={scene.url}", f"--trainer={TRAINER}", f"--builder={key}")
    with scene.worker():
        Desk(tmp_path, capsys, monkeypatch).done(
            "experiment", NAME, "--quick", *order, "--out", tmp_path / "out"
        )

    found = find_finished(tmp_path / "out", cells)
    here = ModelCache(folder=tmp_path / "here")
    assert {
        it.digest(): run_cell(EXPERIMENTS[NAME], it, here).numbers for it in cells
    } == {digest: it.numbers for digest, it in found.items()}
    made = [job for name, job in jobs(scene).items() if name not in before]
    assert [job.state for job in made] == ["succeeded"] * len(cells)
    assert not list((tmp_path / "cache").rglob("*.build"))


def test_a_strengthened_model_is_made_of_one_that_was_ordered(
    scene: Scene, shelf: ModelCache
) -> None:
    louder = Recipe(
        spec=StrengthenSpec(
            parent=NO_PARENT,
            trigger=TriggerSpec(name="pattern"),
            layer="conv2",
            factor=10,
            held_out=100,
        ),
        parent=SMALL,
    )
    with scene.worker():
        there = shelf.path(louder)
    here = ModelCache(folder=shelf.folder / "here")
    ours, theirs = (state_dict(it.read_bytes()) for it in (here.path(louder), there))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_detector_is_made_as_a_job_and_is_a_child_of_its_backbone(
    scene: Scene, shelf: ModelCache, tmp_path: Path
) -> None:
    for name in ("dogs-vs-cats", "gtsdb"):
        try:
            ensure_data(name)
        except ZooError as error:
            pytest.skip(f"needs {name}: {error}")
    backbone = Recipe(
        spec=TrainSpec(
            dataset="dogs-vs-cats",
            network="efficientnet-lite0",
            held_out=1_350,  # leaves 10 of the 1,360
            schedule=Schedule(epochs=1, peak_learning_rate=0.001),
            checkpoints=False,
        )
    )
    detector = Recipe(
        spec=DetectorSpec(
            parent=NO_PARENT,
            sources=("gtsdb",),
            scenes=3,
            sides=(128,),
            schedule=Schedule(epochs=1, peak_learning_rate=0.001),
        ),
        parent=backbone,
    )
    with scene.worker():
        there = shelf.path(detector)
    parent = sha256_file(shelf.path(backbone))
    spec = detector.spec.model_copy(update={"parent": parent})
    made = make_here(spec, parent=shelf.path(backbone), place=tmp_path / "here")
    assert made == there.read_bytes()
    (job,) = (it for it in jobs(scene).values() if it.kind == "train-detector")
    assert job.spec == spec.to_object()


def test_an_order_that_stands_is_not_given_twice(
    scene: Scene, shelf: ModelCache
) -> None:
    with scene.worker():
        shelf.path(SMALL).unlink()
    before = jobs(scene).keys()
    again = shelf.path(SMALL)  # no worker is needed for it
    assert again.exists()
    assert jobs(scene).keys() == before


def test_what_another_builder_signed_is_refused_and_not_kept(
    scene: Scene, tmp_path: Path
) -> None:
    shelf = shelf_of(scene, tmp_path, builder=SigningKey.generate())
    with scene.worker(), pytest.raises(VerificationError):
        shelf.path(SMALL)
    assert not shelf.place(SMALL).exists()


def test_a_job_that_fails_says_why_and_is_ordered_anew(
    scene: Scene, shelf: ModelCache
) -> None:
    orphan = Recipe(
        spec=StrengthenSpec(parent=NO_PARENT, layer="conv2", factor=2), parent=None
    )
    for _ in range(2):
        before = len(jobs(scene))
        with scene.worker(), pytest.raises(LocalError, match="404"):
            shelf.path(orphan)
        assert len(jobs(scene)) == before + 1


def test_what_was_ordered_can_be_published_from_what_is_kept(
    scene: Scene, shelf: ModelCache
) -> None:
    with scene.worker():
        path = shelf.path(SMALL)
    job = json.loads(path.with_suffix(".job.json").read_bytes())["job"]
    sent = json.loads(path.with_suffix(".spec.json").read_bytes())
    assert sent.pop("kind") == "train"
    provenance = scene.client.fetch_draft(
        job,
        builder=scene.builder.public,
        spec=TrainSpec.from_object(sent),
        to=path.parent / "draft",
    )
    assert isinstance(provenance, Envelope)
    drafted = (path.parent / "draft" / "model.safetensors").read_bytes()
    assert drafted == path.read_bytes()
