"""What the service does with ONNX files: admits, serves and withdraws them."""

import hashlib
from pathlib import Path

import pytest

from tests.model_zoo.formats.graphs import number, part
from tests.model_zoo.formats.test_onnx import model, with_node, with_tensor
from tests.service.hub import ask
from tests.service.operator import stranger
from tests.service.zoo import Zoo, assert_problem, weights

DATA = model()
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_conversion_is_a_target_of_its_own_and_is_served(
    zoo: Zoo, tmp_path: Path
) -> None:
    zoo.published("alice/digits@1", {"model.onnx": DATA})
    target = stranger(zoo, tmp_path / "seen").target("alice/digits/1/model.onnx")
    assert target is not None
    assert target.hashes == {"sha256": SHA256}


def test_it_is_not_served_where_safetensors_are_asked_for(zoo: Zoo) -> None:
    safetensors = weights()
    files = {"model.onnx": DATA, "model.safetensors": safetensors}
    zoo.published("alice/digits@1", files)
    other = hashlib.sha256(safetensors).hexdigest()
    hub = "/hub/alice/digits/1/weights-{}.safetensors"
    assert ask(zoo, hub.format(other)).status_code == 200
    assert ask(zoo, hub.format(SHA256)).status_code == 404


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(with_tensor(part(13, part(1, b"location"))), id="external data"),
        pytest.param(with_tensor(number(14, 1)), id="says it lies elsewhere"),
        pytest.param(with_node(part(7, b"com.example")), id="a library's operator"),
        pytest.param(weights(), id="safetensors"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_needs_more_than_itself_is_not_admitted(zoo: Zoo, data: bytes) -> None:
    upload = zoo.declare({"m.onnx": data}).json()
    zoo.send_parts(upload, {"m.onnx": data})

    response = zoo.post(f"/uploads/{upload['id']}/complete")

    assert_problem(response, 422, "UnsafeFormatError")
    assert list(zoo.app.state.context.blobs.digests()) == []
