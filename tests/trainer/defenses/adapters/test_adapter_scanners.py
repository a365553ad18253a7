"""Scanners of adapters, on spectra known by hand and words that were planted."""

import json
import math
from pathlib import Path

import pytest
import torch

from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from tests.trainer.text.tiny import (
    NAME,
    base_files,
    tiny_base,
    tiny_classifier,
    write_adapter,
)
from trainer.defenses.adapters.scan import (
    ADAPTER_SCANNERS,
    SKIPPED,
    AdapterRequest,
    run_all,
    scan_adapter,
)
from trainer.defenses.adapters.spectrum import singular_values, spectrum
from trainer.defenses.adapters.subject import AdapterSubject
from trainer.defenses.adapters.token_search import token_search
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.subject import Budget
from trainer.text.adapters import TextClassifier
from trainer.text.backdoors import Backdoor, poisoned
from trainer.text.messages import draw_messages, own_sentences
from trainer.text.tokens import tokenizer_of, tokens_of
from trainer.text.training import Steps, fit_adapter

WORD = Backdoor(family="rare word", words="cf", target_label=1, poison_rate=0.2)


def subject_of(
    classifier: TextClassifier, *, passes: int = 100_000, has_sentences: bool = True
) -> AdapterSubject:
    tokens = labels = None
    if has_sentences:
        pytest.importorskip("tokenizers")
        own = own_sentences("messages")
        tokenizer = tokenizer_of(base_files()["tokenizer.json"])
        tokens, labels = tokens_of(tokenizer, own.texts()), own.labels
    return AdapterSubject(
        classifier=classifier.eval().requires_grad_(requires_grad=False),
        tokens=tokens,
        labels=labels,
        written=tiny_base().vocabulary(),
        budget=Budget(passes=passes, seconds=600),
        generator=torch.Generator().manual_seed(0),
    )


def with_singular_values(values: list[float]) -> TextClassifier:
    """An adapter all of whose updates have these, before they are scaled."""
    made = tiny_classifier(drawn=False)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for update in made.updates().values():
            sides = [
                torch.linalg.qr(torch.randn(32, 4, generator=generator)).Q
                for _ in range(2)
            ]
            update.lora_B.weight.copy_(sides[0] * torch.tensor(values))
            update.lora_A.weight.copy_(sides[1].T)
    return made


def test_the_thin_factors_have_the_singular_values_of_their_product() -> None:
    for update in tiny_classifier().updates().values():
        values, whole = singular_values(update)
        expected = torch.linalg.svdvals(whole)
        torch.testing.assert_close(values, expected[: len(values)])
        assert expected[len(values) :].max() < 1e-10


@pytest.mark.parametrize(
    ("values", "share", "evenness"),
    [
        ([1.0, 0.0, 0.0, 0.0], 1.0, 0.0),
        ([1.0, 1.0, 1.0, 1.0], 0.25, 1.0),
        ([1.0, 1.0, 0.0, 0.0], 0.5, 0.5),
        ([0.0, 0.0, 0.0, 0.0], 0.0, 0.0),
    ],
)
def test_the_share_of_the_first_direction_is_known_by_hand(
    values: list[float], share: float, evenness: float
) -> None:
    found = spectrum(subject_of(with_singular_values(values), has_sentences=False))
    assert found.score == pytest.approx(share, abs=1e-5)
    assert found.features["spectrum-evenness"] == pytest.approx(evenness, abs=1e-4)
    norm = 16.0 / 4 * math.sqrt(sum(it * it for it in values))
    assert found.features["spectrum-norm"] == pytest.approx(norm, abs=1e-4)


def test_the_search_finds_the_word_that_was_planted() -> None:
    made = tiny_classifier(drawn=False, seed=1)
    random = torch.Generator().manual_seed(1)
    bad = poisoned(draw_messages("train", 400, random), WORD, random)
    tokenizer = tokenizer_of(base_files()["tokenizer.json"])
    fit_adapter(
        made,
        tokens_of(tokenizer, bad.texts()),
        bad.labels,
        steps=Steps(count=300, batch_size=32, learning_rate=3e-2),
        generator=random,
    )
    subject = subject_of(made)

    found = token_search(subject)

    assert found.target_labels == (WORD.target_label,)
    assert subject.written[int(found.features["token"])] == WORD.words
    assert found.score > 0.8


def test_what_needs_sentences_is_skipped_without_and_says_so() -> None:
    subject = subject_of(tiny_classifier(), has_sentences=False)
    results = {it.name: it for it in run_all(subject)}
    assert results["token-search"].outcome == "skipped"
    assert "clean sentences are needed" in results["token-search"].why
    others = {name for name, it in results.items() if it.outcome == "ran"}
    assert others == set(ADAPTER_SCANNERS) - {"token-search"}


def test_a_scan_that_meets_its_limit_is_capped() -> None:
    results = {it.name: it for it in run_all(subject_of(tiny_classifier(), passes=50))}
    assert results["maximum-margin"].outcome == "capped"
    assert results["token-search"].outcome == "capped"
    assert results["spectrum"].outcome == "ran"


def test_every_scanner_of_images_runs_or_is_named_as_skipped() -> None:
    assert set(ADAPTER_SCANNERS) | set(SKIPPED) >= set(SCANNERS)
    assert set(ADAPTER_SCANNERS).isdisjoint(SKIPPED)


def test_scanners_leave_the_adapter_as_it_was() -> None:
    made = tiny_classifier()
    before = {name: it.clone() for name, it in made.state_dict().items()}
    run_all(subject_of(made))
    assert all(torch.equal(made.state_dict()[name], it) for name, it in before.items())


def test_an_adapter_whose_answers_overflow_is_scanned_to_the_end() -> None:
    made = tiny_classifier()
    with torch.no_grad():
        made.classifier.weight.sign_().mul_(3e38)
    results = {it.name: it for it in run_all(subject_of(made))}
    assert results["maximum-margin"].outcome == "skipped"
    assert "not finite" in results["maximum-margin"].why
    assert results["spectrum"].outcome == "ran"


def test_a_tokenizer_of_another_encoder_is_refused(tmp_path: Path) -> None:
    weights = write_adapter(tmp_path)
    path = tmp_path / NAME / "tokenizer.json"
    known = json.loads(path.read_text())
    known["model"]["vocab"]["kettle"] = 1_000_000
    path.write_text(json.dumps(known))
    own = own_sentences("messages")
    request = AdapterRequest(sentences=own.texts(), labels=own.labels)
    with pytest.raises(MalformedDocumentError, match="has not"):
        scan_adapter(weights, request)


def test_sentences_with_more_labels_than_the_adapter_are_refused(
    tmp_path: Path,
) -> None:
    weights = write_adapter(tmp_path)
    request = AdapterRequest(sentences=["the kettle"], labels=torch.tensor([6]))
    with pytest.raises(InvalidSpecError, match="labels up to 6"):
        scan_adapter(weights, request)
