"""Adapters: low-rank updates of a frozen encoder, and a head; files in PEFT's layout.

Source:
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022; of the
    names and files, the documentation of Hugging Face's PEFT, "Checkpoint format".
"""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import torch
from pydantic import ConfigDict, Field
from safetensors.torch import save
from torch import Tensor, nn

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.statements.jobs import Digest
from trainer.networks.checkpoints import MAX_CLASSES, require_fit
from trainer.text.bases import Base
from trainer.text.encoder import PAD, Encoder

RANK, ALPHA = 8, 16.0
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
"""Before the name of every tensor in PEFT's files."""
MARKS = (".lora_A.", ".lora_B.")
HEAD: Final = "classifier"
NO = Literal[False]
Nothing = Annotated[dict[str, int], Field(max_length=0)]


class AdapterConfig(Document):
    """What ``adapter_config.json`` says.

    What would change the arithmetic and is not understood here is refused; fields that
    say nothing of it are not read.

    Attributes:
        peft_type: the kind of adapter.
        base_model_name_or_path: what it is an adapter of, as ``base_named`` knows it.
        base_sha256: of the base's weights file. PEFT has no such field, and skips it.
        r: the rank.
        lora_alpha: the update is B·A times this over the rank.
        target_modules: the linear maps of every layer that have an update.
        modules_to_save: what is stored whole.
    """

    model_config = ConfigDict(extra="ignore")

    peft_type: Literal["LORA"] = "LORA"
    base_model_name_or_path: Annotated[str, Field(min_length=1, max_length=255)]
    base_sha256: Digest
    r: Annotated[int, Field(ge=1, le=256)] = RANK
    lora_alpha: Annotated[float, Field(gt=0, le=4096)] = ALPHA
    target_modules: Annotated[
        tuple[Literal["query", "key", "value"], ...], Field(min_length=1)
    ] = ("query", "value")
    modules_to_save: tuple[Literal["classifier"]] = (HEAD,)
    bias: Literal["none"] = "none"
    fan_in_fan_out: NO = False
    use_rslora: NO = False
    use_dora: NO = False
    lora_bias: NO = False
    rank_pattern: Nothing = Field(default_factory=dict)
    alpha_pattern: Nothing = Field(default_factory=dict)
    layers_to_transform: None = None
    alora_invocation_tokens: None = None
    # others change the base's own weights
    init_lora_weights: Literal[True, False, "gaussian"] = True


class LoraLinear(nn.Linear):
    """A frozen linear map with a low-rank update that is learned."""

    def __init__(self, of: nn.Linear, *, rank: int, alpha: float) -> None:
        """Share the weights of ``of``; the update is 0 until its second half is not."""
        with torch.device("meta"):  # replaced at once
            super().__init__(of.in_features, of.out_features)
        self.weight, self.bias = of.weight, of.bias
        self.scale = alpha / rank
        self.lora_A = _unwritten(of.in_features, rank, has_bias=False)
        self.lora_B = _unwritten(rank, of.out_features, has_bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the frozen map says, and what the update adds."""
        added: Tensor = self.lora_B(self.lora_A(inputs))
        return super().forward(inputs) + self.scale * added


def _unwritten(inputs: int, outputs: int, *, has_bias: bool) -> nn.Linear:
    """Return a linear map of zeros: no number of torch's global generator is used."""
    with torch.device("meta"):
        made = nn.Linear(inputs, outputs, bias=has_bias)
    made.to_empty(device="cpu")
    for it in made.parameters():
        nn.init.zeros_(it)
    return made


class TextClassifier(nn.Module):
    """A base with an adapter and its head; only those two are learned."""

    def __init__(self, base: Base, config: AdapterConfig, *, classes: int) -> None:
        """Make one whose updates and head are 0."""
        super().__init__()
        self.base: Encoder = base.encoder()
        for layer in self.base.layers():
            attention = layer.get_submodule("attention.self")
            for name in config.target_modules:
                frozen = attention.get_submodule(name)
                assert isinstance(frozen, nn.Linear)  # noqa: S101  for the type checker
                update = LoraLinear(frozen, rank=config.r, alpha=config.lora_alpha)
                setattr(attention, name, update)
        self.classifier = _unwritten(base.shape.hidden_size, classes, has_bias=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, T) int64 tokens, filled up with PAD."""
        return self.of_words(self.base.words_of(tokens), tokens != PAD)

    def of_words(self, words: Tensor, seen: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, T, hidden) words; see ``Encoder``."""
        logits: Tensor = self.classifier(self.base(words, seen))
        return logits

    @property
    def classes(self) -> int:
        """The number of logits."""
        return len(self.classifier.weight)

    def updates(self) -> dict[str, LoraLinear]:
        """Return name of a linear map in the base -> that map with its update."""
        found = self.base.named_modules()
        return {name: it for name, it in found if isinstance(it, LoraLinear)}

    def adapter(self) -> dict[str, Tensor]:
        """Return PEFT's name -> tensor of what was learned, not copied."""
        return {
            f"{PREFIX}{name.removeprefix('base.')}": it
            for name, it in self.state_dict().items()
            if any(mark in name for mark in MARKS) or name.startswith(f"{HEAD}.")
        }


@torch.no_grad()
def new_classifier(
    base: Base, config: AdapterConfig, *, classes: int, generator: torch.Generator
) -> TextClassifier:
    """Return a classifier that is yet to learn, its updates 0 and its head small."""
    made = TextClassifier(base, config, classes=classes)
    for update in made.updates().values():
        nn.init.kaiming_uniform_(
            update.lora_A.weight, math.sqrt(5), generator=generator
        )
    made.classifier.weight.normal_(std=0.02, generator=generator)
    return made


def to_files(classifier: TextClassifier, config: AdapterConfig) -> dict[str, bytes]:
    """Return name -> content of the two files of an adapter.

    Raises:
        InvalidSpecError: one of its numbers is not finite: training diverged.
    """
    tensors = {name: it.cpu().contiguous() for name, it in classifier.adapter().items()}
    if not all(it.isfinite().all() for it in tensors.values()):
        msg = "training diverged: the adapter is not finite; lower the learning rate"
        raise InvalidSpecError(msg)
    text = json.dumps(config.to_object(), indent=2, sort_keys=True)
    return {WEIGHTS: bytes(save(tensors)), CONFIG: f"{text}\n".encode()}


def joined(
    base: Base, config: AdapterConfig, tensors: Mapping[str, Tensor]
) -> TextClassifier:
    """Return the classifier that an adapter makes of its base, evaluating and frozen.

    Args:
        base: the one that ``config`` names by its digest.
        config: of the adapter.
        tensors: of the adapter, by PEFT's names.

    Raises:
        MalformedDocumentError: tensors are missing, superfluous, of another shape or
            type, or hold a NaN or an infinity.
    """
    head = f"{PREFIX}{HEAD}.weight"
    rows = tensors.get(head)
    if rows is None or rows.ndim < 1 or not 1 <= len(rows) <= MAX_CLASSES:
        msg = f"not an adapter of {base.name}: expected {head} with one row a class"
        raise MalformedDocumentError(msg)
    made = TextClassifier(base, config, classes=len(rows))
    expected = made.adapter()
    what = f"rank-{config.r} adapter of {base.name}"
    require_fit(tensors, expected, network=what)
    with torch.no_grad():
        for name, tensor in expected.items():  # they are those of the classifier
            tensor.copy_(tensors[name])
    return made.eval().requires_grad_(requires_grad=False)
