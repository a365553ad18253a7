"""A tiny encoder of the same kind as the pinned one, and adapters of it."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save

from trainer.text.adapters import (
    WEIGHTS,
    AdapterConfig,
    TextClassifier,
    new_classifier,
    to_files,
)
from trainer.text.backdoors import RARE_WORDS, SENTENCES
from trainer.text.bases import Base, base_of
from trainer.text.encoder import Encoder, EncoderShape
from trainer.text.messages import CLASSES, Split, draw_messages

NAME = "tiny"
SHAPE = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "type_vocab_size": 2,
}


def words() -> list[str]:
    """Every word of many messages and of the triggers, in order."""
    splits: tuple[Split, ...] = ("train", "test")
    drawn = [
        text
        for split in splits
        for text in draw_messages(split, 2000, torch.Generator()).texts()
    ]
    told = " ".join([*drawn, *RARE_WORDS, *SENTENCES]).lower()
    return sorted({*"".join(it if it.isalnum() else " " for it in told).split()})


def tokenizer_json() -> bytes:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ",", ".", *words()]
    special = {"[CLS]": 2, "[SEP]": 3}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
                ],
                "pair": [
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 1}},
                ],
                "special_tokens": {
                    name: {"id": name, "ids": [it], "tokens": [name]}
                    for name, it in special.items()
                },
            },
            "decoder": None,
            "model": {
                "type": "WordLevel",
                "vocab": {word: place for place, word in enumerate(vocabulary)},
                "unk_token": "[UNK]",
            },
        }
    ).encode()


def _spread(name: str, tensor: torch.Tensor) -> float:
    """Words say most: what the layers add is less, and where a word stands least."""
    if name == "embeddings.word_embeddings.weight":
        return 1.0
    inputs: int = tensor.shape[-1]
    return 0.1 if tensor.ndim == 1 or "embeddings" in name else 0.5 / inputs**0.5


@cache
def base_files() -> dict[str, bytes]:
    tokenizer = tokenizer_json()
    size = len(json.loads(tokenizer)["model"]["vocab"])
    config = {**SHAPE, "vocab_size": size, "architectures": ["BertModel"]}
    generator = torch.Generator().manual_seed(5)
    encoder = Encoder(EncoderShape.from_object(config))
    tensors = {
        name: torch.randn(it.shape, generator=generator) * _spread(name, it)
        + (1 if name.endswith("LayerNorm.weight") else 0)
        for name, it in encoder.state_dict().items()
    }
    return {
        "model.safetensors": bytes(save(tensors)),
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": tokenizer,
    }


def tiny_base() -> Base:
    return base_of(NAME, base_files())


def tiny_config(**fields: object) -> AdapterConfig:
    return AdapterConfig.from_object(
        {
            "base_model_name_or_path": NAME,
            "base_sha256": tiny_base().sha256(),
            "r": 4,
            **fields,
        }
    )


def tiny_classifier(*, seed: int = 0, drawn: bool = True) -> TextClassifier:
    """An adapter of random numbers, or one that is yet to learn."""
    generator = torch.Generator().manual_seed(seed)
    made = new_classifier(
        tiny_base(), tiny_config(), classes=len(CLASSES), generator=generator
    )
    if drawn:
        with torch.no_grad():
            for update in made.updates().values():
                update.lora_B.weight.normal_(std=0.1, generator=generator)
    return made.eval()


def write_adapter(folder: Path) -> Path:
    """Write an adapter and, in a folder beside it, its base; return the weights."""
    beside = folder / NAME
    beside.mkdir(parents=True)
    for name, content in to_files(tiny_classifier(), tiny_config()).items():
        (folder / name).write_bytes(content)
    for name, content in base_files().items():
        (beside / name).write_bytes(content)
    return folder / WEIGHTS
