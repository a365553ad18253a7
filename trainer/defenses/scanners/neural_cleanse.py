"""Neural Cleanse: the smallest patch that turns every image into each label.

All labels are searched in one batch, each on the same images and with a cost of its
own, so that their order plays no part. Labels whose patch stays large are left after a
while, as K-Arm does it.

Source:
    Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
    Networks", IEEE S&P 2019, sections IV and V; Shen et al., "Backdoor Scanning for
    Deep Neural Networks through K-Arm Optimization", ICML 2021, for the labels left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainer.defenses.scanners.subject import Finding, Subject

STEPS, BATCH = 100, 16
IMAGES = 26
"""Of each class; batches are drawn of all of them."""
RATE, BETAS = 0.1, (0.5, 0.9)
"""Of Adam, as in the authors' code."""
FIRST_COST, STEP_OF_COST, PATIENCE = 1e-3, 1.5, 5
ENOUGH = 0.99
"""Share of a batch that has to get the label for the patch to shrink on."""
LEFT_AFTER = {30: 0.5, 60: 0.25}
"""Step -> share of the labels that are still searched from there on."""
LEAST_LABELS = 3
DEVIATION = 1.4826
"""Of a normal distribution, in median absolute deviations."""


def neural_cleanse(subject: Subject) -> Finding:
    """Look for a label whose smallest patch is an outlier below.

    The score is the anomaly index, one-sided: a label that needs a larger patch than
    the others is no sign of a backdoor.
    """
    images = subject.by_class(IMAGES).flatten(0, 1)
    search = _Search.begin(subject)
    alive = torch.arange(subject.classes, device=subject.device)
    for step in range(STEPS):
        if step in LEFT_AFTER:
            keep = max(LEAST_LABELS, round(LEFT_AFTER[step] * subject.classes))
            alive = alive[search.smallest[alive].argsort()[:keep]]
        batch = torch.randint(len(images), (BATCH,), generator=subject.generator)
        search.step(subject, images[batch], alive, number=step + 1)
    norms = search.smallest.double().cpu()
    index, label = _anomaly(norms)
    return Finding(
        score=index,
        features={"cleanse-index": index, "cleanse-norm": norms.min().item()},
        target_labels=(label,),
        trigger=search.best[label],
    )


def _anomaly(norms: Tensor) -> tuple[float, int]:
    """Return how far the smallest norm is below the median, in deviations, and whose.

    A label for which no patch was found has an infinite norm, and no part in either.
    """
    found = norms[norms.isfinite()]
    if len(found) < LEAST_LABELS:
        return 0.0, int(norms.argmin())
    median = found.median()
    spread = DEVIATION * (found - median).abs().median()
    index = (median - found.min()) / spread.clamp(min=1e-9)
    return index.item(), int(norms.argmin())


@dataclass(slots=True)
class _Search:
    """Patches of all labels: a mask and a pattern each, both behind a sigmoid."""

    raw: Tensor
    """(K, 1 + C, H, W): mask first."""
    first: Tensor
    second: Tensor
    cost: Tensor
    """(K,) of a unit of mask."""
    streak: Tensor
    """(K,) steps in a row with enough success; negative: without."""
    smallest: Tensor
    """(K,) L1 norm of the smallest mask that was successful enough."""
    best: Tensor
    """(K, C, H, W) the patch of that mask, over black."""

    @classmethod
    def begin(cls, subject: Subject) -> "_Search":
        channels, height, width = subject.network.image_shape
        shape = (subject.classes, 1 + channels, height, width)
        raw = torch.randn(shape, generator=subject.generator).to(subject.device)
        raw[:, 0] -= 2  # masks begin small
        per_label = raw.new_zeros(subject.classes)
        return cls(
            raw=raw,
            first=torch.zeros_like(raw),
            second=torch.zeros_like(raw),
            cost=per_label + FIRST_COST,
            streak=per_label.clone(),
            smallest=per_label + torch.inf,
            best=torch.zeros_like(raw[:, 1:]),
        )

    def step(
        self, subject: Subject, images: Tensor, alive: Tensor, *, number: int
    ) -> None:
        """Take one step for the labels ``alive``, on (n, C, H, W) ``images``."""
        raw = self.raw[alive].requires_grad_()
        mask, pattern = raw[:, None, :1].sigmoid(), raw[:, None, 1:].sigmoid()
        logits = subject.logits(images * (1 - mask) + pattern * mask)
        wanted = alive[:, None].expand(-1, len(images))
        losses = functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), reduction="none"
        ).view(len(alive), -1)
        norms = mask.flatten(1).sum(1)
        loss = (losses.mean(1) + self.cost[alive] * norms).sum()
        (slope,) = torch.autograd.grad(loss, raw)
        success = (logits.argmax(2) == wanted).float().mean(1)
        self._keep(alive, success, norms.detach(), (mask * pattern)[:, 0].detach())
        self._move(alive, slope.nan_to_num(), number)

    def _keep(
        self, alive: Tensor, success: Tensor, norms: Tensor, patches: Tensor
    ) -> None:
        enough = success >= ENOUGH
        smaller = enough & (norms < self.smallest[alive])
        better = alive[smaller]
        self.smallest[better] = norms[smaller]
        self.best[better] = patches[smaller]
        before = self.streak[alive]
        streak = torch.where(enough, before.clamp(min=0) + 1, before.clamp(max=0) - 1)
        cost = self.cost[alive]
        cost = torch.where(streak >= PATIENCE, cost * STEP_OF_COST, cost)
        cost = torch.where(streak <= -PATIENCE, cost / STEP_OF_COST**1.5, cost)
        self.cost[alive] = cost
        self.streak[alive] = torch.where(streak.abs() >= PATIENCE, 0, streak)

    def _move(self, alive: Tensor, slope: Tensor, number: int) -> None:
        fast, slow = BETAS
        first = self.first[alive].mul(fast).add(slope, alpha=1 - fast)
        second = self.second[alive].mul(slow).addcmul(slope, slope, value=1 - slow)
        self.first[alive], self.second[alive] = first, second
        rise = first / (1 - fast**number)
        scale = (second / (1 - slow**number)).sqrt().add(1e-8)
        self.raw[alive] -= RATE * rise / scale
