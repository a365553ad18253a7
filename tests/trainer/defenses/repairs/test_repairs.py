"""Repairs but fine-pruning: a known step, map, channel or unit each."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RepairSpec, Schedule
from tests.trainer.defenses.repairs.networks import backdoored, halves, triggered
from trainer.data import LabelledImages
from trainer.defenses.repairs import REPAIRS, i_bau
from trainer.defenses.repairs.anp import (
    BUDGET,
    Masked,
    adversarial,
    drawn,
    hidden,
    prune,
)
from trainer.defenses.repairs.clp import bounds, outlying
from trainer.defenses.repairs.ft_sam import RADIUS as RADIUS_OF_WEIGHTS
from trainer.defenses.repairs.ft_sam import ascent, gradients_nearby
from trainer.defenses.repairs.i_bau import RADIUS, RATE, hypergradients, moved
from trainer.defenses.repairs.nad import attention
from trainer.defenses.repairs.unlearning import patches, perturbations
from trainer.defenses.repairs.validation import accuracy, set_aside
from trainer.networks import SplitNetwork
from trainer.training.fit import Runtime

CPU = torch.device("cpu")
PARENT = "0" * 64
GENTLE = Schedule(epochs=6, batch_size=10, peak_learning_rate=0.05, weight_decay=0)
LEARN = sorted({*REPAIRS} - {"clp", "fine-pruning"})


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def repaired(name: str, runtime: Runtime, schedule: Schedule = GENTLE) -> SplitNetwork:
    spec = RepairSpec(parent=PARENT, defense=name, held_out=60, schedule=schedule)
    return REPAIRS[name](backdoored(), halves(), spec, draws(), runtime).network


def right(network: SplitNetwork, data: LabelledImages) -> float:
    return accuracy(network, data, device=CPU)


def test_the_network_of_these_tests_has_a_backdoor() -> None:
    assert right(backdoored(), halves()) == 1
    assert right(backdoored(), triggered(halves())) == 0


@pytest.mark.parametrize("name", ["anp", "i-bau", "unlearning"])
def test_the_backdoor_goes_and_the_clean_images_are_told_as_before(
    name: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # these images have 64 pixels: 2.5 would be as much as there is to see in one
    monkeypatch.setattr(i_bau, "RADIUS", 1.5)

    network = repaired(name, runtime)

    assert right(network, halves()) == 1
    assert right(network, triggered(halves())) == 1


@pytest.mark.parametrize("name", LEARN)
def test_the_same_spec_makes_the_same_network_and_the_images_stay(
    name: str, runtime: Runtime
) -> None:
    short = GENTLE.model_copy(update={"epochs": 2})
    data = halves()
    spec = RepairSpec(parent=PARENT, defense=name, held_out=60, schedule=short)

    made = [
        REPAIRS[name](backdoored(), data, spec, draws(), runtime).network.state_dict()
        for _ in range(2)
    ]

    for key, tensor in made[0].items():
        assert torch.equal(tensor, made[1][key])
        assert tensor.isfinite().all()
    assert torch.equal(data.images, halves().images)
    assert any(
        not torch.equal(it, backdoored().state_dict()[k]) for k, it in made[0].items()
    )


@pytest.mark.parametrize("name", LEARN)
def test_each_reports_the_epochs_that_it_was_told(name: str, runtime: Runtime) -> None:
    seen: list[int] = []
    watched = replace(runtime, on_epoch=lambda epoch: seen.append(epoch.number))
    short = GENTLE.model_copy(update={"epochs": 2})
    spec = RepairSpec(parent=PARENT, defense=name, held_out=60, schedule=short)

    made = REPAIRS[name](backdoored(), halves(), spec, draws(), watched)

    assert [it.number for it in made.epochs] == seen == [1, 2]


@pytest.mark.parametrize("name", LEARN)
def test_bfloat16_is_multiplied_in_where_it_is_asked_for(
    name: str, runtime: Runtime
) -> None:
    short = GENTLE.model_copy(update={"epochs": 1})
    exact = repaired(name, runtime, short).state_dict()
    rounded = repaired(name, replace(runtime, precision="bf16"), short).state_dict()

    assert all(it.dtype == torch.float32 for it in rounded.values())
    assert all(it.isfinite().all() for it in rounded.values())
    if name != "anp":  # what it prunes may be the same
        assert any(not torch.equal(it, rounded[k]) for k, it in exact.items())


def test_the_worst_weights_nearby_are_away_in_shares_of_each_weight() -> None:
    weights = [torch.tensor([2.0]), torch.tensor([-1.0, 0.0])]
    gradients = [torch.tensor([1.0]), torch.tensor([1.0, 5.0])]

    # T = diag(2, 1, 0), g = (1, 1, 5): T g = (2, 1, 0), T^2 g = (4, 1, 0)
    first, second = ascent(weights, gradients, radius=3.0)

    assert first.item() == pytest.approx(3 * 4 / 5**0.5)
    assert second.tolist() == pytest.approx([3 * 1 / 5**0.5, 0])


def test_gradients_are_those_of_the_worst_weights_and_the_weights_stay(
    runtime: Runtime,
) -> None:
    network, data = backdoored(), halves()
    before = copy.deepcopy(network.state_dict())

    gradients_nearby(network, data.images[:10], data.labels[:10], runtime)

    found = [it.grad for it in network.parameters()]
    assert all(torch.equal(it, before[k]) for k, it in network.state_dict().items())
    own = backdoored()
    error = partial(functional.cross_entropy, target=data.labels[:10])
    shown = data.images[:10].float() / 255
    slopes = torch.autograd.grad(error(own(shown)), [*own.parameters()])
    with torch.no_grad():
        moves = ascent([*own.parameters()], slopes, radius=RADIUS_OF_WEIGHTS)
        for weight, move in zip(own.parameters(), moves, strict=True):
            weight.add_(move)
    worst = torch.autograd.grad(error(own(shown)), [*own.parameters()])
    for mine, theirs in zip(found, worst, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_batch_norm_is_measured_once_a_step_at_the_networks_own_weights(
    runtime: Runtime,
) -> None:
    data, norm, seen_once = halves(), nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    layer = nn.Conv2d(1, 2, 3)
    body = copy.deepcopy(layer)
    network = nn.Sequential(body, norm, nn.Flatten(), nn.Linear(72, 2))

    gradients_nearby(network, data.images[:10], data.labels[:10], runtime)
    seen_once(layer(data.images[:10].float() / 255))

    for name, measured in seen_once.named_buffers():
        if name != "num_batches_tracked":
            torch.testing.assert_close(norm.get_buffer(name), measured)
    assert norm.momentum == seen_once.momentum


def test_attention_is_where_the_squares_of_all_channels_are_and_has_norm_one() -> None:
    maps = torch.tensor([[[[1.0, -2.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 9.0]]]])

    # squares summed: (5, 4) and (0, 81)
    expected = [[5 / 41**0.5, 4 / 41**0.5], [0, 1]]
    torch.testing.assert_close(attention(maps), torch.tensor(expected))


def test_a_network_without_relus_that_show_maps_cannot_learn_to_look(
    runtime: Runtime,
) -> None:
    network = SplitNetwork(
        nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten()),
        nn.Sequential(nn.Linear(4, 2)),
        image_shape=(1, 8, 8),
    )
    spec = RepairSpec(parent=PARENT, defense="nad", held_out=60, schedule=GENTLE)

    with pytest.raises(InvalidSpecError, match="ReLUs or GELUs are modules"):
        REPAIRS["nad"](network, halves(), spec, draws(), runtime)


def test_units_go_by_their_masks_until_images_set_aside_are_told_worse() -> None:
    network, data = backdoored(), halves()
    # the backdoor's unit, then the silent one; without the left eye, half is wrong
    masks = [torch.tensor([0.5, 0.9, 0.31, 0.11])]

    threshold = prune(network, masks, data, device=CPU)

    assert 0.31 < threshold <= 0.5
    weight = network.last_convolution.weight
    assert weight.flatten(1).abs().sum(1).gt(0).tolist() == [True, True, False, False]
    assert right(network, triggered(data)) == 1


def test_no_unit_goes_where_the_first_costs_too_much() -> None:
    network, before = backdoored(), backdoored().state_dict()

    assert prune(network, [torch.tensor([0.0, 1, 1, 1])], halves(), device=CPU) == 0

    assert all(torch.equal(it, before[k]) for k, it in network.state_dict().items())


def test_masks_and_moves_scale_weights_and_biases_of_hidden_layers() -> None:
    network = backdoored()
    shown = halves().images.float() / 255
    masked = Masked(network)
    torch.testing.assert_close(masked(shown), network(shown))
    expected = copy.deepcopy(network)
    with torch.no_grad():
        masked.masks[0][1] = 0.5
        masked.moves[0][1], masked.moves[1][1] = 0.2, -0.4
        expected.last_convolution.weight[1] *= 0.7
        expected.last_convolution.bias[1] *= 0.6  # type: ignore[index]

    torch.testing.assert_close(masked(shown), expected(shown))
    assert hidden(network) == ["convolutions.0"]


def test_the_adversary_moves_units_to_where_the_loss_is_higher(
    runtime: Runtime,
) -> None:
    data, masked, generator = halves(), Masked(backdoored()), draws()
    at_random = [drawn(it, generator) for it in masked.moves]

    gradients = adversarial(masked, draws())
    gradients(masked, data.images, data.labels, runtime)
    worst = masked.moves

    losses = []
    for moves in (at_random, worst):
        masked.moves = moves
        logits = masked(data.images.float() / 255)
        losses.append(functional.cross_entropy(logits, data.labels).item())
    assert losses[0] < losses[1]
    assert all(it.abs().max() <= BUDGET for it in worst)


def test_what_is_set_aside_is_not_learned_from() -> None:
    data = halves().relabelled(torch.arange(60))

    learned, kept = set_aside(data, draws())

    assert len(kept) == 12
    assert sorted([*learned.labels.tolist(), *kept.labels.tolist()]) == [*range(60)]
    with pytest.raises(InvalidSpecError, match="at least"):
        set_aside(data.select(torch.arange(4)), draws())


def test_a_channels_bound_is_its_largest_singular_value_times_what_its_norm_adds() -> (
    None
):
    layer, norm = nn.Conv2d(2, 2, kernel_size=(1, 2)), nn.BatchNorm2d(2, eps=0)
    norm.running_var = torch.tensor([4.0, 0.25])
    with torch.no_grad():
        # the first has singular values 3 and 2, the second 5 and 0
        layer.weight.copy_(
            torch.tensor([[[3.0, 0], [0, 2]], [[3, 4], [0, 0]]]).view(2, 2, 1, 2)
        )
        norm.weight.copy_(torch.tensor([-1.0, 2.0]))

    torch.testing.assert_close(bounds(layer, layer), torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(bounds(layer, norm), torch.tensor([3 / 2, 5 * 4.0]))


def test_only_what_lies_three_deviations_above_the_mean_is_an_outlier() -> None:
    # of n values, n - 1 equal, the other lies sqrt(n - 1) deviations above the mean
    for n, found in ((10, 0), (11, 1)):
        assert outlying(torch.tensor([2.0] + [1.0] * (n - 1))).sum() == found
    assert not outlying(torch.tensor([-9.0] + [1.0] * 20)).any()


def test_clp_silences_the_planted_channel_and_needs_no_image(runtime: Runtime) -> None:
    network = SplitNetwork(
        nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(16 * 36, 2)),
        image_shape=(1, 8, 8),
    )
    norm = network.convolutions.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        network.last_convolution.weight.fill_(1.0)
        norm.weight[5], norm.bias[5] = 9.0, 1.0
    none = halves().select(torch.arange(0))
    spec = RepairSpec(parent=PARENT, defense="clp")

    made = REPAIRS["clp"](network, none, spec, draws(), runtime).network

    cut = made.features(torch.rand(4, 1, 8, 8, generator=draws()))
    assert (norm.weight == 0).nonzero()[:, 0].tolist() == [5]
    assert (cut[:, 5] == 0).all()


def test_the_implicit_gradient_of_a_known_loss() -> None:
    """With loss w p + p^2 / 2, worked out by hand."""
    weight = torch.tensor(2.0, requires_grad=True)
    worst = torch.tensor(3.0, requires_grad=True)
    loss = weight * worst + worst**2 / 2

    (found,) = hypergradients(loss, worst, [weight])

    # dloss/dw = p = 3; dloss/dp = w + p = 5; the step p + R (w + p) has derivatives
    # 1 + R in p and R in w; v = 5 (1 + r + r^2 + r^3) with r = 1 + R
    r = 1 + RATE
    assert found.item() == pytest.approx(3 + RATE * 5 * (1 + r + r**2 + r**3))


def test_a_perturbation_moves_up_the_slope_and_stays_within_its_radius() -> None:
    slope = torch.zeros(1, 2, 2)
    slope[0, 0, 1] = 7.0
    step = moved(torch.zeros(1, 2, 2), slope)
    assert step[0, 0, 1].item() == pytest.approx(RADIUS / 3)
    for _ in range(9):
        step = moved(step, slope)
    assert step.norm().item() == pytest.approx(RADIUS)
    assert torch.equal(moved(step, torch.zeros_like(slope)), step)


def test_patches_are_white_and_black_squares_from_edge_to_edge() -> None:
    found = patches(torch.Size([1, 28, 28]))

    assert found.shape == (2 * 13 * 13, 1, 28, 28)
    assert torch.equal(
        found[0, 0, :5, :5], functional.pad(torch.ones(4, 4), (0, 1, 0, 1))
    )
    assert found.amax(0).eq(1).all()
    assert torch.equal(found[169:], -found[:169])


def test_a_trigger_that_no_small_change_wakes_is_found_as_a_patch() -> None:
    network = backdoored()
    with torch.no_grad():
        # silent unless the corner is bright: gradients at dark corners are 0
        network.last_convolution.bias[3] = -3.9  # type: ignore[index]
    network.eval().requires_grad_(requires_grad=False)

    attacked = halves().select(torch.arange(1, 60, 2))

    found = perturbations(network, attacked, draws())

    corners = found[:, 0, -2:, -2:].sum((1, 2))
    assert corners[:3].abs().max() < 2
    assert corners[3:].max() > 0.9


def test_a_repair_leaves_the_batch_norms_that_it_says_it_leaves(
    runtime: Runtime,
) -> None:
    for name in ("anp", "i-bau", "unlearning"):
        network = SplitNetwork(
            nn.Sequential(nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
            image_shape=(1, 8, 8),
        )
        norm = network.convolutions.get_submodule("1")
        spec = RepairSpec(parent=PARENT, defense=name, held_out=60, schedule=GENTLE)

        REPAIRS[name](network, halves(), spec, draws(), runtime)

        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(norm.running_mean, Tensor)
        assert norm.running_mean.eq(0).all(), name
        if name != "anp":
            assert norm.weight.eq(1).all()
