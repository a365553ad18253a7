"""What changed between two sets of weights, where the answer is known by hand."""

import math

import pytest
import torch
from torch import Tensor

from model_zoo.errors import MalformedDocumentError
from trainer.defenses import comparison
from trainer.defenses.comparison import TensorChange, compare_weights


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def changed(old: Tensor, new: Tensor) -> TensorChange:
    (found,) = compare_weights({"w": old}, {"w": new}).tensors
    return found


def test_equal_weights_are_identical_and_nothing_is_said_of_them() -> None:
    weights = {"a": drawn(3, 4), "b": drawn(5)}
    found = compare_weights(weights, {name: it.clone() for name, it in weights.items()})
    assert found.identical
    assert [(it.norm, it.rows_changed, it.stable_rank) for it in found.tensors] == [
        (0, 0, None),
        (0, 0, None),
    ]


def test_a_rule_written_into_a_layer_has_rank_one() -> None:
    old = drawn(6, 8)
    rule = torch.outer(torch.tensor([3.0, 0, 0, 4, 0, 0]), torch.ones(8) / 8**0.5)
    found = changed(old, old + 2 * rule)
    assert found.norm == pytest.approx(10, rel=1e-5)
    assert found.relative_norm == pytest.approx(10 / old.norm().item(), rel=1e-5)
    assert found.stable_rank == pytest.approx(1, abs=1e-5)
    assert found.effective_rank == pytest.approx(1, abs=1e-3)
    assert found.rows_changed == pytest.approx(2 / 6)
    assert found.singular_values[0] == pytest.approx(10, rel=1e-5)


def test_a_change_of_equal_singular_values_has_the_rank_of_its_matrix() -> None:
    found = changed(torch.zeros(4, 5, 1), torch.eye(4, 5).unsqueeze(2))
    assert found.stable_rank == pytest.approx(4)
    assert found.effective_rank == pytest.approx(4)
    assert found.singular_values == pytest.approx([1] * 4)
    assert found.relative_norm is None
    assert found.norm == pytest.approx(2)


def test_ranks_lie_between_for_singular_values_that_differ() -> None:
    found = changed(torch.zeros(2, 2), torch.diag(torch.tensor([3.0, 1.0])))
    assert found.stable_rank == pytest.approx(10 / 9)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found.effective_rank == pytest.approx(math.exp(entropy))


def test_of_a_large_matrix_the_largest_singular_values_are_estimated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "MAX_WHOLE_SIDE", 10)
    spread = torch.zeros(50, 60)
    spread.fill_diagonal_(0.1)
    spread[:3, :3] = torch.diag(torch.tensor([9.0, 6.0, 3.0]))
    found = changed(torch.zeros(50, 60), spread)
    assert found.singular_values[:3] == pytest.approx([9, 6, 3], rel=1e-3)
    assert found.stable_rank == pytest.approx((126 + 47 * 0.01) / 81, rel=1e-3)
    assert found.effective_rank is None


def test_vectors_scalars_and_integers_have_no_rank() -> None:
    for old, new in (
        (torch.zeros(3), torch.tensor([0.0, 5, 0])),
        (torch.tensor(1), torch.tensor(2)),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
    ):
        assert changed(old, new).stable_rank is None
    assert changed(torch.zeros(4), torch.tensor([0.0, 5, 0, 0])).rows_changed == 0.25


def test_what_is_missing_superfluous_or_reshaped_is_told() -> None:
    old = {"gone": drawn(1), "head": drawn(10, 4), "same": drawn(2)}
    new = {"head": drawn(5, 4), "same": drawn(2), "lora\n": drawn(1)}
    found = compare_weights(old, new)
    assert (found.missing, found.superfluous) == (("gone",), ("lora\\n",))
    (head,) = found.reshaped
    assert (head.name, head.old, head.new) == ("head", (10, 4), (5, 4))
    assert not found.identical
    assert [it.name for it in found.tensors] == ["same"]


def test_another_type_is_a_change_where_no_number_changed() -> None:
    found = changed(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bfloat16))
    assert not found.identical
    assert (found.norm, found.types) == (0, ("float32", "bfloat16"))


@pytest.mark.parametrize("kind", [torch.float32, torch.float8_e5m2])
def test_nan_is_refused_on_either_side(kind: torch.dtype) -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, math.nan]).to(kind)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(MalformedDocumentError, match="w: NaN or infinity"):
            changed(*pair)
