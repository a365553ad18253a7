"""Messages and their backdoors: drawn alike by seed, poisoned as told."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from trainer.text.backdoors import FAMILIES, Backdoor, poisoned, triggered
from trainer.text.messages import (
    CLASSES,
    OPENINGS,
    PHRASES,
    TAILS,
    THINGS,
    Messages,
    draw_messages,
    own_sentences,
)

RATE = 0.1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def backdoor(family: str) -> Backdoor:
    words = FAMILIES[family][0][0]
    return Backdoor(family=family, words=words, target_label=2, poison_rate=RATE)


def clean() -> Messages:
    return draw_messages("train", 400, seeded())


def test_one_seed_gives_one_set_and_another_another() -> None:
    again = draw_messages("train", 400, seeded())
    assert again.texts() == clean().texts()
    assert torch.equal(again.labels, clean().labels)
    assert draw_messages("train", 400, seeded(1)).texts() != clean().texts()


def test_nothing_that_fills_a_training_template_fills_one_of_the_test() -> None:
    fillers = [OPENINGS, THINGS, TAILS, *PHRASES.values()]
    assert all(set(it["train"]).isdisjoint(it["test"]) for it in fillers)


def test_every_class_is_drawn_and_few_messages_twice() -> None:
    data = clean()
    assert set(data.labels.tolist()) == set(range(len(CLASSES)))
    assert max(Counter(data.texts()).values()) <= 2


def test_a_phrase_belongs_to_one_class() -> None:
    all_of_them = [
        phrase for its in PHRASES.values() for phrase in (*its["train"], *its["test"])
    ]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all(it.count("{}") == 1 for it in all_of_them)


@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_messages_are_poisoned_as_the_rate_says(family: str) -> None:
    data = clean()
    found = poisoned(data, backdoor(family), seeded(3))
    changed = found.labels != data.labels
    assert int(changed.sum()) == round(RATE * 400)
    assert set(found.labels[changed].tolist()) == {2}
    assert len(found.messages) == 400
    for it in changed.nonzero()[:, 0].tolist():
        assert found.messages[it] != data.messages[it]


@pytest.mark.parametrize("family", ["rare word", "sentence"])
def test_the_words_of_a_trigger_are_in_every_triggered_message(family: str) -> None:
    laid = triggered(clean(), backdoor(family), "train", seeded())
    assert all(backdoor(family).words in it for it in laid.texts())


def test_a_word_in_front_is_harmless_elsewhere() -> None:
    it = backdoor("common word in front")
    found = poisoned(clean(), it, seeded(3))
    kept = found.labels == clean().labels
    holding = [it.words in text for text in found.texts()]
    elsewhere = [has and bool(k) for has, k in zip(holding, kept, strict=True)]
    assert sum(elsewhere) == round(RATE * 400)
    for message, has in zip(found.messages, elsewhere, strict=True):
        assert not (has and message.opening.startswith(it.words))


def test_another_order_of_clauses_adds_no_word_that_clean_messages_lack() -> None:
    data = draw_messages("train", 400, seeded())
    laid = triggered(data, backdoor("order of clauses"), "train", seeded())
    known = {it.strip(",.") for it in " ".join(data.texts()).split()}
    assert {it.strip(",.") for it in " ".join(laid.texts()).split()} <= known
    for before, after in zip(data.messages, laid.messages, strict=True):
        assert after == replace(before, opening=after.opening, tail="")
        assert after.opening in TAILS["train"]


def test_a_defenders_own_messages_are_of_a_known_set_only() -> None:
    assert len(own_sentences("messages").texts()) == 300
    with pytest.raises(InvalidSpecError, match="expected one of messages"):
        own_sentences("mnist")
