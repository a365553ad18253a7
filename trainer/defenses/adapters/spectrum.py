"""The spectrum of every update: needs no data, no base, and tens of milliseconds.

Source:
    Puertolas Merenciano et al., "Weight space Detection of Backdoors in LoRA Adapters",
    arXiv:2602.15195: the largest singular value, the norm, how much of the energy is in
    the first direction, entropy, kurtosis. A trigger that gives one answer is a simple
    map, which is to show as one strong direction.
"""

import torch
from torch import Tensor

from trainer.defenses.adapters.subject import AdapterSubject
from trainer.defenses.scanners.subject import Finding
from trainer.text.adapters import LoraLinear

LEAST = 1e-30
"""In the place of the energy of an update that is 0."""


def spectrum(subject: AdapterSubject) -> Finding:
    """Look at the singular values of B·A in every place that has an update."""
    rows = [_numbers(it) for it in subject.classifier.updates().values()]
    features = {}
    for name in rows[0]:
        values = torch.tensor([it[name] for it in rows])
        features[f"spectrum-{name}"] = values.mean().item()
        features[f"spectrum-{name}-most"] = values.max().item()
    return Finding(score=features["spectrum-share"], features=features)


def _numbers(update: LoraLinear) -> dict[str, float]:
    values, whole = singular_values(update)
    energy = values.square()
    shares = energy / energy.sum().clamp(min=LEAST)
    entropy = -(shares * shares.clamp(min=LEAST).log()).sum()
    centred = whole - whole.mean()
    spread = centred.square().mean().clamp(min=LEAST)
    return {
        "first": values[0].item(),
        "norm": energy.sum().sqrt().item(),
        "share": shares[0].item(),
        "evenness": (entropy / max(1.0, torch.tensor(len(values)).log().item())).item(),
        "kurtosis": (centred.pow(4).mean() / spread.square()).item(),
    }


def singular_values(update: LoraLinear) -> tuple[Tensor, Tensor]:
    """Return (r,) float64 falling, and the (outputs, inputs) float64 they are of.

    Of the thin factors, which is the same as of the product, and a thousandth the work.
    """
    down, up = (
        it.weight.detach().double().cpu() for it in (update.lora_A, update.lora_B)
    )
    up = up * update.scale
    _, left = torch.linalg.qr(up)
    _, right = torch.linalg.qr(down.T)
    return torch.linalg.svdvals(left @ right.T), up @ down
