"""Fine-pruning: cut the units that clean images leave silent, then fine-tune.

Source:
    Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on
    Deep Neural Networks", RAID 2018, sections 3.1 and 3.3.
"""

import torch
from torch import Tensor

from model_zoo.statements.jobs import Schedule
from trainer.data.images import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.activations import require_silence
from trainer.training.fit import Epoch, Runtime, fit
from trainer.training.transfer import features


def fine_prune(
    network: SplitNetwork,
    clean: LabelledImages,
    *,
    max_accuracy_loss: float,
    schedule: Schedule,
    generator: torch.Generator,
    runtime: Runtime,
) -> tuple[tuple[int, ...], list[Epoch]]:
    """Repair ``network`` in place with clean images alone.

    No argument could carry a trigger: a defender does not have it.

    Returns:
        The units that were cut, in that order, and the epochs of the fine-tuning.

    Raises:
        InvalidSpecError: a unit answers below 0.
    """
    silent = units_to_prune(
        network, clean, max_accuracy_loss=max_accuracy_loss, device=runtime.device
    )
    network.cut(silent)
    epochs = fit(
        network,
        clean.images,
        clean.labels,
        schedule=schedule,
        generator=generator,
        runtime=runtime,
    )
    return silent, epochs


def units_to_prune(
    network: SplitNetwork,
    clean: LabelledImages,
    *,
    max_accuracy_loss: float,
    device: torch.device,
) -> tuple[int, ...]:
    """Return the units of the features to cut, the most silent first.

    Silence is the mean activation over the clean images. Units go one after another
    for as long as accuracy on those images stays within ``max_accuracy_loss``.

    Raises:
        InvalidSpecError: a unit answers below 0, so that none is silent.
    """
    active = features(network, clean.images, device=device)
    require_silence(active)
    labels = clean.labels.to(device)
    lowest = _accuracy(network, active, labels) - max_accuracy_loss
    cut: list[int] = []
    others = [dim for dim in range(active.ndim) if dim != 1]
    for unit in active.mean(others).argsort().tolist():
        active[:, unit] = 0
        if _accuracy(network, active, labels) < lowest:
            break
        cut.append(unit)
    return tuple(cut)


def _accuracy(network: SplitNetwork, active: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        right: Tensor = network.fully_connected(active).argmax(1) == labels
    return right.double().mean().item()
