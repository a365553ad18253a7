"""ABL: what is learned too easily is set apart, and in the end unlearned.

At first no image's loss is let fall far below a floor: below it the loss is raised
again. The images whose loss is lowest then are isolated, the network learns on from
the rest, and at last it unlearns the isolated ones by gradient ascent, with clean
images of the defender's own in the other scale, and for as long as those are told as
before. Batch norms learn while the network does; while it unlearns, they stay.

Source:
    Li et al., "Anti-Backdoor Learning: Training Clean Models on Poisoned Data",
    NeurIPS 2021, sections 3.2 and 3.3: local gradient ascent, isolation of 1 %, and
    unlearning. What differs, and what it does on digits: docs/adr/0054-abl.md
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.statements.jobs import Schedule
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.i_bau import hold_norms
from trainer.defenses.repairs.validation import accuracy, set_aside
from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches
from trainer.training.fit import Epoch, Gradients, Runtime, answered, fit, totals

FLOOR = 0.02
"""Of the loss of an image. At the paper's 0.5 digits and poisoned digits end alike."""
EARLY = 0.7
"""Share of the epochs before images are isolated."""
ISOLATED = 0.05
"""Share of the images; of the paper's 1 % too few differ from clean ones."""
BATCHES = 10
"""Of one pass over the isolated images; the first has a rate of 0."""
MOST_PASSES = 15
ASCENT = Schedule(epochs=1, peak_learning_rate=0.03, momentum=0, weight_decay=0)
"""Of one pass, but for the size of its batches."""
CLEAN, CLEAN_IMAGES = 10.0, 64
"""Weight of the loss on clean images, beside an ascent of norm 1, and how many."""
MOST_LOSS = 0.02
"""Of accuracy on the clean images set aside, while the network unlearns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defended:
    """What a defended training was like.

    Attributes:
        epochs: of learning; those of unlearning are not among them.
        isolated: (M,) int64, the training images that were unlearned, least loss first.
    """

    epochs: list[Epoch]
    isolated: Tensor


Defense = Callable[
    [SplitNetwork, LabelledImages, LabelledImages, Schedule, torch.Generator, Runtime],
    Defended,
]
"""Fresh network, images that are not trusted, clean ones, how the network is to learn,
what draws, and where to run. It writes the network, and nothing else of these.
"""


def isolate_and_unlearn(
    network: SplitNetwork,
    training: LabelledImages,
    clean: LabelledImages,
    schedule: Schedule,
    generator: torch.Generator,
    runtime: Runtime,
) -> Defended:
    """Train ``network`` in place on images of which some may be poisoned.

    Args:
        network: with random weights.
        training: of which nobody knows what is poisoned.
        clean: the defender's own; one in five tells when unlearning does harm, and
            the others are learned from beside it.
        schedule: its epochs are shared out: first with a floor, then on the rest, each
            part with a one-cycle rate of its own.
        generator: on the CPU, draws.
        runtime: where to run; how it shows images is known by their place in
            ``training``.

    Raises:
        InvalidSpecError: there are too few clean images, the deadline passed, or
            training diverged.
    """
    learned, aside = set_aside(clean, generator)
    early = round(EARLY * schedule.epochs)
    epochs = fit(
        network,
        training.images,
        training.labels,
        schedule=schedule.model_copy(update={"epochs": early}),
        generator=generator,
        runtime=replace(runtime, gradients=gradients_above_a_floor),
    )
    order = losses(network, training, generator, runtime).argsort(stable=True)
    isolated, rest = order.tensor_split([max(1, round(ISOLATED * len(order)))])
    epochs += _learn_on(
        network,
        training.select(rest),
        schedule=schedule,
        done=early,
        generator=generator,
        runtime=_showing(rest, runtime),
    )
    unlearn(
        network,
        training.select(isolated),
        clean=learned,
        aside=aside,
        generator=generator,
        runtime=_showing(isolated, runtime),
    )
    return Defended(epochs=epochs, isolated=isolated)


def gradients_above_a_floor(
    network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
) -> Tensor:
    """Leave the gradients that lower an image's loss above FLOOR, and raise it below.

    Returns:
        (2,) float32, the batch's totals; the loss is the cross-entropy.
    """
    logits = answered(network, inputs, runtime)
    each = functional.cross_entropy(logits, labels, reduction="none")
    torch.autograd.backward(((each.detach() - FLOOR).sign() * each).mean())
    return totals(each.mean(), logits, labels)


@torch.no_grad()
def losses(
    network: SplitNetwork,
    training: LabelledImages,
    generator: torch.Generator,
    runtime: Runtime,
) -> Tensor:
    """Return (N,) float32 cross-entropies, on the CPU, of the images as shown."""
    network.eval()
    found = []
    with reproducible(runtime.device):
        size = len(batches(training.images)[0])
        for which in torch.split(torch.arange(len(training)), size):
            shown = training.images[which].to(runtime.device)
            logits = network(as_floats(runtime.augment(shown, which, generator)))
            labels = training.labels[which].to(runtime.device)
            found.append(functional.cross_entropy(logits, labels, reduction="none"))
    return torch.cat(found).cpu()


def unlearn(
    network: SplitNetwork,
    isolated: LabelledImages,
    *,
    clean: LabelledImages,
    aside: LabelledImages,
    generator: torch.Generator,
    runtime: Runtime,
) -> None:
    """Raise the loss of ``isolated`` and keep that of ``clean``, in place.

    It ends when no isolated image has its label any more, after MOST_PASSES, or before
    a pass that takes more than MOST_LOSS, in all, of the accuracy on ``aside``: clean
    images, too, that are learned from at no time.
    """
    hold_norms(network)
    lowest = accuracy(network, aside, device=runtime.device) - MOST_LOSS
    size = max(1, len(isolated) // BATCHES)
    for _ in range(MOST_PASSES):
        before = copy.deepcopy(network.state_dict())
        (done,) = fit(
            network,
            isolated.images,
            isolated.labels,
            schedule=ASCENT.model_copy(update={"batch_size": size}),
            generator=generator,
            runtime=replace(
                runtime,
                gradients=ascending(clean, generator),
                on_epoch=lambda _: None,
            ),
        )
        if accuracy(network, aside, device=runtime.device) < lowest:
            network.load_state_dict(before)
            return
        if not done.accuracy:
            return


def ascending(clean: LabelledImages, generator: torch.Generator) -> Gradients:
    """Return the gradients that raise the loss of a batch, and lower that of ``clean``.

    Those of the batch are scaled to a norm of 1: of images that a network is sure of
    they are next to nothing.

    Args:
        clean: of which CLEAN_IMAGES are drawn at each step.
        generator: draws them.
    """

    def gradients(
        network: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
    ) -> Tensor:
        logits = answered(network, inputs, runtime)
        loss = functional.cross_entropy(logits, labels)
        torch.autograd.backward(-loss)
        raising = [it.grad for it in network.parameters() if it.grad is not None]
        norm = torch.stack([it.norm() for it in raising]).norm()
        for it in raising:
            it.div_(norm.clamp(min=torch.finfo(norm.dtype).tiny))
        chosen = torch.randint(len(clean), (CLEAN_IMAGES,), generator=generator)
        images, theirs = clean.images[chosen], clean.labels[chosen].to(runtime.device)
        kept = answered(network, images.to(runtime.device), runtime)
        torch.autograd.backward(CLEAN * functional.cross_entropy(kept, theirs))
        return totals(loss, logits, labels)

    return gradients


def _learn_on(
    network: SplitNetwork,
    rest: LabelledImages,
    *,
    schedule: Schedule,
    done: int,
    generator: torch.Generator,
    runtime: Runtime,
) -> list[Epoch]:
    """Train ``network`` in place, and count epochs on from those that are done."""

    def later(epoch: Epoch) -> Epoch:
        return replace(epoch, number=epoch.number + done)

    epochs = fit(
        network,
        rest.images,
        rest.labels,
        schedule=schedule.model_copy(update={"epochs": schedule.epochs - done}),
        generator=generator,
        runtime=replace(runtime, on_epoch=lambda it: runtime.on_epoch(later(it))),
    )
    return [later(it) for it in epochs]


def _showing(chosen: Tensor, runtime: Runtime) -> Runtime:
    """Return ``runtime``, to show the images at ``chosen`` as it would among all."""

    def augment(batch: Tensor, indices: Tensor, draws: torch.Generator) -> Tensor:
        return runtime.augment(batch, chosen.to(indices.device)[indices], draws)

    return replace(runtime, augment=augment)
