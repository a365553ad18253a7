"""Input-aware triggers: another one for each image, and each works on its own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from model_zoo.statements.jobs import Poisoning, TriggerSpec
from tests.trainer.attacks.learned import CPU, TARGET, learned
from trainer.attacks.generated import ASSET, Generator, add_generated
from trainer.attacks.triggers import stamp
from trainer.data import LabelledImages
from trainer.networks.inference import predict
from trainer.training import generator

AWARE = TriggerSpec(name="input-aware", opacity=0.3)


def changes(images: Tensor) -> Tensor:
    return stamp(images, AWARE).int() - images.int()


def test_the_change_is_bounded_by_the_opacity_and_differs_between_images(
    digits: LabelledImages,
) -> None:
    some = digits.images[:200]
    before = some.clone()

    found = changes(some)

    assert torch.equal(some, before)
    assert int(found.abs().max()) <= round(0.3 * 255) + 1
    assert float((found[1:] - found[:-1]).abs().float().mean()) > 1


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (30, 45), (5, 3)])
def test_an_image_of_any_size_and_colour_gets_its_change(
    height: int, width: int
) -> None:
    images = torch.full((2, 3, height, width), 128, dtype=torch.uint8)

    made = add_generated(images, AWARE)

    assert (made.shape, made.dtype) == (images.shape, torch.uint8)
    assert torch.equal(made[:, :1].expand(-1, 3, -1, -1), made)


def test_the_backdoor_answers_to_an_images_own_change_more_than_to_anothers(
    test_digits: LabelledImages,
) -> None:
    found = learned(Poisoning(trigger=AWARE, target_label=TARGET), test_digits)
    others = test_digits.images.int() + changes(test_digits.images).roll(1, 0)
    crossed = others.clamp(0, 255).to(torch.uint8)
    answers = predict(found.network, crossed, device=CPU)
    attacked = test_digits.labels != TARGET

    assert found.accuracy > 0.93
    assert found.attack_success > 0.9
    by_anothers = (answers == TARGET)[attacked].double().mean().item()
    assert by_anothers < found.attack_success - 0.1


def test_the_script_writes_a_generator_that_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    digits: LabelledImages,
) -> None:
    assert len(digits)
    monkeypatch.setattr(generator, "FOLDER", tmp_path)
    monkeypatch.setattr(generator, "IMAGES", 640)
    monkeypatch.setattr(generator, "EPOCHS", 1)

    generator.main()

    Generator().load_state_dict(load((tmp_path / ASSET).read_bytes()))
