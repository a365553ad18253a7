"""ANP: prune the units that lead astray when they are moved adversarially.

Each unit has a mask, learned on clean images while an adversary moves the unit's
weights and bias by a share of them; a backdoor's units break the network soonest and
lose their masks. Those with the lowest go, for as long as accuracy on clean images
that were set aside allows. A unit is a channel of a convolution or a neuron of a
hidden layer; where a batch norm scales it, that is what is moved and pruned. Batch
norms keep their means and variances.

Source:
    Wu, Wang, "Adversarial Neuron Pruning Purifies Backdoored Deep Models",
    NeurIPS 2021, sections 3.2 and 3.3, algorithm 1.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.repaired import Repaired
from trainer.defenses.repairs.validation import accuracy, set_aside
from trainer.networks import SplitNetwork
from trainer.networks.activations import layers, scale_of, silence
from trainer.training.fit import Gradients, Runtime, answered, fit, totals

BUDGET = 0.4
"""The share of weights and biases by which the adversary moves a unit; the paper's."""
CLEAN_WEIGHT = 0.2
"""Of the loss of unmoved units, 1 less it of that of moved ones; the paper's."""
MOST_ACCURACY_LOSS = 0.01
"""On the images set aside, for all that is pruned."""
THRESHOLDS = tuple(step / 50 for step in range(1, 50))
"""Of the masks, tried one after another."""


def prune_sensitive(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place; the schedule is that of the masks.

    Raises:
        InvalidSpecError: there are too few images to set some aside.
    """
    learned, kept = set_aside(clean, generator)
    masked = Masked(network)
    epochs = fit(
        masked,
        learned.images,
        learned.labels,
        schedule=spec.schedule,
        generator=generator,
        runtime=replace(runtime, gradients=adversarial(masked, generator)),
    )
    network.requires_grad_()
    masks = [it.detach().cpu().clamp(0, 1) for it in masked.masks]
    prune(network, masks, kept, device=runtime.device)
    return Repaired(network=network, epochs=epochs)


class Masked(nn.Module):
    """A frozen network and what can move: a mask of each unit of each hidden layer.

    Attributes:
        masks: of the layers in ``hidden``'s order, (units,) float32.
        moves: of each layer the shares by which its weights are moved, then those of
            each layer's biases.
    """

    def __init__(self, network: SplitNetwork) -> None:
        """Freeze ``network``; every mask is 1 and nothing moved."""
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.names = hidden(network)
        units = [network.get_parameter(f"{it}.weight").shape[0] for it in self.names]
        like = next(network.parameters())
        self.masks = nn.ParameterList([like.new_ones(it) for it in units])
        self.moves = [like.new_zeros(it) for it in units * 2]

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits with units masked and moved."""
        changed = {}
        half = len(self.names)
        for name, mask, weights, biases in zip(
            self.names, self.masks, self.moves[:half], self.moves[half:], strict=True
        ):
            scaled = self.network.get_submodule(name)
            weight, bias = scaled.get_parameter("weight"), scaled.bias
            shares = (mask + weights).view(-1, *[1] * (weight.ndim - 1))
            changed[f"{name}.weight"] = weight * shares
            if isinstance(bias, Tensor):
                changed[f"{name}.bias"] = bias * (1 + biases)
        logits: Tensor = functional_call(self.network, changed, (images,))
        return logits


def hidden(network: SplitNetwork) -> list[str]:
    """Return the names of what scales the units of each layer but the last."""
    names = {module: name for name, module in network.named_modules()}
    output = network.get_submodule(network.output_name)
    hidden = [it for it in layers(network).values() if it is not output]
    return [names[scale_of(network, it)] for it in hidden]


def prune(
    network: SplitNetwork,
    masks: Sequence[Tensor],
    kept: LabelledImages,
    *,
    device: torch.device,
) -> float:
    """Prune units of ``network`` in place, the lowest masks first.

    Thresholds rise for as long as accuracy on ``kept`` stays within
    MOST_ACCURACY_LOSS of what it was.

    Args:
        network: whose hidden layers the masks are of.
        masks: of each layer in ``hidden``'s order, (units,) in [0, 1].
        kept: clean images that the masks were not learned from.
        device: where the accuracy is measured.

    Returns:
        The threshold under which masks were pruned; 0 where none was.
    """
    lowest = accuracy(network, kept, device=device) - MOST_ACCURACY_LOSS
    chosen, best = 0.0, copy.deepcopy(network.state_dict())
    for threshold in THRESHOLDS:
        for name, mask in zip(hidden(network), masks, strict=True):
            silence(network.get_submodule(name), mask < threshold)
        if accuracy(network, kept, device=device) < lowest:
            break
        chosen, best = threshold, copy.deepcopy(network.state_dict())
    network.load_state_dict(best)
    return chosen


def adversarial(masked: Masked, generator: torch.Generator) -> Gradients:
    """Return the gradients of masks while units are moved; ``generator`` draws."""

    def gradients(
        _: nn.Module, inputs: Tensor, labels: Tensor, runtime: Runtime
    ) -> Tensor:
        with torch.no_grad():
            for mask in masked.masks:
                mask.clamp_(0, 1)
        masked.moves = [torch.zeros_like(it).detach() for it in [*masked.masks] * 2]
        logits = answered(masked, inputs, runtime)
        clean = functional.cross_entropy(logits, labels)
        torch.autograd.backward(CLEAN_WEIGHT * clean)
        masked.moves = [drawn(it, generator) for it in masked.moves]
        worse = functional.cross_entropy(answered(masked, inputs, runtime), labels)
        slopes = torch.autograd.grad(
            worse, masked.moves, allow_unused=True, materialize_grads=True
        )
        masked.moves = [
            (it.detach() + BUDGET * slope.sign()).clamp(-BUDGET, BUDGET)
            for it, slope in zip(masked.moves, slopes, strict=True)
        ]
        worse = functional.cross_entropy(answered(masked, inputs, runtime), labels)
        torch.autograd.backward((1 - CLEAN_WEIGHT) * worse)
        return totals(clean, logits, labels)

    return gradients


def drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return shares as many as ``like``, drawn between -BUDGET and BUDGET."""
    shares = (2 * torch.rand(len(like), generator=generator) - 1) * BUDGET
    return shares.to(like).requires_grad_()
