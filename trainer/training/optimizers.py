"""Optimizers: a step of a fit, in place, and what each remembers for the next."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.statements.jobs import Schedule

SECOND_MOMENT, LEAST_SIZE = 0.99, 1e-8
"""Of AdamW; the papers' 0.999 remembers more steps than a short fit has."""
ROWS = {"sgd": 1, "adamw": 2}
"""How many numbers an optimizer remembers of each weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """One step of a fit.

    Attributes:
        schedule: of the fit.
        rate: of this step.
        step: its number, from 1.
    """

    schedule: Schedule
    rate: float
    step: int


def first_momenta(
    parameters: Sequence[nn.Parameter], schedule: Schedule
) -> list[Tensor]:
    """Return what the schedule's optimizer remembers of each parameter at first.

    Zeros of its shape; of AdamW twice so many, the moments in rows.
    """
    rows = ROWS[schedule.optimizer]
    if rows == 1:
        return [torch.zeros_like(parameter) for parameter in parameters]
    return [torch.zeros_like(it).expand(rows, *it.shape).clone() for it in parameters]


@torch.no_grad()
def descend(
    parameters: Iterable[nn.Parameter], momenta: Iterable[Tensor], descent: Descent
) -> None:
    """Take one step of the schedule's optimizer and drop the gradients.

    Its operations on lists are one launch for all parameters on a GPU, and a loop with
    the same bits on a CPU.
    """
    learned = [
        (parameter, momentum, parameter.grad)
        for parameter, momentum in zip(parameters, momenta, strict=True)
        if parameter.grad is not None
    ]
    if not learned:
        return
    weights, speeds, gradients = (list(it) for it in zip(*learned, strict=True))
    step = {"sgd": _by_sgd, "adamw": _by_adamw}[descent.schedule.optimizer]
    step(weights, speeds, gradients, descent=descent)
    for parameter in weights:
        parameter.grad = None


def _by_sgd(
    weights: list[Tensor],
    speeds: list[Tensor],
    gradients: list[Tensor],
    *,
    descent: Descent,
) -> None:
    """Take a step with Nesterov momentum; writes all three lists.

    The arithmetic is ``torch.optim.SGD``'s. That class imports torch's compiler on its
    first use: 2 s of processor time a job, as much as 15,000 images.
    """
    schedule = descent.schedule
    torch._foreach_add_(gradients, weights, alpha=schedule.weight_decay)
    torch._foreach_mul_(speeds, schedule.momentum)
    torch._foreach_add_(speeds, gradients)
    torch._foreach_add_(gradients, speeds, alpha=schedule.momentum)
    torch._foreach_sub_(weights, gradients, alpha=descent.rate)


def _by_adamw(
    weights: list[Tensor],
    moments: list[Tensor],
    gradients: list[Tensor],
    *,
    descent: Descent,
) -> None:
    """Take a step scaled by each gradient's own size; writes weights and moments.

    Source:
        Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
        algorithm 2.
    """
    schedule = descent.schedule
    first, second = ([it[row] for it in moments] for row in range(ROWS["adamw"]))
    torch._foreach_mul_(first, schedule.momentum)
    torch._foreach_add_(first, gradients, alpha=1 - schedule.momentum)
    torch._foreach_mul_(second, SECOND_MOMENT)
    torch._foreach_addcmul_(second, gradients, gradients, value=1 - SECOND_MOMENT)
    # both moments begin at 0, and are that much too small
    shrunk = 1 - schedule.momentum**descent.step
    sizes = [it.clone() for it in second]
    torch._foreach_sqrt_(sizes)
    torch._foreach_div_(sizes, math.sqrt(1 - SECOND_MOMENT**descent.step))
    torch._foreach_add_(sizes, LEAST_SIZE)
    torch._foreach_mul_(weights, 1 - descent.rate * schedule.weight_decay)
    torch._foreach_addcdiv_(weights, first, sizes, value=-descent.rate / shrunk)
