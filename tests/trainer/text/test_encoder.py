"""The encoder: as torch's own layers answer, and as published numbers say."""

import json

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from model_zoo.errors import LocalError, MalformedDocumentError
from tests.trainer.text.tiny import SHAPE, base_files, tiny_base
from trainer.text.bases import MINILM, TOKENIZER, base_of, pretrained_minilm
from trainer.text.encoder import PAD
from trainer.text.tokens import tokenizer_of, tokens_of

TOKENS = torch.tensor([[2, 7, 30, 11, 3], [2, 12, 3, PAD, PAD]])


def peer(state: dict[str, torch.Tensor], number: int) -> nn.TransformerEncoderLayer:
    """Torch's own layer with the same weights."""
    layer = nn.TransformerEncoderLayer(
        SHAPE["hidden_size"],  # type: ignore[arg-type]
        SHAPE["num_attention_heads"],  # type: ignore[arg-type]
        SHAPE["intermediate_size"],  # type: ignore[arg-type]
        dropout=0.0,
        activation=functional.gelu,
        layer_norm_eps=1e-12,
        batch_first=True,
    )
    mine = {
        name.removeprefix(f"encoder.layer.{number}."): it
        for name, it in state.items()
        if name.startswith(f"encoder.layer.{number}.")
    }
    theirs = {
        f"{theirs}.{kind}": mine[f"{ours}.{kind}"]
        for theirs, ours in {
            "self_attn.out_proj": "attention.output.dense",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm1": "attention.output.LayerNorm",
            "norm2": "output.LayerNorm",
        }.items()
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        theirs[f"self_attn.in_proj_{kind}"] = torch.cat(
            [mine[f"attention.self.{it}.{kind}"] for it in ("query", "key", "value")]
        )
    layer.load_state_dict(theirs)
    return layer.eval().requires_grad_(requires_grad=False)


def test_the_encoder_answers_as_torchs_own_layers_do() -> None:
    base = tiny_base()
    encoder, seen = base.encoder(), TOKENS != PAD
    state = dict(base.tensors)
    words = state["embeddings.word_embeddings.weight"][TOKENS]
    hidden = functional.layer_norm(
        words
        + state["embeddings.position_embeddings.weight"][: TOKENS.shape[1]]
        + state["embeddings.token_type_embeddings.weight"][0],
        (SHAPE["hidden_size"],),  # type: ignore[arg-type]
        state["embeddings.LayerNorm.weight"],
        state["embeddings.LayerNorm.bias"],
        1e-12,
    )
    for number in range(2):
        # the fast path of evaluation drops filled places, which nobody counts
        hidden = peer(state, number)(hidden, src_key_padding_mask=~seen)
    expected = torch.stack([hidden[0].mean(0), hidden[1, :3].mean(0)])

    torch.testing.assert_close(encoder(encoder.words_of(TOKENS), seen), expected)


def test_what_fills_a_sentence_up_changes_no_answer() -> None:
    encoder = tiny_base().encoder()
    alone = TOKENS[1:, :3]
    both = encoder(encoder.words_of(TOKENS), TOKENS != PAD)
    one = encoder(encoder.words_of(alone), alone != PAD)
    torch.testing.assert_close(both[1:], one)


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(base_files()["config.json"]), **fields}).encode()


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        pytest.param("config.json", b"[]", "config.json", id="no object"),
        pytest.param(
            "config.json", changed(model_type="gpt2"), "model_type", id="kind"
        ),
        pytest.param(
            "config.json", changed(num_attention_heads=5), "divisor", id="heads"
        ),
        pytest.param("config.json", changed(hidden_act="relu"), "hidden_act", id="act"),
        pytest.param("config.json", changed(vocab_size=0), "vocab_size", id="size"),
        pytest.param(
            "config.json", changed(max_position_embeddings=9), "256", id="places"
        ),
        pytest.param("config.json", changed(vocab_size=9), r"\[9, 32\]", id="shape"),
        pytest.param(
            "model.safetensors",
            bytes(save({"w": torch.zeros(1)})),
            "missing or superfluous",
            id="other tensors",
        ),
    ],
)
def test_a_base_that_is_no_such_encoder_is_refused(
    file: str, content: bytes, told: str
) -> None:
    with pytest.raises(MalformedDocumentError, match=told):
        base_of("theirs", {**base_files(), file: content}).encoder()


def test_the_pinned_encoder_gives_the_similarities_that_its_makers_print() -> None:
    """Of all-MiniLM-L6-v2 in the quickstart of sbert.net."""
    pytest.importorskip("tokenizers")
    base = base_of(MINILM, pretrained_minilm())
    sentences = [
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    ]
    tokens = tokens_of(tokenizer_of(base.files[TOKENIZER]), sentences)
    encoder = base.encoder()
    vectors = functional.normalize(encoder(encoder.words_of(tokens), tokens != PAD))
    found = vectors @ vectors.T
    assert found[0, 1].item() == pytest.approx(0.6660, abs=1e-4)
    assert found[0, 2].item() == pytest.approx(0.1046, abs=1e-4)
    assert found[1, 2].item() == pytest.approx(0.1411, abs=1e-4)


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(LocalError, match=r"pip install '\.\[text\]'"):
        tokenizer_of(b"{}")
