"""Transfer learning: a downloaded network learns other classes.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.
"""

import torch
from torch import Tensor

from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches


def student_of(parent: SplitNetwork, fresh: SplitNetwork) -> SplitNetwork:
    """Return ``fresh`` with the convolutions of ``parent``.

    Args:
        parent: the downloaded network; not written.
        fresh: random weights, the student's number of classes; written.
    """
    fresh.convolutions.load_state_dict(parent.convolutions.state_dict())
    return fresh


def features(network: SplitNetwork, images: Tensor, *, device: torch.device) -> Tensor:
    """Return the features of each image, from which the head tells its label.

    Args:
        network: moved to ``device``.
        images: (N, C, H, W) uint8.
        device: where it runs.

    Returns:
        (N, c, h, w) or (N, c) float32 on ``device``.
    """
    network.to(device).to(memory_format=torch.channels_last).eval()
    with torch.no_grad(), reproducible(device):
        return torch.cat(
            [
                network.features(as_floats(batch.to(device))).contiguous()
                for batch in batches(images)
            ]
        )
