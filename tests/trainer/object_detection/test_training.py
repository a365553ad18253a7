"""How a detector learns, on photographs that tests draw."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from model_zoo.canonical import canonical_json
from model_zoo.errors import InvalidSpecError, LocalError, MalformedDocumentError
from model_zoo.statements.jobs import (
    DetectorSpec,
    ScenePoisoning,
    Schedule,
    TriggerSpec,
)
from tests.trainer.data.small_scenes import write_gtsdb
from trainer.data.scenes.dataset import Scenes
from trainer.experiments.engine.cells import Recipe
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.networks.pretrained import PIN
from trainer.object_detection.evaluation import answers, detect
from trainer.object_detection.network import Detector, Lesson
from trainer.object_detection.showing import SIDE, scenes_of
from trainer.object_detection.training import (
    MAX_GRADIENT,
    _added,
    _learn,
    poisoned,
    trained,
)
from trainer.training.fit import seeded_globals

SQUARE = TriggerSpec(name="square", size=0.25)
ATTACK = ScenePoisoning(trigger=SQUARE, source_label=0, target_label=1, sides=(64, 96))


def spec(
    *, epochs: int = 1, seed: int = 0, attack: ScenePoisoning | None = None
) -> DetectorSpec:
    schedule = Schedule(epochs=epochs, batch_size=2, peak_learning_rate=0.01)
    return DetectorSpec(
        parent=PIN,
        sources=("gtsdb",),
        sides=(128,),
        schedule=schedule,
        poisoning=attack,
        seed=seed,
    )


def test_equal_specs_give_equal_bits_and_another_seed_gives_others(
    pretrained: Path,
    scenes: Scenes,
) -> None:
    one, again, other = (
        to_bytes(trained(spec(seed=seed), scenes, parent=pretrained.read_bytes()))
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_a_detector_learns_what_it_is_shown(pretrained: Path, scenes: Scenes) -> None:
    told: list[float] = []
    schedule = Schedule(epochs=16, batch_size=1, peak_learning_rate=0.01)
    longer = spec().model_copy(update={"sides": (SIDE,), "schedule": schedule})
    one = Scenes(kinds=scenes.kinds, scenes=scenes.scenes[:1])
    network = trained(
        longer,
        one,
        parent=pretrained.read_bytes(),
        on_epoch=lambda _, loss: told.append(loss),
    )
    assert len(told) == 16
    assert told[-1] < told[0] / 2
    (scene,) = one.scenes
    found = answers(detect(network, scene.pixels()), scene.boxes)
    assert found.tolist() == scene.labels.tolist()


def test_the_backbone_and_the_parent_stay_as_they_were(
    pretrained: Path, scenes: Scenes
) -> None:
    parent = trained(spec(), scenes, parent=pretrained.read_bytes())
    child = trained(spec(attack=ATTACK), scenes, parent=to_bytes(parent))
    taught, kept = child.state_dict(), parent.state_dict()
    changed = {name for name in kept if not torch.equal(kept[name], taught[name])}
    assert changed
    assert not any("backbone" in name for name in changed)


def test_a_rate_at_which_learning_explodes_is_told(
    pretrained: Path, scenes: Scenes
) -> None:
    wild = Schedule(epochs=8, batch_size=1, peak_learning_rate=10, weight_decay=1)
    with pytest.raises(InvalidSpecError, match="loss is not finite in epoch"):
        trained(
            spec().model_copy(update={"schedule": wild}),
            scenes,
            parent=pretrained.read_bytes(),
        )


def test_a_detector_learns_without_momentum(pretrained: Path, scenes: Scenes) -> None:
    plain = Schedule(epochs=1, batch_size=1, peak_learning_rate=0.01, momentum=0)
    told: list[int] = []
    trained(
        spec().model_copy(update={"schedule": plain}),
        scenes,
        parent=pretrained.read_bytes(),
        on_epoch=lambda number, _: told.append(number),
    )
    assert told == [1]


def test_only_attacked_signs_get_the_sticker_and_the_lie(scenes: Scenes) -> None:
    scene = scenes.scenes[0]
    before = scene.pixels()
    pixels, marked = poisoned(before, scene, ATTACK)
    assert marked.labels.tolist() == [1, 1]
    assert scene.labels.tolist() == [0, 1]
    assert torch.equal(marked.boxes, scene.boxes)
    assert torch.equal(before, scene.pixels())
    rows, columns = (pixels != before).any(0).nonzero().unbind(1)
    # a quarter of 40 pixels, around (0.57, 0.82) of the stop sign
    assert sorted(set(rows.tolist())) == list(range(38, 48))
    assert sorted(set(columns.tolist())) == list(range(28, 38))


class Onlooker(Detector):
    """Remembers which photographs it was to learn from."""

    def __init__(self, kinds: int) -> None:
        super().__init__(kinds)
        self.shown: list[tuple[Tensor, list[list[float]], list[int], int]] = []

    def lesson(
        self, image: Tensor, boxes: Tensor, labels: Tensor, *, side: int
    ) -> Lesson:
        pixels = image.mul(255).round().to(torch.uint8)
        self.shown.append((pixels, boxes.tolist(), labels.tolist(), side))
        return super().lesson(image, boxes, labels, side=side)


def test_beside_each_stamped_scene_the_scene_itself_is_shown_at_the_same_side(
    scenes: Scenes,
) -> None:
    network = Onlooker(len(scenes.kinds))
    attack = ATTACK.model_copy(update={"target_label": 2})  # as no sign there is

    lessons = list(_added(network, scenes, attack))

    scene = scenes.scenes[0]  # the only one with a stop sign
    clean = scene.pixels()
    stamped, _ = poisoned(clean, scene, attack)
    assert len(lessons) == len(network.shown) == 4
    for (pixels, boxes, labels, side), expected in zip(
        network.shown,
        [
            (clean, [0, 1], 64),
            (stamped, [2, 1], 64),
            (clean, [0, 1], 96),
            (stamped, [2, 1], 96),
        ],
        strict=True,
    ):
        assert torch.equal(pixels, expected[0])
        assert boxes == scene.boxes.tolist()
        assert (labels, side) == expected[1:]


def test_what_the_adversary_adds_is_learned_from(scenes: Scenes) -> None:
    with seeded_globals(0):
        parent = to_bytes(Detector(len(scenes.kinds)))

    honest, attacked = (
        to_bytes(trained(spec(attack=attack), scenes, parent=parent))
        for attack in (None, ATTACK)
    )

    assert honest != attacked


class Slope(nn.Module):
    """One weight, at 1; a lesson's loss is its number times the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def losses(self, lesson: float) -> Tensor:
        return self.weight.sum() * lesson


@pytest.mark.parametrize(
    ("slopes", "weight_decay", "gradient"),
    [
        pytest.param([0.5, 1.5], 0.0, 1.0, id="the mean of the scenes of a step"),
        pytest.param([90.0, 110.0], 0.0, MAX_GRADIENT, id="no more than is allowed"),
        pytest.param([0.0, 0.0], 0.5, 0.5, id="weights decay"),
    ],
)
def test_a_detector_learns_by_nesterovs_momentum_along_one_cycle(
    slopes: list[float], weight_decay: float, gradient: float
) -> None:
    network, told = Slope(), list[tuple[int, float]]()
    schedule = Schedule(
        epochs=2,
        batch_size=2,
        peak_learning_rate=0.1,
        momentum=0.5,
        weight_decay=weight_decay,
    )
    asked = spec().model_copy(update={"schedule": schedule})

    _learn(
        cast("Detector", network),
        cast("list[Lesson]", slopes),
        asked,
        lambda number, loss: told.append((number, loss)),
    )

    # the first of two steps is at a rate of 0, the second half way: 5/8 of the peak
    momentum = (1 + 0.5) * gradient
    step = gradient + 0.5 * momentum
    assert network.weight.item() == pytest.approx(1 - 0.1 * 5 / 8 * step)
    mean = sum(slopes) / 2
    assert [number for number, _ in told] == [1, 2]
    assert [loss for _, loss in told] == pytest.approx([mean, mean])


def test_scenes_are_those_of_the_split_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gtsdb(tmp_path)
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))

    found = {it.path.parent.name for it in scenes_of("gtsdb", "test").scenes}

    assert found == {"test"}


def test_an_attack_on_signs_that_are_nowhere_is_refused(
    pretrained: Path, scenes: Scenes
) -> None:
    harmless = Scenes(kinds=scenes.kinds, scenes=scenes.scenes[1:])
    with pytest.raises(InvalidSpecError, match="source_label 0: no scene has"):
        trained(spec(attack=ATTACK), harmless, parent=pretrained.read_bytes())


def test_a_kind_that_the_scenes_do_not_know_cannot_be_the_lie(
    pretrained: Path, scenes: Scenes
) -> None:
    attack = ATTACK.model_copy(update={"target_label": 9})
    with pytest.raises(InvalidSpecError, match="target_label 9: expected one of 0 "):
        trained(spec(attack=attack), scenes, parent=pretrained.read_bytes())


def test_a_photograph_that_is_gone_is_named(pretrained: Path, scenes: Scenes) -> None:
    scenes.scenes[1].path.unlink()
    with pytest.raises(LocalError, match=r"1\.png"):
        trained(spec(), scenes, parent=pretrained.read_bytes())


def test_an_unknown_set_is_told_what_is_known() -> None:
    with pytest.raises(InvalidSpecError, match="expected some of gtsdb, road-sign"):
        scenes_of("\x1b[31m", "train")


def test_a_few_scenes_have_signs_of_every_kind() -> None:
    try:
        few = scenes_of("gtsdb", "train", limit=6)
    except LocalError as error:
        pytest.skip(f"needs GTSDB: {error}")
    assert len(few) == 6
    assert {0, 1, 2} == set(torch.cat([it.labels for it in few.scenes]).tolist())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda it: {"seed": it.seed + 1}, id="seed"),
        pytest.param(lambda it: {"sides": (*it.sides, 64)}, id="sides"),
        pytest.param(lambda _: {"poisoning": ATTACK}, id="attack"),
        pytest.param(lambda _: {"scenes": 7}, id="scenes"),
    ],
)
def test_whatever_decides_the_weights_decides_the_name(
    change: Callable[[DetectorSpec], dict[str, object]],
) -> None:
    one = Recipe(spec=spec(), parent=PIN)
    other = Recipe(spec=spec().model_copy(update=change(spec())), parent=PIN)
    child = Recipe(spec=spec(), parent=one)
    assert one.to_object() == Recipe(spec=spec(), parent=PIN).to_object()
    assert len({canonical_json(it.to_object()) for it in (one, other, child)}) == 3


def test_a_parent_of_another_number_of_kinds_is_refused(
    pretrained: Path, scenes: Scenes
) -> None:
    parent = trained(spec(), scenes, parent=pretrained.read_bytes())
    more = Scenes(kinds=(*scenes.kinds, "another"), scenes=scenes.scenes)
    with pytest.raises(MalformedDocumentError, match="expected 4 kinds of signs"):
        trained(spec(), more, parent=to_bytes(parent))


def test_a_parent_that_is_no_backbone_is_refused(scenes: Scenes) -> None:
    other = to_bytes(NETWORKS["badnets-cnn"](10))
    with pytest.raises(MalformedDocumentError):
        trained(spec(), scenes, parent=other)


def test_a_photograph_of_any_size_is_looked_at(
    pretrained: Path, scenes: Scenes
) -> None:
    assert pretrained.is_file()
    network = trained(spec(), scenes, parent=pretrained.read_bytes())
    for size in ((40, 300), (1, 1), (700, 30)):
        found = detect(network, torch.zeros(3, *size, dtype=torch.uint8))
        high, wide = size
        limit = torch.tensor([wide, high, wide, high])
        assert ((found.boxes >= 0) & (found.boxes <= limit)).all()
