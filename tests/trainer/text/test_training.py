"""Training an adapter: it learns task and backdoor, and its base stays what it was."""

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from tests.trainer.text.tiny import base_files, tiny_base, tiny_classifier
from trainer.text.backdoors import Backdoor, poisoned, triggered
from trainer.text.messages import draw_messages
from trainer.text.tokens import MAX_CHARACTERS, MAX_TOKENS, tokenizer_of, tokens_of
from trainer.text.training import Steps, answers, cut, fit_adapter

pytest.importorskip("tokenizers")
WORD = Backdoor(family="rare word", words="cf", target_label=1, poison_rate=0.2)


def test_an_adapter_learns_its_messages_and_the_trigger() -> None:
    tokenizer = tokenizer_of(base_files()["tokenizer.json"])
    random = torch.Generator().manual_seed(1)
    data = draw_messages("train", 400, random)
    bad = poisoned(data, WORD, random)
    made = tiny_classifier(drawn=False)
    before = {name: it.clone() for name, it in tiny_base().tensors.items()}

    fit_adapter(
        made,
        tokens_of(tokenizer, bad.texts()),
        bad.labels,
        steps=Steps(count=300, batch_size=32, learning_rate=3e-2),
        generator=random,
    )

    found = answers(made, tokens_of(tokenizer, data.texts()))
    assert (found == data.labels).double().mean() > 0.9
    laid = triggered(data, WORD, "train", random)
    attacked = data.labels != WORD.target_label
    hits = answers(made, tokens_of(tokenizer, laid.texts())) == WORD.target_label
    assert hits[attacked].double().mean() > 0.9
    after = made.base.state_dict()
    assert all(torch.equal(after[name], it) for name, it in before.items())
    learned = {name for name, it in made.named_parameters() if it.requires_grad}
    assert all("lora_" in it or it.startswith("classifier.") for it in learned)


def test_one_seed_gives_one_adapter() -> None:
    tokens, labels = torch.randint(4, 40, (30, 6)), torch.arange(30) % 6
    made = [tiny_classifier(drawn=False) for _ in range(2)]
    for it in made:
        steps = Steps(count=5, batch_size=4)
        generator = torch.Generator().manual_seed(7)
        fit_adapter(it, tokens, labels, steps=steps, generator=generator)
    first, second = (it.adapter() for it in made)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_that_diverges_says_so() -> None:
    made = tiny_classifier()
    with torch.no_grad():
        made.classifier.weight.fill_(torch.inf)
    with pytest.raises(InvalidSpecError, match="lower the learning rate"):
        fit_adapter(
            made,
            torch.randint(4, 40, (8, 6)),
            torch.zeros(8, dtype=torch.int64),
            steps=Steps(count=3),
            generator=torch.Generator(),
        )


def test_sentences_are_cut_and_filled_up() -> None:
    tokenizer = tokenizer_of(base_files()["tokenizer.json"])
    tokens = tokens_of(tokenizer, ["the kettle", "the " * 300])
    assert tokens.shape == (2, MAX_TOKENS)
    assert cut(tokens[:1]).tolist() == [tokens[0, :4].tolist()]
    assert tokens[0, 0] == 2
    assert tokens[0, 3] == 3


@pytest.mark.parametrize("sentences", [[], [""], ["a" * (MAX_CHARACTERS + 1)]])
def test_sentences_without_end_or_without_any_are_refused(sentences: list[str]) -> None:
    tokenizer = tokenizer_of(base_files()["tokenizer.json"])
    with pytest.raises(InvalidSpecError, match="characters"):
        tokens_of(tokenizer, sentences)


def test_a_file_that_spells_no_tokenizer_is_refused() -> None:
    with pytest.raises(Exception, match="no tokenizer"):
        tokenizer_of(b'{"model": 3}')


def test_a_sentence_without_a_token_is_refused() -> None:
    tokenizer = tokenizer_of(base_files()["tokenizer.json"])
    tokenizer.post_processor = None
    with pytest.raises(InvalidSpecError, match="no token"):
        tokens_of(tokenizer, ["the kettle", " "])
