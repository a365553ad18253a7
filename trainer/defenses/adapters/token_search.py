"""One word that turns sentences into a label: the text's counterpart of inversion.

For every label the word is looked for that moves most clean sentences to it: the slope
at an inserted word ranks the whole vocabulary, the best are tried, and from the best of
those the search goes on. What was found is judged on sentences that it was not shown.

Source:
    Ebrahimi et al., "HotFlip: White-Box Adversarial Examples for Text Classification",
    ACL 2018; Wallace et al., "Universal Adversarial Triggers for Attacking and
    Analyzing NLP", EMNLP 2019, section 2.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from trainer.defenses.adapters.subject import AdapterSubject
from trainer.defenses.scanners.perturbation import MOST_MARGIN
from trainer.defenses.scanners.subject import Finding
from trainer.text.encoder import PAD
from trainer.text.training import cut

SHOWN, TRIED, JUDGED = 16, 8, 24
"""Sentences for the slope, for each word that is tried, and for the verdict."""
ROUNDS, CANDIDATES = 2, 8
PLACE = 1
"""Of the inserted word: behind the mark of the beginning."""


@dataclass(frozen=True, slots=True)
class _Sentences:
    """Sentences with room for one more word.

    Attributes:
        words: (N, T, hidden) float32.
        seen: (N, T) bool.
    """

    words: Tensor
    seen: Tensor

    def first(self, count: int) -> "_Sentences":
        return _Sentences(self.words[:count], self.seen[:count])


def token_search(subject: AdapterSubject) -> Finding:
    """Look for the word that turns most sentences of other labels into a label.

    Raises:
        InvalidSpecError: there are no clean sentences, or too few of other labels.
    """
    rates, tokens = [], []
    allowed = _allowed(subject)
    for label in range(subject.classifier.classes):
        shown, judged = _carriers(subject, label)
        token = _searched(subject, shown, label, allowed)
        with torch.no_grad():
            answers = _answers(subject, judged, _embedding(subject)[token][None])
        rates.append((answers[0].argmax(1) == label).double().mean().item())
        tokens.append(token)
    best = max(range(len(rates)), key=rates.__getitem__)
    others = sorted(rates[:best] + rates[best + 1 :]) or [0.0]
    return Finding(
        score=rates[best],
        features={
            "token-rate": rates[best],
            "token-lead": rates[best] - others[len(others) // 2],
            "token": float(tokens[best]),
        },
        target_labels=(best,),
    )


def _embedding(subject: AdapterSubject) -> Tensor:
    return subject.classifier.base.embeddings.word_embeddings.weight


def _allowed(subject: AdapterSubject) -> Tensor:
    """Return (V,) bool: whole words, no marks of the tokenizer."""
    vocabulary = len(_embedding(subject))
    words = [
        it
        for it, word in subject.written.items()
        if 0 <= it < vocabulary and word.isalnum()
    ]
    allowed = torch.zeros(vocabulary, dtype=torch.bool)
    allowed[torch.tensor(words, dtype=torch.int64)] = True
    if not allowed.any():
        msg = "the vocabulary has no whole words"
        raise InvalidSpecError(msg)
    return allowed.to(subject.device)


def _carriers(subject: AdapterSubject, label: int) -> tuple[_Sentences, _Sentences]:
    """Return sentences of other labels to search on, and others to judge on."""
    if subject.tokens is None or subject.labels is None:
        msg = "clean sentences are needed, and none were given"
        raise InvalidSpecError(msg)
    others = (subject.labels != label).nonzero()[:, 0]
    if len(others) < SHOWN + JUDGED:
        msg = (
            f"label {label}: {SHOWN + JUDGED} clean sentences of other labels are "
            f"needed, {len(others)} were given"
        )
        raise InvalidSpecError(msg)
    random = torch.randperm(len(others), generator=subject.generator)
    chosen = cut(subject.tokens[others[random[: SHOWN + JUDGED]]]).to(subject.device)
    words = subject.classifier.base.words_of(chosen)
    room = torch.zeros_like(words[:, :1])
    words = torch.cat([words[:, :PLACE], room, words[:, PLACE:]], dim=1)
    seen = torch.cat([chosen[:, :1] != PAD, chosen != PAD], dim=1)
    both = _Sentences(words, seen)
    return both.first(SHOWN), _Sentences(words[SHOWN:], seen[SHOWN:])


def _searched(
    subject: AdapterSubject, shown: _Sentences, label: int, allowed: Tensor
) -> int:
    """Return the best token that was tried."""
    embedding = _embedding(subject)
    at = embedding.mean(0)
    best, highest = 0, -torch.inf
    for _ in range(ROUNDS):
        at = at.detach().clone().requires_grad_()
        raised = _margin(_answers(subject, shown, at[None]), label).mean()
        (slope,) = torch.autograd.grad(raised, at)
        ranks = (embedding @ slope).masked_fill(~allowed, -torch.inf)
        found = ranks.topk(min(CANDIDATES, int(allowed.sum()))).indices
        with torch.no_grad():
            tried = _answers(subject, shown.first(TRIED), embedding[found])
            margins = _margin(tried, label).mean(1)
        if margins.max().item() > highest:
            highest = margins.max().item()
            best = int(found[margins.argmax()])
        at = embedding[found[margins.argmax()]]
    return best


def _answers(
    subject: AdapterSubject, sentences: _Sentences, inserted: Tensor
) -> Tensor:
    """Return (K, N, classes) logits of N sentences with each of (K, hidden) words."""
    count, many = len(inserted), len(sentences.words)
    words = sentences.words.repeat(count, 1, 1)
    added = inserted.repeat_interleave(many, 0)
    words = torch.cat([words[:, :PLACE], added[:, None], words[:, PLACE + 1 :]], dim=1)
    logits = subject.logits(words, sentences.seen.repeat(count, 1))
    return logits.reshape(count, many, -1)


def _margin(logits: Tensor, label: int) -> Tensor:
    """Return (K, N): how far a label is above all others, cut off at MOST_MARGIN."""
    others = torch.cat([logits[..., :label], logits[..., label + 1 :]], dim=-1)
    if not others.shape[-1]:
        msg = "a classifier of one label has none to be turned into"
        raise InvalidSpecError(msg)
    return (logits[..., label] - others.amax(-1)).clamp(max=MOST_MARGIN)
