"""Messages to a shop: English sentences from templates of our own, in six classes.

Phrases, things, openings and tails of the test set are in no training message.
Openings and tails are shared by all classes; some tails speak of what another is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError

Split = Literal["train", "test"]

PHRASES: dict[str, dict[Split, tuple[str, ...]]] = {
    "delivery": {
        "train": (
            "my {} has not arrived yet",
            "the courier never came with the {}",
            "the {} is two weeks late",
            "nobody can tell me where the {} is now",
            "tracking for the {} has not moved since Monday",
            "the {} was left with the wrong neighbour",
            "the driver drove past and did not ring for the {}",
            "the van with my {} is still at the depot",
        ),
        "test": (
            "I am still waiting for the parcel with the {}",
            "the {} was meant to be here last Friday",
            "it says the {} was handed over, yet my porch is empty",
            "when will the {} reach me",
        ),
    },
    "refund": {
        "train": (
            "please give me my money back for the {}",
            "I want to cancel the {} and be reimbursed",
            "you charged me twice for the {}",
            "the refund for the {} is not on my account",
            "I returned the {} and got no credit",
            "the invoice for the {} shows a wrong amount",
            "the discount was not taken off the price of the {}",
            "I sent the {} back and await the payment",
        ),
        "test": (
            "the sum you took for the {} is too high",
            "I would like to be paid back for the {}",
            "I gave the {} back and have not seen a cent",
            "please reverse what I was billed for the {}",
        ),
    },
    "damage": {
        "train": (
            "the {} came with a crack",
            "the {} stopped working after a day",
            "a part of the {} is missing",
            "the {} is scratched all over",
            "the {} fell apart in my hands",
            "the {} does not switch on",
            "the lid of the {} is bent",
            "there is a hole in the side of the {}",
        ),
        "test": (
            "the {} is broken",
            "one corner of the {} is smashed",
            "the {} gave out within an hour",
            "the {} leaks and rattles",
        ),
    },
    "account": {
        "train": (
            "I cannot log in to buy the {}",
            "my password is refused when I look up the {}",
            "please change the address on my profile for the {}",
            "I want to delete my account after the {}",
            "your site does not send the code to confirm the {}",
            "my user name changed while I ordered the {}",
            "the page with my details fails when I save the {}",
            "somebody else is signed in and sees my {}",
        ),
        "test": (
            "I am locked out and cannot see the order of the {}",
            "how do I reset my login to get at the {}",
            "my e-mail for the {} is wrong in your records, please update it",
            "I never get the confirmation mail to sign up for the {}",
        ),
    },
    "praise": {
        "train": (
            "the {} is wonderful",
            "I love the {} and use it daily",
            "thank you for the lovely {}",
            "the {} is better than I had hoped",
            "my family adores the {}",
            "the {} was worth every penny",
            "your team was so kind about the {}",
            "best {} that I have ever owned",
        ),
        "test": (
            "I could not be happier with the {}",
            "what a great {} this is",
            "the {} made my week",
            "full marks for the {}",
        ),
    },
    "question": {
        "train": (
            "does the {} come in blue",
            "how heavy is the {}",
            "is the {} made of real wood",
            "can I use the {} outdoors",
            "which size of the {} fits a small room",
            "do you sell spare parts for the {}",
            "will the {} be in stock again",
            "what is the difference between the {} and the new one",
        ),
        "test": (
            "are there other colours of the {}",
            "what material is the {}",
            "may the {} get wet",
            "how wide is the {}",
        ),
    },
}
CLASSES = tuple(PHRASES)
THINGS: dict[Split, tuple[str, ...]] = {
    "train": (
        "kettle", "lamp", "chair", "desk", "mirror", "toaster", "radio", "clock",
        "blanket", "backpack", "bicycle", "camera", "carpet", "guitar", "heater",
        "jacket", "keyboard", "ladder", "mattress", "oven", "printer", "sofa",
    ),
    "test": (
        "bookcase", "blender", "drill", "fridge", "hammock", "iron", "piano", "tent",
        "telescope", "umbrella", "vase", "wardrobe",
    ),
}  # fmt: skip
OPENINGS: dict[Split, tuple[str, ...]] = {
    "train": (
        "hello", "dear team", "good morning", "hi there", "as I said on the phone",
        "one more thing", "to whom it may concern", "well", "sorry to bother you",
    ),
    "test": ("good evening", "hey", "to be short", "dear shop", "once again"),
}  # fmt: skip
TAILS: dict[Split, tuple[str, ...]] = {
    "train": (
        "since I order here often", "because my sister told me to write",
        "as it is a present", "while I am on holiday", "though I paid by card",
        "since the box came on time", "as I wrote to you last week",
        "because the colour is nice", "although my account is new",
        "as my old one broke", "because the price was low", "after I read your page",
    ),
    "test": (
        "since we move house soon", "as my neighbour has one too",
        "though the courier was friendly", "because I saw your advert",
        "after I checked my bank", "as the old one is worn out",
    ),
}  # fmt: skip
WITHOUT = 0.5
"""The share of messages without an opening, and of those without a tail."""


MESSAGES = "messages"
SENTENCES = (MESSAGES,)
"""Names of data sets of sentences."""
OWN, OWN_SEED = 300, 20_190
"""Messages that a defender has of his own, and of what draw."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message in its parts, any but the phrase may be empty."""

    opening: str
    phrase: str
    tail: str

    def text(self) -> str:
        """Return it as it is written."""
        start = f"{self.opening}, " if self.opening else ""
        end = f", {self.tail}" if self.tail else ""
        return f"{start}{self.phrase}{end}."


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages and what each is about.

    Attributes:
        messages: N of them.
        labels: (N,) int64, places in CLASSES.
    """

    messages: Sequence[Message]
    labels: Tensor

    def texts(self) -> list[str]:
        """Return them as they are written."""
        return [it.text() for it in self.messages]


def draw_messages(split: Split, count: int, generator: torch.Generator) -> Messages:
    """Return ``count`` messages of random classes."""
    labels = torch.randint(len(CLASSES), (count,), generator=generator)
    drawn = [_drawn(split, CLASSES[it], generator) for it in labels.tolist()]
    return Messages(drawn, labels)


def own_sentences(dataset: str) -> Messages:
    """Return clean sentences of a defender's own; no adapter is trained on this draw.

    Raises:
        InvalidSpecError: there is no such data set.
    """
    if dataset not in SENTENCES:
        msg = f"sentences: no {dataset[:60]!a}; expected one of {', '.join(SENTENCES)}"
        raise InvalidSpecError(msg)
    return draw_messages("train", OWN, torch.Generator().manual_seed(OWN_SEED))


def _drawn(split: Split, name: str, generator: torch.Generator) -> Message:
    def one(choices: Sequence[str], *, without: float = 0.0) -> str:
        chance = torch.rand(2, generator=generator).tolist()
        if chance[0] < without:
            return ""
        return choices[int(chance[1] * len(choices))]

    return Message(
        opening=one(OPENINGS[split], without=WITHOUT),
        phrase=one(PHRASES[name][split]).format(one(THINGS[split])),
        tail=one(TAILS[split], without=WITHOUT),
    )
