"""Unlearning of a recovered perturbation, the network itself as the teacher.

Perturbations are found that mislead most clean images. The network then learns to
answer perturbed images as it answered them clean: softly, so that what it knows of the
clean ones stays. Batch norms stay as they are.

Source:
    Our own, of known parts: universal perturbations (Moosavi-Dezfooli et al., CVPR
    2017), unlearning of a recovered trigger (Wang et al., "Neural Cleanse", S&P 2019,
    section VI.C) and distillation (Hinton, Vinyals, Dean, arXiv:1503.02531).
    Decision: docs/adr/0044-repairs.md
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.fine_tuning import fine_tune
from trainer.defenses.repairs.i_bau import hold_norms
from trainer.defenses.repairs.repaired import Repaired
from trainer.defenses.scanners.perturbation import away_from, grow, judged
from trainer.defenses.scanners.subject import Budget, Subject
from trainer.networks import SplitNetwork
from trainer.networks.inference import as_floats
from trainer.training.fit import Gradients, Runtime, answered, totals

RADII = (1.5, 2.5, 4.0)
"""L2 norms of the perturbations."""
SOUGHT_ON = 160
"""Images, at most, of the search by gradients."""
STEPS = 6
"""Of the search, at each radius."""
PATCHES = 3
"""How many of the worst patches are unlearned."""
SIDE = 1 / 7
"""Of a patch, in shares of the image: 4 pixels of a digit's 28."""
TRIED_ON = 40
"""Images that each patch is laid on."""
MOST_PASSES, MOST_SECONDS = 1_000_000, 3600.0
"""For the search, many times what it needs for images of 224 pixels."""
PERTURBED = 0.7
"""The share of images that are shown perturbed."""
MOST = 1.1
"""Times a perturbation, at most; drawn from 0."""
TEMPERATURE = 2.0
"""Of what the teacher says."""
LABELS = 0.2
"""Weight of the cross-entropy beside what the teacher says."""


def unlearn(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place, with the whole of the schedule."""
    hold_norms(network)
    network.to(runtime.device).to(memory_format=torch.channels_last)
    teacher = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    found = perturbations(teacher, clean, generator)
    taught = replace(runtime, gradients=distilled(teacher, found, generator))
    return fine_tune(network, clean, spec, generator, taught)


def perturbations(
    network: SplitNetwork, clean: LabelledImages, generator: torch.Generator
) -> Tensor:
    """Return (R, C, H, W) perturbations that mislead most images.

    One of each of RADII, found by gradients, and the worst PATCHES: where a trigger
    is learned from many images, gradients see nothing of it at an image without it.

    Args:
        network: evaluating and frozen.
        clean: on some of which they are sought.
        generator: draws these.
    """
    chosen = torch.randperm(len(clean), generator=generator)[:SOUGHT_ON]
    device = next(network.parameters()).device
    images = as_floats(clean.images[chosen].to(device))[None]
    objective = away_from(clean.labels[chosen].to(device)[None])
    subject = Subject(
        network=network,
        images=clean,
        budget=Budget(passes=MOST_PASSES, seconds=MOST_SECONDS),
        generator=generator,
    )
    found = grow(subject, images, objective, radii=RADII, steps=STEPS)
    few, their_own = (
        images[:, :TRIED_ON],
        away_from(clean.labels[chosen][None, :TRIED_ON].to(device)),
    )
    tried = patches(images.shape[2:]).to(device)
    misled = torch.cat([judged(subject, few, it[None], their_own) for it in tried])
    worst = misled.topk(PATCHES).indices
    return torch.cat([*(found[radius] for radius in RADII), tried[worst]]).detach()


def patches(shape: torch.Size) -> Tensor:
    """Return (P, C, H, W) squares all over an image, of 1 and of -1: white and black.

    Their sides are SIDE of the image's shorter one, and each overlaps the next by half.
    """
    channels, height, width = shape
    side = max(1, round(min(height, width) * SIDE))
    places = [
        (top, left)
        for top in range(0, height - side + 1, max(1, side // 2))
        for left in range(0, width - side + 1, max(1, side // 2))
    ]
    white = torch.zeros(len(places), channels, height, width)
    for patch, (top, left) in zip(white, places, strict=True):
        patch[:, top : top + side, left : left + side] = 1
    return torch.cat([white, -white])


def distilled(
    teacher: SplitNetwork, found: Tensor, generator: torch.Generator
) -> Gradients:
    """Return the gradients towards what ``teacher`` says of the clean images.

    Args:
        teacher: evaluating and frozen.
        found: (R, C, H, W) perturbations, of which each image is shown one or none.
        generator: draws which, and how much of it.
    """

    def gradients(
        network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
    ) -> Tensor:
        images = as_floats(inputs)
        with torch.no_grad():
            wanted = answered(teacher, images, runtime) / TEMPERATURE
        shown = _perturbed(images, found, generator)
        logits = answered(network, shown, runtime)
        apart = functional.kl_div(
            functional.log_softmax(logits / TEMPERATURE, dim=1),
            functional.log_softmax(wanted, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        error = functional.cross_entropy(logits, labels)
        loss = TEMPERATURE**2 * apart + LABELS * error
        torch.autograd.backward(loss)
        return totals(loss, logits, labels)

    return gradients


def _perturbed(images: Tensor, found: Tensor, generator: torch.Generator) -> Tensor:
    draws = torch.rand(2, len(images), generator=generator)
    strength = draws[0] * MOST * (draws[1] < PERTURBED)
    which = torch.randint(len(found), (len(images),), generator=generator)
    added = strength.to(images.device)[:, None, None, None] * found[which]
    return (images + added).clamp(0, 1)
