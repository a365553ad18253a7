"""Training: fit a network to data in memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.jobs import Precision, Schedule
from trainer.devices import keep_freed_memory

WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one pass over the training data was like, averaged while it learned."""

    number: int
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where a fit runs, until when, and who is told.

    Attributes:
        device: holds network and data.
        precision: ``bf16`` multiplies in bfloat16 and keeps the weights in fp32.
        deadline: a ``time.monotonic()`` after which the fit gives up.
        on_epoch: called after each epoch.
    """

    device: torch.device
    precision: Precision
    deadline: float
    on_epoch: Callable[[Epoch], None]


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block, and put it back afterwards.

    Layer initialisation takes no generator; this is the only place that seeds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
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

    The one function that writes its argument. Equal arguments on the same CPU,
    versions and thread count give bit-identical weights.

    Args:
        network: maps a batch of inputs to logits; parameters without gradient stay.
        inputs: (N, ...) uint8, fed as float32 in [0, 1], or float32, fed as it is.
        labels: (N,) int64.
        schedule: epochs, batch size and the one-cycle rate.
        generator: on the CPU, shuffles.
        runtime: device, precision, deadline, callback.

    Raises:
        InvalidSpecError: the deadline passed, or the loss is no longer finite.
    """
    keep_freed_memory()
    device = runtime.device
    network.to(device).to(memory_format=torch.channels_last).train()
    inputs, labels = inputs.to(device), labels.to(device)
    parameters = [p for p in network.parameters() if p.requires_grad]
    momenta = [torch.zeros_like(parameter) for parameter in parameters]
    steps = -(-len(labels) // schedule.batch_size) * schedule.epochs
    rates = (one_cycle(step / steps) for step in range(steps))
    epochs = []
    for number in range(1, schedule.epochs + 1):
        order = torch.randperm(len(labels), generator=generator).to(device)
        totals = torch.zeros(2, device=device)
        for batch in torch.split(order, schedule.batch_size):
            totals += _gradients(network, inputs[batch], labels[batch], runtime)
            rate = schedule.peak_learning_rate * next(rates)
            _descend(parameters, momenta, rate=rate, schedule=schedule)
        epochs.append(_epoch(number, totals / len(labels)))
        runtime.on_epoch(epochs[-1])
    return epochs


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate at ``progress`` in [0, 1).

    It rises linearly during WARM_UP and falls linearly to zero after it.

    Source:
        Smith, Topin, "Super-Convergence", arXiv:1708.07120.
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 - progress) / (1 - WARM_UP)


def as_floats(inputs: Tensor) -> Tensor:
    """Return pixels as float32 in [0, 1]; floats come back as they are."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


def _gradients(
    network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
) -> Tensor:
    """Leave the gradients of one batch in the parameters of ``network``.

    Returns:
        (2,) float32, the batch's summed loss and right answers.
    """
    if time.monotonic() > runtime.deadline:
        msg = "training did not end within max_seconds; allow more, or fewer epochs"
        raise InvalidSpecError(msg)
    with torch.autocast(
        runtime.device.type, torch.bfloat16, enabled=runtime.precision == "bf16"
    ):
        logits = network(as_floats(inputs)).float()
    loss = functional.cross_entropy(logits, labels)
    torch.autograd.backward(loss)
    right = (logits.detach().argmax(1) == labels).sum()
    return torch.stack([loss.detach() * len(labels), right])


@torch.no_grad()
def _descend(
    parameters: list[nn.Parameter],
    momenta: list[Tensor],
    *,
    rate: float,
    schedule: Schedule,
) -> None:
    """Take one step of SGD with Nesterov momentum and drop the gradients.

    The arithmetic is ``torch.optim.SGD``'s. That class imports torch's compiler on its
    first use: 2 s of processor time a job, as much as 15,000 images.
    """
    for parameter, momentum in zip(parameters, momenta, strict=True):
        if parameter.grad is None:
            continue
        gradient = parameter.grad.add_(parameter, alpha=schedule.weight_decay)
        momentum.mul_(schedule.momentum).add_(gradient)
        parameter.sub_(gradient.add_(momentum, alpha=schedule.momentum), alpha=rate)
        parameter.grad = None


def _epoch(number: int, means: Tensor) -> Epoch:
    if not means.isfinite().all():
        msg = f"the loss is no longer finite in epoch {number}: lower the learning rate"
        raise InvalidSpecError(msg)
    loss, accuracy = means.tolist()
    return Epoch(number=number, loss=loss, accuracy=accuracy)
