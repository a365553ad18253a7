"""The input on which a unit answers most, found by gradient ascent: no data needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trainer.networks import SplitNetwork
from trainer.networks.activations import before_gates
from trainer.networks.inference import batches

STARTS = 2
"""Images that the ascent starts from: a grey one, the others random."""
STEPS, FIRST_STEP, LAST_STEP = 12, 0.4, 0.02
"""Of each pixel, up or down: 2.5 in all, so that any start can reach black or white."""
GREY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The input found on which a unit answers most.

    Attributes:
        layer: of the unit.
        number: in the layer.
        image: (C, H, W) float32 in [0, 1].
        slope: (H, W) float32, how much each pixel of it matters: the size of the slope
            of what the gate is given, over the colours.
        answers: (...) the unit's own at each place of it, at least 0.
        label: what the network says to it.
        label_without: what it says if the unit answers 0.
        moved: the largest change of a logit between the two.
    """

    layer: str
    number: int
    image: Tensor
    slope: Tensor
    answers: Tensor
    label: int
    label_without: int
    moved: float

    @property
    def level(self) -> float:
        """The largest answer; 0 if no input was found that wakes the unit."""
        return float(self.answers.max())


def find_peaks(
    network: SplitNetwork,
    units: Sequence[tuple[str, int]],
    *,
    generator: Generator,
    device: torch.device,
) -> list[Peak]:
    """Return what maximises each of ``units``, by layer."""
    drawn = torch.rand(STARTS - 1, *network.image_shape, generator=generator)
    starts = torch.cat([torch.full_like(drawn[:1], GREY), drawn]).to(device)
    found: list[Peak] = []
    for layer in dict.fromkeys(name for name, _ in units):
        numbers = torch.tensor([it for name, it in units if name == layer])
        all_of_them = starts[:1].expand(len(numbers) * STARTS, -1, -1, -1)
        fitting = max(1, len(batches(all_of_them)[0]) // STARTS)
        for part in torch.split(numbers.to(device), fitting):
            found += _peaks_in(network, layer, part, starts)
    return found


def _peaks_in(
    network: SplitNetwork, layer: str, units: Tensor, starts: Tensor
) -> list[Peak]:
    each = units.repeat_interleave(STARTS)
    ends = _climbed(network, layer, each, starts.repeat(len(units), 1, 1, 1))
    rows = torch.arange(len(units), device=ends.device)
    with torch.no_grad():
        given, logits = _own(network, layer, each, ends)
        reached = given.reshape(len(units), STARTS, -1).amax(2)
        best = rows * STARTS + reached.argmax(1)
        images, logits, answers = ends[best], logits[best], given[best].relu()
        without = replaced(network, images, layer=layer, at=(rows, units))
    moved = (logits - without).abs().amax(1)
    slopes = _slope(network, layer, units, images).abs().sum(1).cpu()
    return [
        Peak(
            layer=layer,
            number=int(number),
            image=images[row].cpu(),
            slope=slopes[row],
            answers=answers[row],
            label=int(logits[row].argmax()),
            label_without=int(without[row].argmax()),
            moved=float(moved[row]),
        )
        for row, number in enumerate(units)
    ]


def _climbed(
    network: SplitNetwork, layer: str, units: Tensor, images: Tensor
) -> Tensor:
    """Return where gradient ascent gets from ``images`` ((B, C, H, W)), a unit each.

    Steps are of equal size in every pixel that matters, so that the unit's scale does
    not.
    """
    for size in torch.linspace(FIRST_STEP, LAST_STEP, STEPS).tolist():
        slope = _slope(network, layer, units, images)
        images = (images + size * slope.sign()).clamp(0, 1)
    return images


def _slope(network: SplitNetwork, layer: str, units: Tensor, images: Tensor) -> Tensor:
    """Return how what a unit's gate is given rises with each pixel of its image.

    That is at the place where it is given most; behind a ReLU there is no slope while
    the unit sleeps.
    """
    shown = images.detach().requires_grad_()
    given, _ = _own(network, layer, units, shown)
    (slope,) = torch.autograd.grad(given.reshape(len(units), -1).amax(1).sum(), shown)
    return slope


def _own(
    network: SplitNetwork, layer: str, units: Tensor, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what each image's own unit gives its gate ((B, ...)), and the logits."""
    rows = torch.arange(len(units), device=units.device)
    found: list[Tensor] = []

    def note(name: str, given: Tensor) -> None:
        if name == layer:
            found[:] = [given[rows, units]]

    with before_gates(network, note):
        logits = network(images)
    return found[0], logits


def replaced(
    network: SplitNetwork,
    images: Tensor,
    *,
    layer: str,
    at: tuple[Tensor | slice, Tensor | int],
    answers: Tensor | float = 0.0,
) -> Tensor:
    """Return the logits when the units ``at`` image and number answer ``answers``."""

    def put(name: str, given: Tensor) -> Tensor | None:
        if name != layer:
            return None
        changed = given.clone()
        changed[at] = answers
        return changed

    with before_gates(network, put):
        logits: Tensor = network(images)
    return logits
