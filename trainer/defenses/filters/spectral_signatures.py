"""Spectral signatures: images that lie far out along a label's first direction.

Source:
    Tran, Li, Madry, "Spectral Signatures in Backdoor Attacks", arXiv:1811.00636,
    algorithm 1.
"""

from functools import partial

import torch
from torch import Tensor

from trainer.data.images import LabelledImages
from trainer.defenses.filters.classes import (
    MARGIN,
    Filtered,
    Judged,
    by_class,
    most_suspicious,
    principal,
    require_share,
)
from trainer.networks import SplitNetwork


def spectral_signatures(
    network: SplitNetwork,
    training: LabelledImages,
    *,
    share: float,
    generator: torch.Generator,
) -> Filtered:
    """Return of each label the images furthest out, MARGIN times ``share`` of them.

    As in the paper, it takes them from every label, poisoned or not. The strength of a
    label is the mean score of its suspects over that of the rest.

    Arguments and errors as for every filter; it draws nothing.
    """
    del generator
    require_share(share)
    return by_class(network, training, partial(_judge, share=share))


def _judge(found: Tensor, *, share: float) -> Judged:
    scores = principal(found, 1)[:, 0].square()
    suspects = most_suspicious(scores, MARGIN * share)
    strength = scores[suspects].mean() / scores[~suspects].mean()
    return Judged(scores=scores, suspects=suspects, strength=float(strength))
