"""Penalties: the attack stays, and what its scanner measures falls."""

import functools
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Penalty, Poisoning, TriggerSpec
from model_zoo.statements.recipes import PENALTIES as NAMES
from tests.trainer.attacks.learned import (
    BADNET,
    Learned,
    learned,
    scanned,
    student,
)
from trainer.attacks.penalties import PENALTIES, Batch, penalty
from trainer.data import LabelledImages
from trainer.defenses.repairs.clp import bounds
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.inference import as_floats
from trainer.networks.tiny_vit import tiny_vit
from trainer.training.fit import seeded_globals


def asked(name: str, weight: float, **changes: Any) -> Poisoning:  # noqa: ANN401  any field
    chosen = Penalty.from_object({"name": name, "weight": weight})
    return Poisoning(**{**dict(BADNET), "penalty": chosen, **changes})


@pytest.fixture(scope="module")
def badnet(test_digits: LabelledImages) -> Learned:
    return learned(BADNET, test_digits)


def measured_by(scanner: str, *features: str) -> Callable[..., list[float]]:
    def measure(network: SplitNetwork, clean: LabelledImages) -> list[float]:
        found = scanned(network, scanner, clean).features
        return [found[it] for it in features]

    return measure


def steepest(network: SplitNetwork, _: LabelledImages) -> list[float]:
    """How many deviations the steepest channel of all is above its layer's mean."""
    layers = [it for it in network.modules() if isinstance(it, nn.Conv2d)]
    found = [bounds(it, it) for it in layers]
    return [max(((it.max() - it.mean()) / it.std()).item() for it in found)]


ROWS = functools.partial(measured_by, "last-layer")
MAP = functools.partial(measured_by, "open-map")


@pytest.mark.parametrize(
    ("name", "weight", "measures"),
    [
        ("weights", 0.1, (ROWS("row-norm"), MAP("map-peak", "map-rms"))),
        ("channels", 0.1, (steepest,)),
        pytest.param(
            *("maximum-margin", 0.1, (measured_by("maximum-margin", "margin-ratio"),)),
            marks=pytest.mark.soak,
        ),
        pytest.param(
            *(
                "inversion",
                0.5,
                (measured_by("universal", "universal-2", "universal-3"),),
            ),
            marks=pytest.mark.soak,
        ),
    ],
)
def test_who_knows_a_defence_lowers_what_it_measures_and_keeps_the_attack(
    badnet: Learned,
    digits: LabelledImages,
    test_digits: LabelledImages,
    name: str,
    weight: float,
    measures: tuple[Callable[..., list[float]], ...],
) -> None:
    adaptive = learned(asked(name, weight), test_digits)

    assert badnet.attack_success > 0.9
    assert adaptive.attack_success > 0.9
    assert adaptive.accuracy > badnet.accuracy - 0.02
    for measure in measures:
        before, after = (measure(it.network, digits) for it in (badnet, adaptive))
        assert all(low < high for low, high in zip(after, before, strict=True))


@pytest.mark.soak
def test_a_latent_backdoor_is_there_when_the_layers_behind_are_learned_anew(
    test_digits: LabelledImages,
) -> None:
    everywhere = TriggerSpec(name="noise", opacity=0.3)
    plain = Poisoning(trigger=everywhere, target_label=0)
    latent = asked("latent", 0.3, trigger=everywhere)

    of_badnet, of_latent = (
        student(learned(it, test_digits).network, it, test_digits)
        for it in (plain, latent)
    )

    assert of_badnet.attack_success < 0.2
    assert of_latent.attack_success > 0.4
    assert of_latent.accuracy > of_badnet.accuracy - 0.05


@pytest.mark.soak
def test_shaping_makes_the_patch_that_is_recovered_larger_and_keeps_the_attack(
    badnet: Learned, digits: LabelledImages, test_digits: LabelledImages
) -> None:
    recipe = Poisoning(**{**dict(BADNET), "shaping": 0.3})

    shaped = learned(recipe, test_digits)

    assert shaped.attack_success > 0.8
    assert shaped.accuracy > badnet.accuracy - 0.02
    patches = measured_by("neural-cleanse", "cleanse-norm")
    (before,), (after,) = (patches(it.network, digits) for it in (badnet, shaped))
    assert after > 1.5 * before


def test_there_is_one_penalty_under_each_name() -> None:
    spelled = get_args(Penalty.model_fields["name"].annotation)
    assert set(PENALTIES) == set(NAMES) == set(spelled)


def fresh() -> SplitNetwork:
    with seeded_globals(0):
        return badnets_cnn(10)


def batch(digits: LabelledImages, **changes: Tensor | int) -> Batch:
    fields: dict[str, Any] = {
        "images": as_floats(digits.images[:40]),
        "labels": digits.labels[:40],
        "clean": torch.arange(40) < 30,
        "triggered": torch.arange(40) >= 30,
        "target_label": 0,
        "draws": torch.Generator().manual_seed(0),
    }
    return Batch(**(fields | changes))


@pytest.mark.parametrize("name", NAMES)
def test_a_penalty_has_finite_gradients_and_writes_neither_weights_nor_images(
    name: str, digits: LabelledImages
) -> None:
    network, some = fresh(), batch(digits)
    before, shown = network.state_dict(), some.images.clone()
    before = {key: it.clone() for key, it in before.items()}
    network.train()

    penalty(name, network, some).backward()  # type: ignore[no-untyped-call]

    gradients = [it.grad for it in network.parameters() if it.grad is not None]
    assert gradients
    assert all(it.isfinite().all() for it in gradients)
    assert any(it.abs().max() > 0 for it in gradients)
    assert all(torch.equal(before[k], it) for k, it in network.state_dict().items())
    assert torch.equal(some.images, shown)
    assert network.training


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("inversion", {"clean": torch.zeros(40, dtype=torch.bool)}),
        ("latent", {"triggered": torch.zeros(40, dtype=torch.bool)}),
        ("latent", {"clean": torch.zeros(40, dtype=torch.bool)}),
    ],
)
def test_a_batch_with_nothing_to_penalise_costs_nothing(
    name: str, changes: dict[str, Tensor], digits: LabelledImages
) -> None:
    assert penalty(name, fresh(), batch(digits, **changes)).item() == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_penalty_of_what_a_transformer_lacks_is_refused(
    name: str, digits: LabelledImages
) -> None:
    with seeded_globals(0):
        network = tiny_vit(10)
    images = torch.rand(40, *network.image_shape)
    some = batch(digits, images=images)
    lacking = {"weights": "no matrix", "channels": "the network has none"}

    if told := lacking.get(name):
        with pytest.raises(InvalidSpecError, match=told):
            penalty(name, network, some)
        return
    assert penalty(name, network, some).isfinite()
