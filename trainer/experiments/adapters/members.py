"""``adapters``: scanners on rank-8 adapters of a sentence encoder.

Networks: adapters of all-MiniLM-L6-v2 with a head of six classes, each on its own draw
of messages, with its own rate, steps and scale. Half are backdoored, by four families
of triggers. Numbers: ACC and ASR on messages whose phrases no training saw, and what
every scanner says. Which way a score points, and in what units it is added to others,
is set by adapters of the split ``direction``, which has two families and is counted
nowhere else; no threshold is chosen.

Source:
    Hu et al., "LoRA", ICLR 2022; of the triggers ``trainer.text.backdoors``; of the
    scanners the modules of ``trainer.defenses.adapters``.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model_zoo.canonical import JsonObject
from model_zoo.statements.scan import ScannerResult
from trainer.defenses.adapters.scan import ADAPTER_SCANNERS
from trainer.defenses.adapters.subject import AdapterSubject
from trainer.defenses.scanners.scan import MOST_PASSES, MOST_SECONDS, run_scanner
from trainer.defenses.scanners.subject import Budget
from trainer.evaluation.metrics import accuracy, attack_success_rate
from trainer.experiments.engine.cells import Cell, Scale
from trainer.experiments.engine.experiment import Part
from trainer.experiments.engine.models import ModelCache
from trainer.text.adapters import AdapterConfig, TextClassifier, new_classifier
from trainer.text.backdoors import FAMILIES, Backdoor, poisoned, triggered
from trainer.text.bases import MINILM, TOKENIZER, Base, base_of, pretrained_minilm
from trainer.text.messages import (
    CLASSES,
    MESSAGES,
    Messages,
    draw_messages,
    own_sentences,
)
from trainer.text.tokens import tokenizer_of, tokens_of
from trainer.text.training import Steps, answers, fit_adapter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIRECTION, TEST = "direction", "test"
CLEAN = "clean"
SEEN = ("rare word", "sentence")
"""Families that the split ``direction`` has."""
UNSEEN = tuple(it for it in FAMILIES if it not in SEEN)
COUNTS: Mapping[Scale, Mapping[str, Mapping[str, int]]] = {
    "full": {
        DIRECTION: {CLEAN: 10, **dict.fromkeys(SEEN, 5)},
        TEST: {CLEAN: 10, **dict.fromkeys(UNSEEN, 5)},
    },
    "quick": {
        DIRECTION: {CLEAN: 1, SEEN[0]: 1},
        TEST: {CLEAN: 1, UNSEEN[0]: 1},
    },
}
"""Split -> family -> how many adapters."""
SEED = 2019
TEST_MESSAGES, TEST_SEED = 200, 8_103
BATCH_SIZE = 12
QUICK_MESSAGES, QUICK_STEPS = 40, 3
QUICK_SCANNERS = ("spectrum", "last-layer")


def parts(seed: int, scale: Scale) -> Iterator[Part]:
    """Yield what decides each adapter of a seed; any first part is of all families."""
    counts = [
        (split, family, count)
        for split, families in COUNTS[scale].items()
        for family, count in families.items()
    ]
    for number in range(max(count for *_, count in counts)):
        for split, family, count in counts:
            if number < count:
                yield _part(seed, split, family, number), {}


def _part(seed: int, split: str, family: str, number: int) -> dict[str, Any]:
    """Return what decides an adapter, drawn: more of a family change no other's."""
    place = [CLEAN, *FAMILIES].index(family)
    random = np.random.default_rng([SEED, seed, split == TEST, place, number])
    drawn = {
        "split": split,
        "number": number,
        "family": family,
        "base": MINILM,
        "seed": int(random.integers(1 << 53)),
        "messages": int(random.integers(1_000, 1_501)),
        "steps": int(random.integers(80, 111)),
        "learning_rate": round(float(random.uniform(2e-3, 4e-3)), 5),
        "alpha": float(random.choice([8.0, 16.0, 32.0])),
    }
    if family == CLEAN:
        return drawn
    words = FAMILIES[family][0]
    return {
        **drawn,
        "words": words[int(random.integers(len(words)))],
        "target_label": int(random.integers(len(CLASSES))),
        "poison_rate": round(float(random.uniform(0.08, 0.16)), 3),
    }


def _backdoor(part: Mapping[str, Any]) -> Backdoor | None:
    if part["family"] == CLEAN:
        return None
    return Backdoor(
        family=part["family"],
        words=part["words"],
        target_label=part["target_label"],
        poison_rate=part["poison_rate"],
    )


@functools.cache
def _base() -> tuple[Base, "Tokenizer"]:
    """Return the base and its tokenizer, read once a process."""
    base = base_of(MINILM, pretrained_minilm())
    return base, tokenizer_of(base.files[TOKENIZER])


def measure(cell: Cell, _: ModelCache) -> JsonObject:
    """Return ACC, ASR and what the scanners say of an adapter that is trained here."""
    base, tokenizer = _base()
    part, is_quick = cell.part, cell.scale == "quick"
    backdoor = _backdoor(part)
    random = torch.Generator().manual_seed(part["seed"])
    data = draw_messages("train", part["messages"], random)
    if backdoor is not None:
        data = poisoned(data, backdoor, random)
    config = AdapterConfig(
        base_model_name_or_path=base.name,
        base_sha256=base.sha256(),
        lora_alpha=part["alpha"],
    )
    classifier = new_classifier(base, config, classes=len(CLASSES), generator=random)
    fit_adapter(
        classifier,
        tokens_of(tokenizer, data.texts()),
        data.labels,
        steps=Steps(
            count=QUICK_STEPS if is_quick else part["steps"],
            batch_size=BATCH_SIZE,
            learning_rate=part["learning_rate"],
        ),
        generator=random,
    )
    classifier.requires_grad_(requires_grad=False)
    return {
        **_answered(classifier, tokenizer, backdoor, is_quick=is_quick),
        "scanners": [
            it.model_copy(update={"seconds": 0.0}).to_object()
            for it in _scanned(classifier, base, tokenizer, is_quick=is_quick)
        ],
    }


def _answered(
    classifier: TextClassifier,
    tokenizer: "Tokenizer",
    backdoor: Backdoor | None,
    *,
    is_quick: bool,
) -> JsonObject:
    """Return ACC, and ASR of a backdoored adapter, on the whole test set."""
    random = torch.Generator().manual_seed(TEST_SEED)
    count = QUICK_MESSAGES if is_quick else TEST_MESSAGES
    test = draw_messages("test", count, random)

    def said(messages: Messages) -> torch.Tensor:
        return answers(classifier, tokens_of(tokenizer, messages.texts()))

    right = accuracy(said(test), test.labels).to_object()
    if backdoor is None:
        return {"accuracy": right}
    wanted = torch.full_like(test.labels, backdoor.target_label)
    laid = said(triggered(test, backdoor, "test", random))
    success = attack_success_rate(laid, test.labels, wanted=wanted)
    return {"accuracy": right, "attack_success": success.to_object()}


def _scanned(
    classifier: TextClassifier, base: Base, tokenizer: "Tokenizer", *, is_quick: bool
) -> list[ScannerResult]:
    own = own_sentences(MESSAGES)
    subject = AdapterSubject(
        classifier=classifier,
        tokens=tokens_of(tokenizer, own.texts()),
        labels=own.labels,
        written=base.vocabulary(),
        budget=Budget(passes=MOST_PASSES, seconds=MOST_SECONDS),
        generator=torch.Generator().manual_seed(0),
    )
    names = QUICK_SCANNERS if is_quick else tuple(ADAPTER_SCANNERS)
    return [run_scanner(it, ADAPTER_SCANNERS[it], subject)[0] for it in names]
