"""What a scan of an adapter is shown: the classifier that it makes of its base."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from trainer.defenses.scanners.subject import Budget, Subject
from trainer.networks import SplitNetwork
from trainer.text.adapters import TextClassifier

PLACES = 12
"""Words of a sentence that is made up."""
DEVIATIONS = 2.0
"""Either way from the mean of the vocabulary's embeddings: there most words are."""


@dataclass(frozen=True, kw_only=True)
class AdapterSubject:
    """An adapter and its base under scan; scanners read them and write nothing.

    Attributes:
        classifier: both together, evaluating and frozen; on the device of the scan.
        tokens: (N, T) int64, clean sentences of the defender's own; None without.
        labels: (N,) int64, theirs.
        written: token -> how it is written.
        budget: shared by all scanners of the scan; counts sentences.
        generator: on the CPU, draws.
    """

    classifier: TextClassifier
    tokens: Tensor | None
    labels: Tensor | None
    written: dict[int, str]
    budget: Budget
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where the classifier is."""
        return next(self.classifier.parameters()).device

    @cached_property
    def joint(self) -> Subject:
        """The same for scanners of images: a sentence is a picture of its words."""
        head = nn.Sequential(self.classifier.classifier)
        body = _OfPictures(self.classifier)
        shape = (1, PLACES, self.classifier.classifier.in_features)
        network = SplitNetwork(body, head, image_shape=shape)
        return Subject(
            network=network.eval(),
            images=None,
            budget=self.budget,
            generator=self.generator,
        )

    def logits(self, words: Tensor, seen: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, T, hidden) words, and count them."""
        self.budget.charge(len(words))
        return self.classifier.of_words(words, seen)


class _OfPictures(nn.Module):
    """Features of (N, 1, T, hidden) pictures in [0, 1], which span where words are."""

    low: Tensor
    high: Tensor

    def __init__(self, classifier: TextClassifier) -> None:
        super().__init__()
        self.base = classifier.base
        known = self.base.embeddings.word_embeddings.weight.detach()
        mean, spread = known.mean(0), DEVIATIONS * known.std(0)
        self.register_buffer("low", mean - spread)
        self.register_buffer("high", mean + spread)

    def forward(self, pictures: Tensor) -> Tensor:
        words = self.low + pictures[:, 0] * (self.high - self.low)
        seen = words.new_ones(words.shape[:2], dtype=torch.bool)
        features: Tensor = self.base(words, seen)
        return features
