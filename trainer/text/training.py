"""Training: an adapter and its head learn, the base stays what it was."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import InvalidSpecError
from trainer.text.adapters import TextClassifier
from trainer.text.encoder import PAD

MAX_NORM = 1.0
"""Of the gradient of a batch."""
EVALUATED = 100
"""Sentences at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How an adapter learns.

    Attributes:
        count: of steps.
        batch_size: sentences a step.
        learning_rate: of the first step; it falls to 0 in a straight line.
    """

    count: int = 250
    batch_size: int = 16
    learning_rate: float = 2e-3


def fit_adapter(
    classifier: TextClassifier,
    tokens: Tensor,
    labels: Tensor,
    *,
    steps: Steps,
    generator: torch.Generator,
) -> None:
    """Train the adapter and the head in place, by Adam on the cross-entropy.

    Args:
        classifier: its base has frozen weights, and keeps them.
        tokens: (N, T) int64, filled up with PAD.
        labels: (N,) int64.
        steps: how.
        generator: draws the batches.

    Raises:
        InvalidSpecError: the loss is not finite.
    """
    learned = [it for it in classifier.parameters() if it.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=steps.learning_rate)
    left = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps.count
    )
    classifier.train()
    for _ in range(steps.count):
        chosen = torch.randint(len(labels), (steps.batch_size,), generator=generator)
        loss = functional.cross_entropy(classifier(cut(tokens[chosen])), labels[chosen])
        if not loss.isfinite():
            msg = "training diverged: the loss is not finite; lower the learning rate"
            raise InvalidSpecError(msg)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learned, MAX_NORM)
        optimizer.step()
        left.step()
    classifier.eval()


@torch.no_grad()
def answers(classifier: TextClassifier, tokens: Tensor) -> Tensor:
    """Return (N,) int64, the label that each of (N, T) sentences gets."""
    parts = torch.split(tokens, EVALUATED)
    return torch.cat([classifier(cut(it)).argmax(1) for it in parts])


def cut(tokens: Tensor) -> Tensor:
    """Return the sentences without the columns that fill all of them up."""
    return tokens[:, : int((tokens != PAD).sum(1).max())]
