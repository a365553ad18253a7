"""What changed from one set of weights to another, tensor by tensor.

The older one may be a declared parent, a base, or the last version that was trusted.
No network is needed: a tensor is a matrix, with a row for each of its first index.
Fine-tuning changes much by little and with a high rank; an edit that plants one rule,
or an adapter that was merged, has a low one. That is a description, and no verdict.

Source:
    stable rank: Rudelson, Vershynin, J. ACM 54 (2007); effective rank: Roy, Vetterli,
    EUSIPCO 2007; the largest singular values of large matrices: Halko, Martinsson,
    Tropp, SIAM Review 53 (2011), algorithm 4.4.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from model_zoo.documents import Document
from model_zoo.errors import MalformedDocumentError
from model_zoo.text import printable

SHOWN_VALUES = 5
"""How many of the largest singular values are told."""
MAX_WHOLE_SIDE = 2048
"""Of the shorter side of a matrix; of a larger one only the largest are computed."""
SKETCHED, SKETCH_ROUNDS = 16, 6
_MAX_DOUBLES = 1 << 24
"""Larger tensors are compared in float32."""
MAX_NAME_CHARACTERS = 120

Share = Annotated[float, Field(ge=0, le=1)]


class TensorChange(Document):
    """How one tensor changed.

    Attributes:
        name: of the tensor.
        shape: its sizes.
        types: the older and the newer element type, in torch's words.
        identical: every number is equal, and the type.
        norm: Frobenius norm of the change.
        relative_norm: the same over the norm of the older tensor; None where that is 0.
        rows_changed: share of the rows in which any number changed.
        singular_values: the largest of the change, largest first; of a vector, none.
        stable_rank: squared Frobenius norm over squared largest singular value; None of
            a vector, and where nothing changed.
        effective_rank: exponential of the entropy of the singular values as shares;
            None as well where the matrix is too large.
    """

    name: str
    shape: tuple[int, ...]
    types: tuple[str, str]
    identical: bool
    norm: Annotated[float, Field(ge=0)] = 0.0
    relative_norm: Annotated[float, Field(ge=0)] | None = 0.0
    rows_changed: Share = 0.0
    singular_values: tuple[float, ...] = ()
    stable_rank: float | None = None
    effective_rank: float | None = None


class Reshaped(Document):
    """A tensor of the same name and another shape."""

    name: str
    old: tuple[int, ...]
    new: tuple[int, ...]


class WeightsComparison(Document):
    """What changed between two state dicts.

    Attributes:
        tensors: those that both have in the same shape, by name.
        missing: names that only the older one has.
        superfluous: names that only the newer one has.
        reshaped: what cannot be subtracted.
    """

    tensors: tuple[TensorChange, ...]
    missing: tuple[str, ...]
    superfluous: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]

    @property
    def identical(self) -> bool:
        """Whether both hold the same tensors, to the last number."""
        others = (*self.missing, *self.superfluous, *self.reshaped)
        return not others and all(it.identical for it in self.tensors)


def compare_weights(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor]
) -> WeightsComparison:
    """Return what changed from ``old`` to ``new``; neither is written.

    Args:
        old: name -> tensor on the CPU, of any shape and type.
        new: the same, of the newer one.

    Raises:
        MalformedDocumentError: a NaN or an infinity is in one of them.
    """
    for weights in (old, new):
        _require_finite(weights)
    both = sorted(old.keys() & new.keys())
    same = [name for name in both if old[name].shape == new[name].shape]
    return WeightsComparison(
        tensors=tuple(_change(name, old[name], new[name]) for name in same),
        missing=_shown(old.keys() - new.keys()),
        superfluous=_shown(new.keys() - old.keys()),
        reshaped=tuple(
            Reshaped(
                name=printable(name, limit=MAX_NAME_CHARACTERS),
                old=tuple(old[name].shape),
                new=tuple(new[name].shape),
            )
            for name in both
            if name not in set(same)
        ),
    )


def _require_finite(weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        # types of 8 bits cannot be asked
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            msg = f"{printable(name, limit=MAX_NAME_CHARACTERS)}: NaN or infinity"
            raise MalformedDocumentError(msg)


def _shown(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(printable(it, limit=MAX_NAME_CHARACTERS) for it in sorted(names))


def _change(name: str, old: Tensor, new: Tensor) -> TensorChange:
    kind = torch.float64 if old.numel() <= _MAX_DOUBLES else torch.float32
    before, after = old.to(kind), new.to(kind)
    types = (_type(old), _type(new))
    shown = printable(name, limit=MAX_NAME_CHARACTERS)
    shape = tuple(old.shape)
    change = after - before
    if not change.any():
        same = types[0] == types[1]
        return TensorChange(name=shown, shape=shape, types=types, identical=same)
    norm, whole = change.norm().item(), before.norm().item()
    rows = change.reshape(len(change), -1) if change.ndim else change.reshape(1, 1)
    return TensorChange(
        name=shown,
        shape=shape,
        types=types,
        identical=False,
        norm=norm,
        relative_norm=norm / whole if whole else None,
        rows_changed=rows.any(dim=1).double().mean().item(),
        **_spectrum(rows, norm=norm),
    )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _spectrum(matrix: Tensor, *, norm: float) -> dict[str, Any]:
    """Return what the singular values of a change say, by the names of the fields.

    Args:
        matrix: (rows, columns) floating point, not all 0.
        norm: its Frobenius norm.
    """
    if min(matrix.shape) <= 1:
        return {}
    whole = min(matrix.shape) <= MAX_WHOLE_SIDE
    values = torch.linalg.svdvals(matrix) if whole else _largest(matrix)
    shares = values / values.sum()
    entropy = torch.special.entr(shares).sum()
    return {
        "singular_values": tuple(values[:SHOWN_VALUES].tolist()),
        "stable_rank": (norm / values[0].item()) ** 2,
        "effective_rank": entropy.exp().item() if whole else None,
    }


def _largest(matrix: Tensor) -> Tensor:
    """Return the largest singular values of a large matrix, nearly: from a sketch."""
    generator = torch.Generator().manual_seed(0)
    sketch = torch.randn(
        matrix.shape[1], SKETCHED, generator=generator, dtype=matrix.dtype
    )
    basis = torch.linalg.qr(matrix @ sketch).Q
    for _ in range(SKETCH_ROUNDS):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    values: Tensor = torch.linalg.svdvals(basis.T @ matrix)
    return values
