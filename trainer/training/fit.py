"""Training: fit a network to data in memory."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Precision, Schedule
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats
from trainer.training.devices import keep_freed_memory
from trainer.training.optimizers import Descent, descend, first_momenta

CPU = torch.device("cpu")

WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one pass over the training data was like, averaged while it learned.

    Raises:
        InvalidSpecError: a number is not finite: JSON spells none, and who asked for
            the training is to know that it diverged.
    """

    number: int
    loss: float
    accuracy: float

    def __post_init__(self) -> None:
        """Refuse an epoch in which training diverged."""
        if not (math.isfinite(self.loss) and math.isfinite(self.accuracy)):
            raise diverged(self.number)


def diverged(epoch: int) -> InvalidSpecError:
    """Return the refusal to go on with a training that learns no more."""
    return InvalidSpecError(
        f"training diverged: the loss is not finite in epoch {epoch}; lower the "
        "learning rate"
    )


OnState = Callable[[int, Sequence[Tensor]], None]
"""Called with how many epochs are done, and the momenta in the parameters' order."""


def _ignore_state(_: int, __: Sequence[Tensor]) -> None:
    """Keep no checkpoint."""


Augment = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Returns a batch of (B, C, H, W) inputs as this epoch shows them, from that batch, its
(B,) int64 indices and what draws; it writes no argument."""


def _as_it_is(batch: Tensor, _: Tensor, __: torch.Generator) -> Tensor:
    """Show the samples themselves."""
    return batch


Gradients = Callable[[nn.Module, Tensor, Tensor, "Runtime"], Tensor]
"""Leaves the gradients of one batch in the parameters of a network, given its (B, ...)
inputs as this epoch shows them and its (B,) labels; returns ``totals`` of the batch."""


def gradients_of_the_error(
    network: nn.Module, inputs: Tensor, labels: Tensor, runtime: "Runtime"
) -> Tensor:
    """Leave the gradients of the cross-entropy, and return the batch's ``totals``."""
    logits = answered(network, inputs, runtime)
    loss = functional.cross_entropy(logits, labels)
    torch.autograd.backward(loss)
    return totals(loss, logits, labels)


def answered(network: nn.Module, inputs: Tensor, runtime: "Runtime") -> Tensor:
    """Return (B, classes) float32 logits, computed as precisely as ``runtime`` says."""
    with torch.autocast(
        runtime.device.type, torch.bfloat16, enabled=runtime.precision == "bf16"
    ):
        logits: Tensor = network(as_floats(inputs)).float()
    return logits


def totals(loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return (2,) float32: the summed loss of a batch, and how many it got right."""
    right = (logits.detach().argmax(1) == labels).sum()
    return torch.stack([loss.detach() * len(labels), right])


Penalise = Callable[[Any, Tensor, Tensor, Tensor, torch.Generator], None]
"""Adds to the gradients of a network, of the kind that it knows, after those of the
error, given (B, ...) inputs as this epoch shows them, their (B,) labels, their (B,)
indices and what draws."""


def _not_at_all(*_: object) -> None:
    """Add no gradients to those of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where a fit runs, until when, and what is called meanwhile.

    Attributes:
        device: holds network and data.
        precision: ``bf16`` multiplies in bfloat16 and keeps the weights in fp32;
            ``fp32`` multiplies in nothing less, on a GPU neither.
        deadline: a ``time.monotonic()`` after which the fit gives up.
        on_epoch: called after each epoch.
        on_state: called at the start and after each epoch, while the weights in the
            network go with the momenta; it writes neither.
        augment: how a batch looks in this epoch.
        gradients: of what is to become less.
        penalise: adds those of something else.
    """

    device: torch.device
    precision: Precision
    deadline: float
    on_epoch: Callable[[Epoch], None]
    on_state: OnState = _ignore_state
    augment: Augment = _as_it_is
    gradients: Gradients = gradients_of_the_error
    penalise: Penalise = _not_at_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One epoch of a fit, to be run again by itself.

    Attributes:
        schedule: of the whole fit.
        number: of the epoch, from 1.
        momenta: with which it starts, in the order of the parameters.
    """

    schedule: Schedule
    number: int
    momenta: Sequence[Tensor]

    def generator(self, seed: int) -> torch.Generator:
        """Return what draws this epoch's augmentation, whatever went before it."""
        return torch.Generator().manual_seed((seed << 16) + self.number)


@contextmanager
def seeded_globals(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seed torch's global generators for the block, and put them back afterwards.

    Layer initialisation takes no generator, nor do torchvision's detectors when they
    sample regions; this is the only place that seeds.

    Args:
        seed: of the CPU's generator, and of the GPU's where that is drawn from, too.
        device: where the block computes.
    """
    forked = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        torch.default_generator.manual_seed(seed)
        if forked:
            torch.cuda.manual_seed(seed)
        yield


def fit(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    schedule: Schedule,
    generator: torch.Generator,
    runtime: Runtime,
) -> list[Epoch]:
    """Train ``network`` in place and return what each epoch was like.

    The one function that writes its argument. Equal arguments on the same device,
    versions and thread count give bit-identical weights.

    Args:
        network: maps a batch of inputs to logits; parameters without gradient stay,
            and so do the means and variances of a batch norm that has none.
        inputs: (N, ...) uint8, fed as float32 in [0, 1], or float32, fed as it is.
        labels: (N,) int64.
        schedule: epochs, batch size and the one-cycle rate.
        generator: on the CPU, shuffles.
        runtime: device, precision, deadline, callback.

    Raises:
        InvalidSpecError: the deadline passed, or training diverged.
    """
    parameters = _placed(network, runtime)
    inputs, labels = inputs.to(runtime.device), labels.to(runtime.device)
    momenta = first_momenta(parameters, schedule)
    runtime.on_state(0, momenta)
    epochs = []
    for number in range(1, schedule.epochs + 1):
        segment = Segment(schedule=schedule, number=number, momenta=momenta)
        order = torch.randperm(len(labels), generator=generator)
        draws = segment.generator(generator.initial_seed())
        shown = _Pass(inputs=inputs, labels=labels, order=order, draws=draws)
        with reproducible(runtime.device):
            epoch = _learn(network, shown, segment=segment, runtime=runtime)
        epochs.append(epoch)
        runtime.on_epoch(epoch)
        runtime.on_state(number, momenta)
    return epochs


def replay(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    segment: Segment,
    generator: torch.Generator,
    runtime: Runtime,
) -> Epoch:
    """Train ``network`` in place for one epoch of a fit, and return what it was like.

    From the weights and momenta that the fit had there, the epoch ends with those
    that the fit had next, bit for bit; ``runtime.on_state`` is called with them.

    Args:
        network: with the weights at the start of the segment.
        inputs: as for ``fit``.
        labels: as for ``fit``.
        segment: which epoch; its momenta are read, not written.
        generator: as for ``fit``, and in the state it had there.
        runtime: as for ``fit``.

    Raises:
        InvalidSpecError: as for ``fit``.
    """
    parameters = _placed(network, runtime)
    inputs, labels = inputs.to(runtime.device), labels.to(runtime.device)
    # as a fit makes them, strides included: where bits fall in a vector may matter
    momenta = first_momenta(parameters, segment.schedule)
    for momentum, found in zip(momenta, segment.momenta, strict=True):
        momentum.copy_(found)
    for _ in range(segment.number - 1):
        torch.randperm(len(labels), generator=generator)
    order = torch.randperm(len(labels), generator=generator)
    segment = replace(segment, momenta=momenta)
    draws = segment.generator(generator.initial_seed())
    shown = _Pass(inputs=inputs, labels=labels, order=order, draws=draws)
    with reproducible(runtime.device):
        epoch = _learn(network, shown, segment=segment, runtime=runtime)
    runtime.on_state(segment.number, momenta)
    return epoch


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate at ``progress`` in [0, 1).

    It rises linearly during WARM_UP and falls linearly to zero after it.

    Source:
        Smith, Topin, "Super-Convergence", arXiv:1708.07120.
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 - progress) / (1 - WARM_UP)


def _placed(network: nn.Module, runtime: Runtime) -> list[nn.Parameter]:
    """Make ``network`` ready to learn, in place; return what of it will."""
    keep_freed_memory()
    network.to(runtime.device).to(memory_format=torch.channels_last).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(module.weight.requires_grad)
    return [p for p in network.parameters() if p.requires_grad]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """The training data as one epoch goes through them."""

    inputs: Tensor
    labels: Tensor
    order: Tensor
    draws: torch.Generator


def _learn(
    network: nn.Module, shown: _Pass, *, segment: Segment, runtime: Runtime
) -> Epoch:
    """Train ``network`` in place for one epoch; writes the momenta."""
    schedule, labels = segment.schedule, shown.labels
    batches = torch.split(shown.order.to(runtime.device), schedule.batch_size)
    done, steps = (segment.number - 1) * len(batches), schedule.epochs * len(batches)
    parameters = [p for p in network.parameters() if p.requires_grad]
    summed = torch.zeros(2, device=runtime.device)
    for step, batch in enumerate(batches, start=done):
        _require_time(runtime)
        inputs = runtime.augment(shown.inputs[batch], batch, shown.draws)
        summed += runtime.gradients(network, inputs, labels[batch], runtime)
        runtime.penalise(network, inputs, labels[batch], batch, shown.draws)
        rate = schedule.peak_learning_rate * one_cycle(step / steps)
        descent = Descent(schedule=schedule, rate=rate, step=step + 1)
        descend(parameters, segment.momenta, descent)
    loss, accuracy = (summed / len(labels)).tolist()
    return Epoch(number=segment.number, loss=loss, accuracy=accuracy)


def _require_time(runtime: Runtime) -> None:
    if time.monotonic() > runtime.deadline:
        msg = "training did not end within max_seconds; allow more, or fewer epochs"
        raise InvalidSpecError(msg)
