"""The weights of a network beside those of clean ones of its architecture."""

import base64

import numpy as np
import pytest

from model_zoo.errors import InvalidSpecError
from tests.trainer.defenses.scanners.planted import ALL, network
from tests.trainer.defenses.scanners.test_scanners import subject
from trainer.defenses.scanners.references import (
    COMPONENTS,
    Numbers,
    References,
    packed,
    references_of,
    unpacked,
)
from trainer.defenses.scanners.weights import open_rows, reference_map

LABELS, VALUES = 4, 60
DRAWS = np.random.default_rng(1708)
COMMON = DRAWS.normal(size=(LABELS, VALUES))
HABIT = DRAWS.normal(size=(LABELS, VALUES))


def clean() -> Numbers:
    """A clean network: what all have, a habit of training, and chance."""
    chance = DRAWS.normal(scale=0.1, size=(LABELS, VALUES))
    scale = DRAWS.uniform(0.5, 2)
    return np.asarray(scale * (COMMON + DRAWS.normal() * HABIT + chance))


@pytest.fixture(scope="module")
def references() -> References:
    return references_of([clean() for _ in range(40)])


def test_a_few_strong_pixels_of_one_label_are_strange(references: References) -> None:
    backdoored = clean()
    backdoored[2, 5:17] += 3.0
    usual = [references.strangeness(clean())[0] for _ in range(20)]
    found, label = references.strangeness(backdoored)
    assert label == 2
    for name in ("strange-peaks", "strange-peaks-of-label", "strange-rms"):
        assert found[name] > 1.5 * max(it[name] for it in usual), name


def test_how_clean_networks_differ_is_no_news(references: References) -> None:
    far_out = COMMON + 4 * HABIT  # no reference is trained so
    unseen = COMMON + 4 * DRAWS.normal(size=HABIT.shape)
    habit, other = (references.strangeness(it)[0] for it in (far_out, unseen))
    assert habit["strange-rms"] < other["strange-rms"] / 2


def test_the_scale_of_the_weights_does_not_matter(references: References) -> None:
    one = clean()
    assert references.strangeness(one)[0] == pytest.approx(
        references.strangeness(7 * one)[0]
    )


def test_they_come_back_from_their_file(references: References) -> None:
    data = references.to_bytes()
    again = References.from_bytes(data, limit_bytes=len(data))
    one = clean()
    assert again.strangeness(one) == references.strangeness(one)
    assert (again.networks, again.shape) == (40, (LABELS, VALUES))
    size = COMPONENTS * LABELS * VALUES
    assert unpacked(again.by_label.components, (-1,)).size == size


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        base64.b64encode(b"odd").decode(),
        packed(np.zeros(LABELS * VALUES - 1)),
        packed(np.full(LABELS * VALUES, np.nan)),
        packed(np.full(LABELS * VALUES, np.inf)),
    ],
    ids=["alphabet", "half a number", "too short", "no number", "infinite"],
)
def test_broken_arrays_are_refused(references: References, text: str) -> None:
    whole = references.to_object()
    for field in ("centre", "spread"):
        broken = {**whole, "by_label": {**whole["by_label"], field: text}}
        with pytest.raises(ValueError, match=r"expected|multiple|reshape"):
            References.from_object(broken)


def test_one_network_is_no_reference() -> None:
    for maps in ([], [clean()]):
        with pytest.raises(ValueError, match="at least 2 clean networks"):
            references_of(maps)


def test_a_scan_compares_where_it_has_references() -> None:
    with pytest.raises(InvalidSpecError, match="no reference networks"):
        reference_map(subject())
    rows = open_rows(network()).flatten(1).double().numpy()
    nearly = [rows + DRAWS.normal(scale=0.1, size=rows.shape) for _ in range(12)]
    known = references_of(nearly)
    honest = reference_map(subject(references=known))
    planted = reference_map(subject(ALL, references=known))
    assert planted.score > honest.score
    assert planted.target_labels == (2,)


def test_references_of_another_architecture_are_refused(references: References) -> None:
    with pytest.raises(InvalidSpecError, match="labels by pixels"):
        reference_map(subject(references=references))
