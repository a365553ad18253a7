"""Weights: scanners that need no data and no forward pass of an image.

They see training that deviated, which a backdoor is one kind of: evidence, and never
grounds for quarantine by itself.
"""

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.defenses.scanners.subject import Finding, Subject
from trainer.networks import SplitNetwork
from trainer.networks.activations import with_open_gates

LEAST_LABELS = 4
"""Of which one can stand out: the median deviation of two others is 0."""


def last_layer(subject: Subject) -> Finding:
    """Compare the rows of the output layer: a target's stands out.

    Source:
        Fu et al., "FreeEagle", USENIX Security 2023, section 3; Wang et al.,
        "MM-BD", IEEE S&P 2024, section III for why a target's logits outgrow.
    """
    output = subject.network.get_submodule(subject.network.output_name)
    rows = output.get_parameter("weight").detach().double()
    rows = rows - rows.mean(0)
    means, norms = rows.mean(1), rows.norm(dim=1)
    alike = torch.corrcoef(rows).fill_diagonal_(0)
    features = {
        "row-norm": _outlier(norms),
        "row-mean": _outlier(means),
        "row-likeness": _outlier(alike.amin(1).neg()),
        "row-spread": (norms.std() / norms.mean()).item(),
        "row-norm-all": norms.mean().item(),
    }
    return Finding(
        score=max(features["row-norm"], features["row-mean"]),
        features=features,
        target_labels=(int(norms.argmax()),),
    )


def open_map(subject: Subject) -> Finding:
    """Look at what every pixel does to every label when all gates are open.

    The network without its nonlinearities is a matrix: labels times pixels. A small
    trigger leaves a few large entries in the row of its label.
    """
    rows = open_rows(subject.network).flatten(1).double()
    rows = rows / rows.square().mean().sqrt()
    rms = rows.square().mean(1).sqrt()
    peak = rows.abs().amax(1)
    kurtosis = rows.pow(4).mean(1) / rows.square().mean(1).square()
    features = {
        "map-rms": (rms.max() / rms.median()).item(),
        "map-rms-outlier": _outlier(rms),
        "map-peak": peak.max().item(),
        "map-peak-outlier": _outlier(peak),
        "map-kurtosis": kurtosis.max().item(),
        "map-kurtosis-outlier": _outlier(kurtosis),
    }
    return Finding(
        score=features["map-peak"],
        features=features,
        target_labels=(int(peak.argmax()),),
    )


def reference_map(subject: Subject) -> Finding:
    """Compare that matrix with those of clean networks of the same architecture.

    It sees any training that none of them had, and says nothing of what for.
    """
    rows = open_rows(subject.network).flatten(1).double().cpu().numpy()
    known = subject.references
    if known is None:
        msg = "there are no reference networks of this architecture and data set"
        raise InvalidSpecError(msg)
    if rows.shape != known.shape:
        msg = f"the references are of {known.shape}, labels by pixels, not {rows.shape}"
        raise InvalidSpecError(msg)
    features, label = known.strangeness(rows)
    return Finding(
        score=features["strange-peaks"], features=features, target_labels=(label,)
    )


def open_rows(network: SplitNetwork) -> Tensor:
    """Return (classes, C, H, W): the gradient of each centred logit, all gates open.

    Raises:
        InvalidSpecError: the network has nonlinearities without a gate to open.
    """
    linear = with_open_gates(network)
    weight = next(linear.parameters())
    grey = weight.new_zeros(network.classes, *network.image_shape, requires_grad=True)
    logits = linear(grey)
    centred = (logits - logits.mean(1, keepdim=True)).diagonal().sum()
    (rows,) = torch.autograd.grad(centred, grey)
    return rows


def _outlier(values: Tensor) -> float:
    """Return how far the largest is above the median, in deviations of the others.

    Raises:
        InvalidSpecError: there are fewer than LEAST_LABELS.

    Source:
        Rousseeuw, Croux, "Alternatives to the Median Absolute Deviation", JASA 1993,
        for the factor that makes it a standard deviation.
    """
    if len(values) < LEAST_LABELS:
        msg = f"{len(values)} labels: {LEAST_LABELS} are needed for one to stand out"
        raise InvalidSpecError(msg)
    others = values.sort().values[:-1]
    spread = (others - others.median()).abs().median() * 1.4826
    return ((values.max() - others.median()) / spread.clamp(min=1e-9)).item()
