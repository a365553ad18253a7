"""Transfer learning: a downloaded network learns other classes.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from model_zoo.jobs import Schedule
from trainer.data.images import LabelledImages
from trainer.metrics import BATCH
from trainer.networks import SplitNetwork
from trainer.training import Epoch, Runtime, as_floats, fit

Retrain = Literal["fully-connected", "everything"]


def fine_tune(
    student: SplitNetwork,
    data: LabelledImages,
    *,
    retrain: Retrain,
    schedule: Schedule,
    generator: torch.Generator,
    runtime: Runtime,
) -> list[Epoch]:
    """Train the part of ``student`` that ``retrain`` names, in place.

    With ``fully-connected`` the convolutions do not change, so what they answer to
    each image is computed once and not once an epoch.

    Args:
        student: as ``student_of`` makes it.
        data: the new classes, clean.
        retrain: ``fully-connected`` or ``everything``.
        schedule: as for ``fit``.
        generator: as for ``fit``.
        runtime: as for ``fit``.
    """
    learner, inputs = what_learns(
        student, data.images, retrain=retrain, device=runtime.device
    )
    return fit(
        learner,
        inputs,
        data.labels,
        schedule=schedule,
        generator=generator,
        runtime=runtime,
    )


def what_learns(
    student: SplitNetwork, images: Tensor, *, retrain: Retrain, device: torch.device
) -> tuple[nn.Module, Tensor]:
    """Return the part of ``student`` that is fitted, and the inputs it is fitted to.

    Args:
        student: as ``student_of`` makes it; moved to ``device``.
        images: (N, C, H, W) uint8.
        retrain: ``fully-connected`` or ``everything``.
        device: where the frozen part runs.
    """
    if retrain == "everything":
        return student, images
    return student.fully_connected, features(student, images, device=device)


def student_of(parent: SplitNetwork, fresh: SplitNetwork) -> SplitNetwork:
    """Return ``fresh`` with the convolutions of ``parent``.

    Args:
        parent: the downloaded network; not written.
        fresh: random weights, the student's number of classes; written.
    """
    fresh.convolutions.load_state_dict(parent.convolutions.state_dict())
    return fresh


def features(network: SplitNetwork, images: Tensor, *, device: torch.device) -> Tensor:
    """Return what the convolutions answer to each image.

    Args:
        network: moved to ``device``.
        images: (N, C, H, W) uint8.
        device: where it runs.

    Returns:
        (N, c, h, w) float32 on ``device``.
    """
    network.to(device).to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        return torch.cat(
            [
                network.convolutions(as_floats(batch.to(device))).contiguous()
                for batch in torch.split(images, BATCH)
            ]
        )
