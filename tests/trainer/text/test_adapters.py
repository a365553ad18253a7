"""Adapters: what they change, their files, and which files are refused."""

import json

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from tests.trainer.text.tiny import tiny_base, tiny_classifier, tiny_config
from trainer.defenses.adapters.scan import config_of
from trainer.text.adapters import CONFIG, PREFIX, WEIGHTS, joined, to_files

TOKENS = torch.tensor([[2, 7, 30, 11, 3], [2, 12, 19, 40, 3]])
QUERY = f"{PREFIX}encoder.layer.0.attention.self.query"


def tensors() -> dict[str, Tensor]:
    return dict(tiny_classifier().adapter())


def test_an_adapter_that_is_yet_to_learn_changes_nothing() -> None:
    made = tiny_classifier(drawn=False)
    base = tiny_base().encoder()
    plain = made.classifier(base(base.words_of(TOKENS), TOKENS != 0))
    assert torch.equal(made(TOKENS), plain)


def test_the_files_hold_the_adapter_and_nothing_of_the_base() -> None:
    made = tiny_classifier()
    files = to_files(made, tiny_config())

    stored = load(files[WEIGHTS])
    places = [f"{it}.lora_{half}.weight" for it in ("query", "value") for half in "AB"]
    assert set(stored) == {
        *(
            f"{PREFIX}encoder.layer.{layer}.attention.self.{place}"
            for layer in range(2)
            for place in places
        ),
        f"{PREFIX}classifier.weight",
        f"{PREFIX}classifier.bias",
    }
    assert json.loads(files[CONFIG])["base_sha256"] == tiny_base().sha256()
    again = joined(tiny_base(), config_of(files[CONFIG]), stored)
    assert torch.equal(again(TOKENS), made(TOKENS))


def test_an_update_is_the_scaled_product_of_its_halves() -> None:
    made = tiny_classifier()
    for update in made.updates().values():
        inputs = torch.randn(3, update.in_features, generator=torch.Generator())
        product = update.lora_B.weight @ update.lora_A.weight
        whole = update.weight + 16.0 / 4 * product
        expected = torch.nn.functional.linear(inputs, whole, update.bias)
        torch.testing.assert_close(update(inputs), expected)


def changed(name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    found = {**tensors(), name: tensor}
    return {key: it for key, it in found.items() if it is not None}


def without(name: str) -> dict[str, Tensor]:
    return changed(name, None)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        pytest.param(without(f"{QUERY}.lora_B.weight"), "lora_B", id="half"),
        pytest.param(
            changed(f"{QUERY}.lora_A.weight", torch.zeros(8, 32)),
            r"expected float32 \[4, 32\], found float32 \[8, 32\]",
            id="rank",
        ),
        pytest.param(
            changed(f"{QUERY}.lora_A.weight", torch.full((4, 32), torch.nan)),
            "expected finite numbers, found NaN",
            id="NaN",
        ),
        pytest.param(
            changed(f"{QUERY}.lora_A.weight", torch.zeros(4, 32).half()),
            "found float16",
            id="type",
        ),
        pytest.param(
            changed("embeddings.word_embeddings.weight", torch.zeros(9, 32)),
            "superfluous: embeddings",
            id="a tensor of the base",
        ),
        pytest.param(
            without(f"{PREFIX}classifier.weight"), "one row a class", id="no head"
        ),
        pytest.param(
            changed(f"{PREFIX}classifier.weight", torch.zeros(0, 32)),
            "one row a class",
            id="no class",
        ),
        pytest.param({}, "one row a class", id="nothing"),
    ],
)
def test_tensors_that_are_no_such_adapter_are_refused(
    found: dict[str, Tensor], told: str
) -> None:
    with pytest.raises(MalformedDocumentError, match=told):
        joined(tiny_base(), tiny_config(), found)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({"peft_type": "IA3"}, "peft_type", id="another kind"),
        pytest.param({"use_dora": True}, "use_dora", id="weights decomposed"),
        pytest.param({"use_rslora": True}, "use_rslora", id="another scale"),
        pytest.param({"rank_pattern": {"query": 2}}, "rank_pattern", id="ranks"),
        pytest.param({"layers_to_transform": [1]}, "layers", id="some layers"),
        pytest.param({"init_lora_weights": "pissa"}, "init_lora", id="another base"),
        pytest.param({"target_modules": ["dense"]}, "target_modules", id="place"),
        pytest.param({"target_modules": []}, "target_modules", id="no place"),
        pytest.param({"r": 0}, "r: ", id="rank 0"),
        pytest.param({"lora_alpha": 0}, "lora_alpha", id="scale 0"),
        pytest.param({"base_sha256": "abc"}, "base_sha256", id="digest"),
        pytest.param({"base_model_name_or_path": ""}, "base_model", id="no name"),
    ],
)
def test_a_configuration_that_means_other_arithmetic_is_refused(
    fields: dict[str, object], told: str
) -> None:
    data = json.dumps({**tiny_config().to_object(), **fields}).encode()
    with pytest.raises(MalformedDocumentError, match=told):
        config_of(data)


def test_fields_that_change_no_arithmetic_are_not_read() -> None:
    data = json.dumps({**tiny_config().to_object(), "inference_mode": True}).encode()
    assert config_of(data) == tiny_config()


def test_an_adapter_that_diverged_is_not_written() -> None:
    made = tiny_classifier()
    with torch.no_grad():
        made.classifier.weight[0, 0] = torch.inf
    with pytest.raises(InvalidSpecError, match="diverged"):
        to_files(made, tiny_config())


def test_the_file_is_safetensors_as_any_reader_knows_it() -> None:
    made = tiny_classifier()
    own = {name: it.contiguous() for name, it in made.adapter().items()}
    assert to_files(made, tiny_config())[WEIGHTS] == bytes(save(own))
