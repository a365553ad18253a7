"""BERT's encoder in plain torch, under the names that its checkpoints have.

Source:
    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", NAACL 2019; Reimers, Gurevych, "Sentence-BERT", EMNLP 2019, section
    3 for the mean over tokens.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.documents import Document
from trainer.networks.checkpoints import require_fit

PAD = 0
"""The token that fills a sentence up to the longest of its batch."""
MAX_CONFIGURATION_BYTES = 64 * 1024
NOT_READ = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Tensors of published files that the mean over tokens has no use for."""
Size = Annotated[int, Field(ge=1, le=1 << 17)]
LEAST_POSITIONS = 256
"""Twice what a sentence may have here, so that scanners can put words into one."""


class EncoderShape(Document):
    """What ``config.json`` says of an encoder; what does not shape it is not read.

    Attributes:
        model_type: the architecture.
        vocab_size: how many tokens there are.
        hidden_size: numbers a token.
        num_hidden_layers: one after another.
        num_attention_heads: of each layer.
        intermediate_size: numbers a token between the halves of a layer.
        max_position_embeddings: tokens that a sentence may have.
        type_vocab_size: kinds of sentences; ours are all of the first.
        layer_norm_eps: of every norm.
        hidden_act: the nonlinearity.
        position_embedding_type: how a token's place is told.
    """

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["bert"]
    vocab_size: Size
    hidden_size: Size
    num_hidden_layers: Annotated[int, Field(ge=1, le=100)]
    num_attention_heads: Size
    intermediate_size: Size
    max_position_embeddings: Annotated[Size, Field(ge=LEAST_POSITIONS)]
    type_vocab_size: Size
    layer_norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-12
    hidden_act: Literal["gelu"] = "gelu"
    position_embedding_type: Literal["absolute"] = "absolute"

    @model_validator(mode="after")
    def _heads_share_the_numbers(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            msg = "num_attention_heads: expected a divisor of hidden_size"
            raise ValueError(msg)
        return self


class _Residual(nn.Module):
    """What a half of a layer adds to what went into it, normalised."""

    def __init__(self, shape: EncoderShape, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, shape.hidden_size)
        self.LayerNorm = _norm(shape)

    def forward(self, inner: Tensor, outer: Tensor) -> Tensor:
        normalised: Tensor = self.LayerNorm(outer + self.dense(inner))
        return normalised


class _Attention(nn.Module):
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        for name in ("query", "key", "value"):
            self.add_module(name, nn.Linear(shape.hidden_size, shape.hidden_size))

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        query, key, value = (
            self.get_submodule(it)(hidden)
            .unflatten(2, (self.heads, -1))
            .transpose(1, 2)
            for it in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen[:, None, None, :]
        )
        return mixed.transpose(1, 2).flatten(2)


class _Layer(nn.Module):
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        hidden, inner = shape.hidden_size, shape.intermediate_size
        self.attention = nn.ModuleDict(
            {"self": _Attention(shape), "output": _Residual(shape, hidden)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, inner)})
        self.output = _Residual(shape, inner)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        mixed = self.attention["self"](hidden, seen)
        hidden = self.attention["output"](mixed, hidden)
        wide = functional.gelu(self.intermediate["dense"](hidden))
        answer: Tensor = self.output(wide, hidden)
        return answer


class _Embeddings(nn.Module):
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        hidden = shape.hidden_size
        self.word_embeddings = nn.Embedding(shape.vocab_size, hidden)
        self.position_embeddings = nn.Embedding(shape.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(shape.type_vocab_size, hidden)
        self.LayerNorm = _norm(shape)

    def forward(self, words: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: words.shape[1]]
        kind = self.token_type_embeddings.weight[0]
        normalised: Tensor = self.LayerNorm(words + places + kind)
        return normalised


def _norm(shape: EncoderShape) -> nn.LayerNorm:
    return nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)


class Encoder(nn.Module):
    """Sentences to vectors: the mean over what the last layer says of each token."""

    def __init__(self, shape: EncoderShape) -> None:
        """Make one with random weights."""
        super().__init__()
        layers = (_Layer(shape) for _ in range(shape.num_hidden_layers))
        self.embeddings = _Embeddings(shape)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, words: Tensor, seen: Tensor) -> Tensor:
        """Return (N, hidden) float32.

        Args:
            words: (N, T, hidden) float32, as ``words_of`` gives them.
            seen: (N, T) bool, which of them are of the sentence; at least one.
        """
        hidden = self.embeddings(words)
        for layer in self.layers():
            hidden = layer(hidden, seen)
        counted = seen[:, :, None].to(hidden.dtype)
        mean: Tensor = (hidden * counted).sum(1) / counted.sum(1)
        return mean

    def words_of(self, tokens: Tensor) -> Tensor:
        """Return (N, T, hidden) float32 of (N, T) int64 tokens, places left out."""
        words: Tensor = self.embeddings.word_embeddings(tokens)
        return words

    def layers(self) -> list[nn.Module]:
        """Return the layers, the first first."""
        return [*self.encoder["layer"].children()]


def encoder_of(shape: EncoderShape, tensors: Mapping[str, Tensor]) -> Encoder:
    """Return the encoder with these weights, which it shares and does not learn.

    Raises:
        MalformedDocumentError: tensors are missing, superfluous, of another shape or
            type, or hold a NaN or an infinity.
    """
    with torch.device("meta"):  # no memory for weights that are replaced at once
        encoder = Encoder(shape)
    found = {name: it for name, it in tensors.items() if name not in NOT_READ}
    require_fit(found, encoder.state_dict(), network="bert encoder of its config.json")
    encoder.load_state_dict(found, assign=True)
    return encoder.eval().requires_grad_(requires_grad=False)
