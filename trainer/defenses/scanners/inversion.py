"""Inversion: scanners that look for the smallest change that a label gives way to.

They differ in what one perturbation is to move: all images (``universal``), those of
one class (``by_class``), or those of one class to one label (``pairs``). The last two
see what attacks one class only. A margin is told in units of the network's own: how
sure it is of clean images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.defenses.scanners.perturbation import (
    away_from,
    grow,
    judged,
    promise,
    towards,
)
from trainer.defenses.scanners.subject import JUDGED, Finding, Subject

MOST_IMAGES = 240
"""That one perturbation, or one a class, is searched on: 24 of each of ten classes."""
UNIVERSAL_RADII, UNIVERSAL_STEPS, UNIVERSAL_IMAGES = (1.0, 2.0, 3.0), 6, 16
CLASS_RADII, CLASS_STEPS, CLASS_IMAGES = (1.0, 2.0, 3.0), 5, 24
PAIR_RADIUS, PAIR_STEPS, PAIR_IMAGES = 1.0, 5, 6
MOST_PAIRS, SLOPE_IMAGES = 90, 2
"""All pairs of ten labels; of more labels, those that a first slope promises most."""
SHORTLIST, REFINED_RADII, REFINED_IMAGES = 10, (1.0, 2.0, 3.0), 24


def universal(subject: Subject) -> Finding:
    """Look for one perturbation that moves the images of every class."""
    held = _held_out(subject)
    labels = torch.arange(subject.classes, device=subject.device)
    count = _each(subject, UNIVERSAL_IMAGES)
    shown = subject.by_class(count, "shown")
    own = labels.repeat_interleave(count)[None]
    found = grow(
        subject,
        shown.flatten(0, 1)[None],
        away_from(own),
        radii=UNIVERSAL_RADII,
        steps=UNIVERSAL_STEPS,
    )
    moved = {
        radius: _moved(subject, held, it.expand(subject.classes, -1, -1, -1))
        for radius, it in found.items()
    }
    widest = UNIVERSAL_RADII[-1]
    features = {
        f"universal-{radius:g}": it.margins.mean().item()
        for radius, it in moved.items()
    }
    return Finding(
        score=features[f"universal-{widest:g}"],
        features=features,
        target_labels=(int(moved[widest].answers.flatten().mode().values),),
        trigger=found[widest][0],
    )


def by_class(subject: Subject) -> Finding:
    """Look for one perturbation a class that moves its images; the oddest class tells.

    Some classes are closer to another than most: what counts is by how much the
    largest margin stands out of the median.
    """
    held = _held_out(subject)
    labels = torch.arange(subject.classes, device=subject.device)
    count = _each(subject, CLASS_IMAGES)
    found = grow(
        subject,
        subject.by_class(count, "shown"),
        away_from(labels[:, None].expand(-1, count)),
        radii=CLASS_RADII,
        steps=CLASS_STEPS,
    )
    moved = {radius: _moved(subject, held, it) for radius, it in found.items()}
    excess = {radius: it.margins - it.margins.median() for radius, it in moved.items()}
    widest = CLASS_RADII[-1]
    source = int(excess[widest].argmax())
    features = {
        f"by-class-{radius:g}": it.max().item() for radius, it in excess.items()
    } | {
        f"by-class-all-{radius:g}": it.margins.mean().item()
        for radius, it in moved.items()
    }
    return Finding(
        score=features[f"by-class-{CLASS_RADII[1]:g}"],
        features=features,
        target_labels=(int(moved[widest].answers[source].mode().values),),
        source_labels=(source,),
        trigger=found[widest][source],
    )


def pairs(subject: Subject) -> Finding:
    """Look for one perturbation for each pair of labels; refine the likeliest pairs."""
    held = _held_out(subject)
    sure = _sureness(subject, held)
    sources, targets = _pairs_to_try(subject)
    first = grow(
        subject,
        subject.by_class(PAIR_IMAGES, "shown")[sources],
        towards(targets),
        radii=(PAIR_RADIUS,),
        steps=PAIR_STEPS,
    )[PAIR_RADIUS]
    few = held[sources, :PAIR_IMAGES]
    margins = judged(subject, few, first, towards(targets)) / sure
    excess = margins - margins.median()
    likeliest = excess.argsort(descending=True)[:SHORTLIST]
    sources, targets = sources[likeliest], targets[likeliest]
    refined = grow(
        subject,
        subject.by_class(REFINED_IMAGES, "shown")[sources],
        towards(targets),
        radii=REFINED_RADII,
        steps=PAIR_STEPS,
    )
    moved = {
        radius: judged(subject, held[sources], it, towards(targets)) / sure
        for radius, it in refined.items()
    }
    features = {"pairs": excess.max().item()}
    for radius, its in moved.items():
        features[f"pairs-{radius:g}"] = its.max().item()
        features[f"pairs-ahead-{radius:g}"] = (its.max() - its.median()).item()
    widest = REFINED_RADII[-1]
    best = int(moved[widest].argmax())
    return Finding(
        score=features[f"pairs-{REFINED_RADII[1]:g}"],
        features=features,
        target_labels=(int(targets[best]),),
        source_labels=(int(sources[best]),),
        trigger=refined[widest][best],
    )


@dataclass(frozen=True, slots=True)
class _Moved:
    """(K,) margins in units of the clean ones, and (K, n) labels that were answered."""

    margins: Tensor
    answers: Tensor


def _held_out(subject: Subject) -> Tensor:
    """Return (classes, JUDGED, C, H, W): images that no search is shown."""
    return subject.by_class(JUDGED, "judged")


def _each(subject: Subject, count: int) -> int:
    """Return how many images of each class are searched on, at most ``count``."""
    return max(1, min(count, MOST_IMAGES // subject.classes))


@torch.no_grad()
def _moved(subject: Subject, held: Tensor, perturbations: Tensor) -> _Moved:
    labels = torch.arange(subject.classes, device=subject.device)
    objective = away_from(labels[:, None].expand(-1, held.shape[1]))
    logits = subject.logits((held + perturbations[:, None]).clamp(0, 1))
    return _Moved(
        objective(logits).mean(1) / _sureness(subject, held), logits.argmax(2)
    )


@torch.no_grad()
def _sureness(subject: Subject, held: Tensor) -> Tensor:
    """Return the mean margin of the true label over the best other, on clean images."""
    labels = torch.arange(subject.classes, device=subject.device)
    objective = away_from(labels[:, None].expand(-1, held.shape[1]))
    return -objective(subject.logits(held)).mean().clamp(max=-1e-6)


def _pairs_to_try(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return (P,) source labels and (P,) target labels, no label with itself.

    All of them, or the MOST_PAIRS that the slope promises most for.
    """
    labels = torch.arange(subject.classes, device=subject.device)
    every = torch.cartesian_prod(labels, labels)
    sources, targets = every[every[:, 0] != every[:, 1]].unbind(1)
    if len(sources) > MOST_PAIRS:
        shown = subject.by_class(SLOPE_IMAGES, "shown")[sources]
        promised = promise(subject, shown, towards(targets), radius=PAIR_RADIUS)
        likeliest = promised.argsort(descending=True)[:MOST_PAIRS]
        sources, targets = sources[likeliest], targets[likeliest]
    return sources, targets
