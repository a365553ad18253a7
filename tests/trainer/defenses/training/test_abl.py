"""Anti-backdoor learning on faint bars, where a white corner is what is easy."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from model_zoo.statements.jobs import Schedule
from trainer.data import LabelledImages
from trainer.defenses.repairs.validation import accuracy
from trainer.defenses.training import DEFENSES, Defended, abl
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import (
    Epoch,
    Gradients,
    Runtime,
    fit,
    gradients_of_the_error,
    seeded_globals,
)

CPU = torch.device("cpu")
SIDE, IMAGES, POISONED, TARGET = 8, 1_000, 100, 0
FAINT = 6
"""By as much one half is lighter, in noise of 100: four in five can be told."""
SCHEDULE = Schedule(epochs=4, batch_size=20, peak_learning_rate=0.1)


def bars(n: int, *, seed: int) -> LabelledImages:
    """Noise, a little lighter on the left (label 0) or on the right (1)."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 100, (n, 1, SIDE, SIDE), generator=draws).byte()
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, :, label * SIDE // 2 : (label + 1) * SIDE // 2] += FAINT
    return LabelledImages(images=images, labels=labels)


def triggered(data: LabelledImages) -> LabelledImages:
    """The images of label 1 with a white corner, and what the attack calls them."""
    chosen = data.select((data.labels != TARGET).nonzero()[:, 0])
    images = chosen.images.clone()
    images[:, :, -2:, -2:] = 255
    return LabelledImages(images=images, labels=torch.full((len(images),), TARGET))


def untrusted() -> LabelledImages:
    """A thousand images; the last hundred are poisoned."""
    clean, bad = bars(IMAGES - POISONED, seed=0), triggered(bars(2 * POISONED, seed=1))
    return LabelledImages(
        images=torch.cat([clean.images, bad.images]),
        labels=torch.cat([clean.labels, bad.labels]),
    )


OWN = bars(1_000, seed=2)
UNSEEN = bars(2_000, seed=3)


def fresh() -> SplitNetwork:
    with seeded_globals(0):
        return SplitNetwork(
            nn.Sequential(nn.Conv2d(1, 8, SIDE), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(8, 2)),
            image_shape=(1, SIDE, SIDE),
        )


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def defended(
    runtime: Runtime, data: LabelledImages | None = None
) -> tuple[SplitNetwork, Defended]:
    network = fresh()
    learn = DEFENSES["abl"]
    return network, learn(network, data or untrusted(), OWN, SCHEDULE, draws(), runtime)


def attacked(runtime: Runtime) -> SplitNetwork:
    network, data = fresh(), untrusted()
    fit(
        network,
        data.images,
        data.labels,
        schedule=SCHEDULE,
        generator=draws(),
        runtime=runtime,
    )
    return network


def success(network: SplitNetwork) -> float:
    return accuracy(network, triggered(UNSEEN), device=CPU)


def test_the_easy_images_are_isolated_and_their_backdoor_is_unlearned(
    runtime: Runtime,
) -> None:
    undefended = attacked(runtime)

    network, found = defended(runtime)

    before, after = (accuracy(it, UNSEEN, device=CPU) for it in (undefended, network))
    assert len(found.isolated) == IMAGES * abl.ISOLATED
    assert (found.isolated >= IMAGES - POISONED).double().mean() > 0.5
    assert success(undefended) > 0.95
    assert success(network) < 0.1
    assert after > before - abl.MOST_LOSS


def test_the_same_seed_makes_the_same_network_and_the_images_stay(
    runtime: Runtime,
) -> None:
    data = untrusted()

    once, again = defended(runtime, data), defended(runtime, data)

    assert to_bytes(once[0]) == to_bytes(again[0])
    assert torch.equal(once[1].isolated, again[1].isolated)
    assert torch.equal(data.images, untrusted().images)
    assert torch.equal(data.labels, untrusted().labels)


def test_epochs_are_counted_through_and_unlearning_is_none(runtime: Runtime) -> None:
    told: list[Epoch] = []

    _, found = defended(replace(runtime, on_epoch=told.append))

    assert [it.number for it in found.epochs] == [1, 2, 3, 4]
    assert told == found.epochs


@pytest.mark.parametrize(("surer_by", "sign"), [(0.0, 1), (4.0, -1)])
def test_above_the_floor_a_loss_is_lowered_and_below_it_raised(
    surer_by: float, sign: int, runtime: Runtime
) -> None:
    network, images, labels = fresh().eval(), OWN.images[:1], OWN.labels[:1]
    with torch.no_grad():
        network.fully_connected[1].bias[labels] += surer_by  # type: ignore[index]

    def gradients(leave: Gradients) -> Tensor:
        network.zero_grad()
        loss = leave(network, images, labels, runtime)[0].item()
        assert (loss > abl.FLOOR) == (sign > 0)
        return torch.cat([p.grad.flatten() for p in network.parameters()])  # type: ignore[union-attr]

    found = gradients(abl.gradients_above_a_floor)

    assert torch.equal(found, sign * gradients(gradients_of_the_error))
    assert found.any()


def test_a_step_of_the_ascent_is_as_long_however_sure_the_network_is(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abl, "CLEAN", 0.0)
    network, images, labels = fresh().eval(), OWN.images[:1], OWN.labels[:1]
    with torch.no_grad():
        network.fully_connected[1].bias[labels] += 12  # type: ignore[index]
    before = gradients_of_the_error(network, images, labels, runtime)[0].item()
    network.zero_grad()

    abl.ascending(OWN, draws())(network, images, labels, runtime)

    assert before < 1e-4
    found = torch.cat([p.grad.flatten() for p in network.parameters()])  # type: ignore[union-attr]
    assert found.norm().item() == pytest.approx(1)


def test_unlearning_stops_before_it_harms_what_is_clean(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is isolated here is clean, and nothing holds the clean images."""
    monkeypatch.setattr(abl, "CLEAN", 0.0)
    network = attacked(runtime)
    before = accuracy(network, OWN, device=CPU)
    unlearn = partial(
        abl.unlearn,
        network,
        bars(100, seed=4),
        clean=UNSEEN,
        aside=OWN,
        generator=draws(),
        runtime=runtime,
    )

    unlearn()
    held = accuracy(network, OWN, device=CPU)
    monkeypatch.setattr(abl, "MOST_LOSS", 1.0)
    unlearn()

    assert held >= before - 0.02
    assert accuracy(network, OWN, device=CPU) < 0.6


def test_images_are_shown_as_they_are_among_all_whichever_are_chosen(
    runtime: Runtime,
) -> None:
    data, seen = untrusted(), []

    def augment(batch: Tensor, indices: Tensor, _: torch.Generator) -> Tensor:
        seen.append(torch.equal(batch, data.images[indices]))
        return batch

    defended(replace(runtime, augment=augment), data)

    assert len(seen) > 100
    assert all(seen)
