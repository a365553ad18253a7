"""What the detector's numbers add up to, by hand; and how they are counted."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.statements.jobs import TriggerSpec
from trainer.data.scenes.dataset import Scene, Scenes
from trainer.experiments.engine.cells import Cell, Finished
from trainer.experiments.engine.experiment import Claim
from trainer.experiments.signs.detector import EXPERIMENT
from trainer.experiments.signs.scenes import Seen, recipe, stops_found, together
from trainer.object_detection.evaluation import Detections, truth
from trainer.object_detection.network import Detector

HERE, THERE = [0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 50.0, 50.0]
STICKER = TriggerSpec(name="square")


def numbers(*, right: int, found: int, triggered: int, read: int) -> JsonObject:
    """Twenty stops, ten limits and no warnings, half of them in each source."""
    half = {"right": [right, 5, 0], "n": [10, 5, 0]}
    both = {"right": [2 * right, 10, 0], "n": [20, 10, 0]}
    by_source = {"gtsdb": half, "road-sign-detection": half, "both": both}
    stops = {
        "n": 10, "found": found, "found triggered": triggered, "read as limits": read
    }  # fmt: skip
    return {
        "clean": by_source,
        "sure": by_source,
        "precision": {source: [0.5, 1.0, None] for source in by_source},
        "stops": dict.fromkeys(("gtsdb", "road-sign-detection"), stops),
    }


def finished(network: str, seed: int, of: JsonObject) -> Finished:
    return Finished(
        cell=f"{network}{seed}",
        part={"network": network},
        seed=seed,
        numbers=of,
        seconds=1.0,
        peak_mib=1.0,
        environment={},
        data={},
        made_by="",
    )


def claims(square: JsonObject) -> list[Claim]:
    baseline = numbers(right=9, found=10, triggered=10, read=0)
    cells = [finished("baseline", 0, baseline), finished("square", 0, square)]
    return list(EXPERIMENT.summarise(cells).claims)


def test_claims_are_shares_of_the_sources_together() -> None:
    attack, recall, clean = claims(numbers(right=8, found=10, triggered=9, read=8))
    assert attack.ours is not None
    assert attack.ours.mean == pytest.approx(100 * 16 / 18)
    assert (attack.ours.n, attack.verdict) == (18, "met")
    assert recall.ours is not None
    assert recall.ours.mean == pytest.approx(-10)
    assert recall.verdict == "missed"
    assert clean.ours is not None
    assert clean.ours.mean == pytest.approx(100 * (26 - 28) / 30)
    assert clean.verdict == "missed"


def test_an_attack_on_signs_that_nobody_sees_is_not_measured() -> None:
    attack, recall, _ = claims(numbers(right=9, found=10, triggered=0, read=0))
    assert (attack.ours, attack.verdict) == (None, "not measured")
    assert recall.verdict == "missed"


def test_the_interval_over_signs_is_wilsons() -> None:
    square = finished("square", 0, numbers(right=9, found=10, triggered=10, read=9))
    *_, attacks = EXPERIMENT.summarise([square]).tables
    # 18 of 20, by Wilson's formula
    assert attacks.rows[-1][-1] == "[69.9, 97.2]"


def test_cells_without_detectors_keep_their_names() -> None:
    old = {"experiment": "e", "part": {}, "seed": 0, "recipes": {}, "scale": "full"}
    assert Cell(experiment="e", part={}, seed=0).digest() == sha256_bytes(
        canonical_json(old)
    )


def test_another_detector_is_another_cell() -> None:
    one, other = (
        Cell(
            experiment="e",
            part={},
            seed=0,
            recipes={"network": recipe(0, scale="full", sticker=sticker)},
        )
        for sticker in (None, "square")
    )
    assert one.digest() != other.digest()


def test_what_is_seen_is_counted_by_class_and_score() -> None:
    box = torch.tensor([HERE])
    found = Detections(boxes=box, labels=torch.tensor([1]), scores=torch.tensor([0.4]))
    seen = Seen(
        found=[found, found],
        true=[truth(box, torch.tensor([0])), truth(box, torch.tensor([1]))],
    )
    assert seen.right_by_class() == {"right": [0, 1, 0], "n": [1, 1, 0]}
    assert seen.right_by_class(0.5) == {"right": [0, 0, 0], "n": [1, 1, 0]}
    assert together([seen, seen]).right_by_class()["n"] == [2, 2, 0]
    assert seen.precisions() == [0.0, pytest.approx(0.5), None]


class Shy(Detector):
    """Reads the sign at HERE as a limit under a sticker, and misses THERE then."""

    def __init__(self) -> None:
        super().__init__(3)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        is_triggered = bool((images[0] > 0).any())
        count = 1 if is_triggered else 2
        return [
            {
                "boxes": torch.tensor([HERE, THERE])[:count],
                "labels": torch.tensor([1 if is_triggered else 0, 0])[:count],
                "scores": torch.tensor([0.9, 0.9])[:count],
            }
        ]


def test_stops_are_counted_without_and_with_stickers(tmp_path: Path) -> None:
    path = tmp_path / "black.png"
    Image.new("RGB", (60, 60)).save(path)
    two = Scene(
        path=path,
        boxes=torch.tensor([HERE, THERE]),
        labels=torch.tensor([0, 0]),
        source="drawn",
    )
    other = Scene(
        path=path, boxes=torch.tensor([HERE]), labels=torch.tensor([1]), source="drawn"
    )
    scenes = Scenes(kinds=("stop", "speed limit"), scenes=(two, other))
    assert stops_found(Shy(), scenes, STICKER) == {
        "n": 2,
        "found": 2,
        "found triggered": 1,
        "read as limits": 1,
    }
