"""From sentences to tokens, as the encoder was taught them; bounded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError, LocalError, MalformedDocumentError
from model_zoo.extras import install_line
from trainer.text.encoder import PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENIZER_BYTES = 16 * 1024 * 1024
MAX_CHARACTERS = 10_000
"""Of one sentence."""
MAX_TOKENS = 128
"""Of one sentence, its marks of beginning and end among them; the rest is cut off."""


def tokenizer_of(data: bytes) -> "Tokenizer":
    """Return the tokenizer that a ``tokenizer.json`` spells.

    Raises:
        LocalError: the extra ``text`` is not installed.
        MalformedDocumentError: it spells none.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  optional extra
    except ImportError as error:
        msg = f"reading sentences needs tokenizers; {install_line('text')}"
        raise LocalError(msg) from error
    if len(data) > MAX_TOKENIZER_BYTES:
        msg = f"tokenizer.json: {len(data)} bytes, at most {MAX_TOKENIZER_BYTES}"
        raise MalformedDocumentError(msg)
    try:
        found = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises no narrower one
        msg = f"tokenizer.json: no tokenizer: {str(error)[:200]}"
        raise MalformedDocumentError(msg) from error
    found.no_padding()
    found.enable_truncation(MAX_TOKENS)
    return found


def tokens_of(tokenizer: "Tokenizer", sentences: Sequence[str]) -> Tensor:
    """Return (N, T) int64, each sentence filled up with PAD to the longest.

    Raises:
        InvalidSpecError: there is none, one is too long, or one has no token.
    """
    longest = max(map(len, sentences), default=0)
    if not 0 < longest <= MAX_CHARACTERS:
        msg = f"sentences: expected some of 1 to {MAX_CHARACTERS} characters"
        raise InvalidSpecError(msg)
    # one by one: a batch would be spread over threads
    rows = [torch.tensor(tokenizer.encode(it).ids) for it in sentences]
    if not all((it != PAD).any() for it in rows):
        msg = "sentences: one has no token of this tokenizer"
        raise InvalidSpecError(msg)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
