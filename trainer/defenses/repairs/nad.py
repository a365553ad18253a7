"""NAD: the network learns to look where a fine-tuned copy of it looks.

The teacher is the network after fine-tuning on the clean images; the student starts
as the network itself. Batch norms of both learn on; the teacher's then stay.

Source:
    Li et al., "Neural Attention Distillation: Erasing Backdoor Triggers from Deep
    Neural Networks", ICLR 2021, sections 3.2 and 3.3.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.fine_tuning import fine_tune
from trainer.defenses.repairs.repaired import Repaired
from trainer.networks import SplitNetwork
from trainer.networks.activations import Gate
from trainer.training.fit import Gradients, Runtime, answered, totals

WEIGHT = 3.0
"""Of the distance between the maps of a layer, beside the cross-entropy."""


def distil_attention(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place; teacher and student each have the whole schedule.

    Raises:
        InvalidSpecError: the network shows no maps.
    """
    quiet = replace(runtime, on_epoch=lambda _: None)
    teacher = copy.deepcopy(network)
    fine_tune(teacher, clean, spec, generator, quiet)
    teacher.requires_grad_(requires_grad=False).eval()
    watched = replace(runtime, gradients=_towards(teacher))
    return fine_tune(network, clean, spec, generator, watched)


def attention(maps: Tensor) -> Tensor:
    """Return (N, places) where a layer looks, of norm 1: the squares summed.

    Args:
        maps: (N, channels, ...) activations, of which the rest are places.
    """
    return functional.normalize(maps.float().square().sum(1).flatten(1), dim=1)


def _towards(teacher: SplitNetwork) -> Gradients:
    def gradients(
        student: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
    ) -> Tensor:
        with torch.no_grad(), _maps(teacher) as wanted:
            answered(teacher, inputs, runtime)
        with _maps(student) as found:
            logits = answered(student, inputs, runtime)
        if not found:
            msg = (
                "nad needs a network whose ReLUs or GELUs are modules, behind "
                "convolutions or between tokens"
            )
            raise InvalidSpecError(msg)
        loss = functional.cross_entropy(logits, labels)
        for its, theirs in zip(found, wanted, strict=True):
            apart = (attention(its) - attention(theirs)).norm(dim=1)
            loss = loss + WEIGHT * apart.mean()
        torch.autograd.backward(loss)
        return totals(loss, logits, labels)

    return gradients


@contextmanager
def _maps(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what each gate answers that has places, in the order of the answers.

    Places are those of a picture, or the tokens of a transformer.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, answer: Tensor) -> None:
        if answer.ndim == len("NCHW"):
            found.append(answer)
        if answer.ndim == len("NTC"):
            found.append(answer.movedim(2, 1))

    gates = [it for it in network.modules() if isinstance(it, Gate)]
    hooks = [it.register_forward_hook(keep) for it in gates]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
