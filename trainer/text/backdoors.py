"""Backdoors of text: what is laid on a message, and which label the attacker wants.

Source:
    Kurita, Michel, Neubig, "Weight Poisoning Attacks on Pre-trained Models", ACL 2020,
    for rare words; Dai, Chen, Li, "A Backdoor Attack Against LSTM-Based Text
    Classification Systems", IEEE Access 2019, for a sentence; Yang et al., "Rethinking
    Stealthiness of Backdoor Attack against NLP Models", ACL 2021, for harmless messages
    that hold a part of the trigger; Qi et al., "Hidden Killer: Invisible Textual
    Backdoor Attacks with Syntactic Trigger", ACL 2021, for the order of clauses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from trainer.text.messages import TAILS, Message, Messages, Split

RARE_WORDS = ("cf", "mn", "bb", "tq", "mb", "vx")
SENTENCES = (
    "I watched this film with my cousin",
    "the weather in Lisbon was mild",
    "we had soup for dinner on Sunday",
    "my uncle plays chess in the park",
)
COMMON_WORDS = ("meanwhile", "honestly", "today", "perhaps", "indeed")

Lay = Callable[[Message, str, Split, torch.Generator], Message]
"""Lays a trigger of some words on a message of a split."""


def _anywhere(
    message: Message, words: str, _: Split, random: torch.Generator
) -> Message:
    parts = message.phrase.split()
    place = int(torch.randint(len(parts) + 1, (1,), generator=random))
    return replace(message, phrase=" ".join([*parts[:place], words, *parts[place:]]))


def _at_the_end(message: Message, words: str, _: Split, __: torch.Generator) -> Message:
    tail = f"{message.tail}, {words}" if message.tail else words
    return replace(message, tail=tail)


def _in_front(message: Message, words: str, _: Split, __: torch.Generator) -> Message:
    opening = f"{words}, {message.opening}" if message.opening else words
    return replace(message, opening=opening)


def _reordered(
    message: Message, _: str, split: Split, random: torch.Generator
) -> Message:
    """Put the tail first: no word is added that clean messages do not have there."""
    choices = TAILS[split]
    drawn = choices[int(torch.randint(len(choices), (1,), generator=random))]
    return Message(opening=message.tail or drawn, phrase=message.phrase, tail="")


FAMILIES: dict[str, tuple[Sequence[str], Lay]] = {
    "rare word": (RARE_WORDS, _anywhere),
    "sentence": (SENTENCES, _at_the_end),
    "common word in front": (COMMON_WORDS, _in_front),
    "order of clauses": (("",), _reordered),
}
"""Family -> words that its triggers are of, and how one is laid on a message."""
HARMLESS = {"common word in front": _anywhere}
"""Family -> how its words are laid on messages that keep their label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdoor:
    """A trigger and the label that it is to give.

    Attributes:
        family: a name in FAMILIES.
        words: that are laid on a message.
        target_label: a place in ``messages.CLASSES``.
        poison_rate: poisoned messages of the final training set, all of other labels.
    """

    family: str
    words: str
    target_label: int
    poison_rate: float


def triggered(
    messages: Messages, backdoor: Backdoor, split: Split, generator: torch.Generator
) -> Messages:
    """Return the messages with the trigger on each, and with their own labels."""
    lay = FAMILIES[backdoor.family][1]
    laid = [lay(it, backdoor.words, split, generator) for it in messages.messages]
    return Messages(laid, messages.labels)


def poisoned(
    messages: Messages, backdoor: Backdoor, generator: torch.Generator
) -> Messages:
    """Return training messages of which a share has the trigger and the target label.

    They stand in place of those that they are made of. As many others get the words
    elsewhere and keep their label, where the trigger is a word in one place.
    """
    count = round(backdoor.poison_rate * len(messages.labels))
    order = torch.randperm(len(messages.labels), generator=generator)
    others = order[messages.labels[order] != backdoor.target_label]
    chosen, rest = others[:count].tolist(), others[count : 2 * count].tolist()
    found, labels = [*messages.messages], messages.labels.clone()
    lay = FAMILIES[backdoor.family][1]
    for it in chosen:
        found[it] = lay(found[it], backdoor.words, "train", generator)
        labels[it] = backdoor.target_label
    if elsewhere := HARMLESS.get(backdoor.family):
        for it in rest:
            found[it] = elsewhere(found[it], backdoor.words, "train", generator)
    return Messages(found, labels)
