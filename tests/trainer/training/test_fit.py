"""Training: it learns, it stops in time, and equal seeds give equal bits."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Schedule
from trainer.data import LabelledImages
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.inference import as_floats
from trainer.training.augmentation import augmentation
from trainer.training.fit import (
    Epoch,
    Runtime,
    Segment,
    fit,
    one_cycle,
    replay,
    seeded_globals,
)
from trainer.training.optimizers import SECOND_MOMENT, Descent, descend

SHORT = Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1)

REBUILD = """
import time, torch
from model_zoo.digests import sha256_bytes
from model_zoo.statements.jobs import Schedule
from trainer.networks.checkpoints import to_bytes
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.training.fit import Runtime, fit, seeded_globals

torch.set_num_threads(1)
noise = torch.Generator().manual_seed(1)
images = torch.randint(256, (130, 1, 28, 28), dtype=torch.uint8, generator=noise)
labels = torch.randint(10, (130,), generator=noise)
with seeded_globals(7):
    network = badnets_cnn(10)
for precision in ("fp32", "bf16"):
    fit(
        network, images, labels,
        schedule=Schedule(epochs=2, batch_size=32, peak_learning_rate=0.05),
        generator=torch.Generator().manual_seed(7),
        runtime=Runtime(
            device=torch.device("cpu"), precision=precision,
            deadline=time.monotonic() + 300, on_epoch=lambda _: None,
        ),
    )
    print(precision, sha256_bytes(to_bytes(network)))
"""


def fresh(seed: int = 0) -> nn.Module:
    with seeded_globals(seed):
        return badnets_cnn(10)


def fitted(
    data: LabelledImages, runtime: Runtime, *, seed: int = 0, schedule: Schedule = SHORT
) -> tuple[nn.Module, list[Epoch]]:
    network = fresh(seed)
    epochs = fit(
        network,
        data.images,
        data.labels,
        schedule=schedule,
        generator=torch.Generator().manual_seed(seed),
        runtime=runtime,
    )
    return network, epochs


def noise(n: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(1)
    return LabelledImages(
        images=torch.randint(
            256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator
        ),
        labels=torch.randint(10, (n,), generator=generator),
    )


def augmenting(runtime: Runtime, name: str) -> Runtime:
    move = augmentation(name)
    if move is None:
        return runtime
    return dataclasses.replace(runtime, augment=lambda batch, _, g: move(batch, g))


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_it_learns_digits_and_tells_of_each_epoch(
    digits: LabelledImages, runtime: Runtime
) -> None:
    told: list[Epoch] = []
    runtime = dataclasses.replace(runtime, on_epoch=told.append)

    _, epochs = fitted(digits, runtime)

    assert epochs == told
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert epochs[1].loss < epochs[0].loss
    assert epochs[1].accuracy > 0.8


def test_two_processes_give_bit_identical_weights() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", REBUILD], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(told) == 1


OF_ADAMW = Schedule(epochs=3, batch_size=32, peak_learning_rate=2e-3, optimizer="adamw")
OF_SGD = Schedule(epochs=3, batch_size=32, peak_learning_rate=0.05)


@pytest.mark.parametrize(
    ("name", "schedule"), [("none", OF_SGD), ("digits", OF_SGD), ("none", OF_ADAMW)]
)
def test_any_epoch_can_be_run_again_from_the_state_before_it(
    runtime: Runtime, name: str, schedule: Schedule
) -> None:
    data = noise(130)
    images, labels, runtime = data.images, data.labels, augmenting(runtime, name)
    network = fresh()
    states: list[tuple[dict[str, torch.Tensor], list[torch.Tensor]]] = []

    def keep(number: int, momenta: Sequence[torch.Tensor]) -> None:
        assert number == len(states)
        weights = {name: it.clone() for name, it in network.state_dict().items()}
        states.append((weights, [momentum.clone() for momentum in momenta]))

    epochs = fit(
        network,
        images,
        labels,
        schedule=schedule,
        generator=torch.Generator().manual_seed(5),
        runtime=dataclasses.replace(runtime, on_state=keep),
    )

    for epoch, before, after in zip(epochs, states[:-1], states[1:], strict=True):
        again = fresh(seed=9)
        again.load_state_dict(before[0])
        ends: list[list[torch.Tensor]] = []

        def note(
            _: int,
            momenta: Sequence[torch.Tensor],
            ends: list[list[torch.Tensor]] = ends,
        ) -> None:
            ends.append(list(momenta))

        found = replay(
            again,
            images,
            labels,
            segment=Segment(schedule=schedule, number=epoch.number, momenta=before[1]),
            generator=torch.Generator().manual_seed(5),
            runtime=dataclasses.replace(runtime, on_state=note),
        )

        assert found == epoch
        assert all(torch.equal(again.state_dict()[n], after[0][n]) for n in after[0])
        assert all(map(torch.equal, ends[0], after[1]))


def test_an_augmented_fit_gives_equal_bits_twice_and_others_than_a_plain_one(
    runtime: Runtime,
) -> None:
    data, moving = noise(130), augmenting(runtime, "digits")

    first, again = (fitted(data, moving) for _ in range(2))

    assert torch.equal(weights(first[0]), weights(again[0]))
    assert first[1] == again[1]
    assert not torch.equal(weights(first[0]), weights(fitted(data, runtime)[0]))
    other, _ = fitted(data, moving, seed=1)
    assert not torch.equal(weights(first[0]), weights(other))


def test_augmentation_is_told_which_samples_it_shows_and_draws_anew_each_epoch_and_seed(
    runtime: Runtime,
) -> None:
    data, seen, draws = noise(130), [0] * 130, []

    def watch(
        batch: torch.Tensor, indices: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        assert torch.equal(batch, data.images[indices])
        for index in indices.tolist():
            seen[index] += 1
        draws.append(float(torch.rand(1, generator=generator)))
        return batch

    fitted(data, dataclasses.replace(runtime, augment=watch))

    assert seen == [SHORT.epochs] * 130
    fitted(data, dataclasses.replace(runtime, augment=watch), seed=1)
    assert len(set(draws)) == len(draws) == 2 * SHORT.epochs * 3


def test_what_augmentation_draws_leaves_the_order_of_the_data_alone(
    runtime: Runtime,
) -> None:
    orders: list[list[int]] = []
    for drawn in (0, 1000):
        order: list[int] = []

        def watch(
            batch: torch.Tensor,
            indices: torch.Tensor,
            generator: torch.Generator,
            order: list[int] = order,
            drawn: int = drawn,
        ) -> torch.Tensor:
            torch.rand(drawn, generator=generator)
            order.extend(indices.tolist())
            return batch

        fitted(noise(130), dataclasses.replace(runtime, augment=watch))
        orders.append(order)

    assert orders[0] == orders[1]


def test_another_seed_gives_other_weights(
    digits: LabelledImages, runtime: Runtime
) -> None:
    data = digits.select(torch.arange(200))

    first, again, other = (fitted(data, runtime, seed=s)[0] for s in (0, 0, 1))

    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_a_fit_in_bfloat16_multiplies_in_it_and_keeps_its_weights_in_full(
    runtime: Runtime,
) -> None:
    data, in_half = noise(130), dataclasses.replace(runtime, precision="bf16")

    full, half = fitted(data, runtime)[0], fitted(data, in_half)[0]

    assert not torch.equal(weights(full), weights(half))
    # what eight bits of a mantissa may be off by in six steps
    torch.testing.assert_close(weights(half), weights(full), rtol=0, atol=0.05)
    assert {it.dtype for it in half.parameters()} == {torch.float32}


def test_an_epochs_numbers_are_means_over_samples_whatever_the_last_batch(
    runtime: Runtime,
) -> None:
    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([math.log(3), 0]))

    (epoch,) = fit(
        network,
        torch.zeros(4, 1),
        torch.tensor([0, 0, 0, 1]),
        schedule=Schedule(epochs=1, batch_size=3),  # the first step is at a rate of 0
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )

    assert epoch.accuracy == 0.75
    assert epoch.loss == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)


def test_the_data_are_not_written(digits: LabelledImages, runtime: Runtime) -> None:
    data = digits.select(torch.arange(200))
    images, labels = data.images.clone(), data.labels.clone()

    fitted(data, runtime)

    assert torch.equal(data.images, images)
    assert torch.equal(data.labels, labels)


def test_it_stops_at_the_deadline(digits: LabelledImages, runtime: Runtime) -> None:
    with pytest.raises(InvalidSpecError, match="max_seconds"):
        fitted(digits, dataclasses.replace(runtime, deadline=0.0))


def test_a_loss_that_is_not_finite_is_an_error_and_not_a_model(
    runtime: Runtime,
) -> None:
    with pytest.raises(InvalidSpecError, match="finite in epoch 1"):
        fit(
            nn.Linear(1, 2),
            torch.full((4, 1), float("inf")),
            torch.zeros(4, dtype=torch.int64),
            schedule=SHORT,
            generator=torch.Generator().manual_seed(0),
            runtime=runtime,
        )


def test_seeding_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()

    with seeded_globals(3):
        inside = torch.rand(4)

    assert torch.equal(torch.get_rng_state(), before)
    with seeded_globals(3):
        assert torch.equal(torch.rand(4), inside)


def test_the_rate_rises_to_its_peak_and_falls_towards_zero() -> None:
    assert one_cycle(0.0) == 0.0
    assert one_cycle(0.1) == pytest.approx(0.5)
    assert one_cycle(0.2) == 1.0
    assert one_cycle(0.6) == pytest.approx(0.5)
    assert one_cycle(0.999) == pytest.approx(0.00125)


def test_pixels_become_floats_in_the_unit_interval_and_floats_stay() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)

    assert as_floats(pixels).tolist() == pytest.approx([0.0, 0.2, 1.0])
    features = torch.tensor([3.5])
    assert as_floats(features) is features


SGD = Schedule(epochs=2, batch_size=16, peak_learning_rate=0.1)
ADAMW = Schedule(
    epochs=2,
    batch_size=16,
    peak_learning_rate=0.01,
    weight_decay=0.1,
    optimizer="adamw",
)


def sgd(parameters: Iterable[nn.Parameter], schedule: Schedule) -> torch.optim.SGD:
    return torch.optim.SGD(
        parameters,
        lr=schedule.peak_learning_rate,
        momentum=schedule.momentum,
        nesterov=schedule.momentum > 0,
        weight_decay=schedule.weight_decay,
    )


def adamw(parameters: Iterable[nn.Parameter], schedule: Schedule) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=schedule.peak_learning_rate,
        betas=(schedule.momentum, SECOND_MOMENT),
        weight_decay=schedule.weight_decay,
    )


@pytest.mark.parametrize(
    ("torchs", "schedule"),
    [
        (sgd, SGD),
        (sgd, SGD.model_copy(update={"momentum": 0.0})),
        (adamw, ADAMW),
    ],
)
def test_a_step_is_that_of_torchs_own_optimizer(
    runtime: Runtime,
    torchs: Callable[[Iterable[nn.Parameter], Schedule], torch.optim.Optimizer],
    schedule: Schedule,
) -> None:
    noise = torch.Generator().manual_seed(3)
    inputs = torch.rand(64, 8, generator=noise)
    labels = torch.randint(4, (64,), generator=noise)
    with seeded_globals(5):
        ours = nn.Linear(8, 4)
    theirs = nn.Linear(8, 4)
    theirs.load_state_dict(ours.state_dict())

    fit(
        ours,
        inputs,
        labels,
        schedule=schedule,
        generator=torch.Generator().manual_seed(9),
        runtime=runtime,
    )

    optimizer = torchs(theirs.parameters(), schedule)
    order = torch.Generator().manual_seed(9)
    steps = iter(range(8))
    for _ in range(schedule.epochs):
        for batch in torch.split(torch.randperm(64, generator=order), 16):
            rate = schedule.peak_learning_rate * one_cycle(next(steps) / 8)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = functional.cross_entropy(theirs(inputs[batch]), labels[batch])
            torch.autograd.backward(loss)
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-7)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=0, atol=1e-7)


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """How many operations torch was asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204  torch's
        del types
        self.count += 1
        return func(*args, **(kwargs or {}))


def one_by_one(
    parameters: list[nn.Parameter], momenta: list[torch.Tensor], rate: float
) -> None:
    """SGD with Nesterov momentum as formulas have it, a parameter after the other."""
    with torch.no_grad():
        for weight, momentum in zip(parameters, momenta, strict=True):
            if weight.grad is not None:
                gradient = weight.grad + SHORT.weight_decay * weight
                momentum.copy_(SHORT.momentum * momentum + gradient)
                weight.sub_(rate * (gradient + SHORT.momentum * momentum))


def test_a_descent_takes_as_many_operations_for_many_parameters_as_for_few() -> None:
    counts = set()
    for layers in (1, 20):
        network = nn.Sequential(*[nn.Linear(3, 3) for _ in range(layers)])
        twin = nn.Sequential(*[nn.Linear(3, 3) for _ in range(layers)])
        twin.load_state_dict(network.state_dict())
        ours, theirs = list(network.parameters()), list(twin.parameters())
        momenta, others = ([torch.ones_like(it) for it in ours] for _ in range(2))
        for it in (network, twin):
            torch.autograd.backward(it(torch.ones(2, 3)).sum())
            it[0].bias.grad = None  # it had no part, and stays
        kept = ours[1].clone()

        with Counted() as counted:
            descend(ours, momenta, Descent(schedule=SHORT, rate=0.1, step=1))

        counts.add(counted.count)
        one_by_one(theirs, others, 0.1)
        for mine, its in zip(ours + momenta, theirs + others, strict=True):
            torch.testing.assert_close(mine, its)
        assert torch.equal(ours[1], kept)
        assert all(it.grad is None for it in ours)
    assert counts == {5}
