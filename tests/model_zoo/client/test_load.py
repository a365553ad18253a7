"""A release may hold a conversion beside its weights; the weights are loaded."""

from pathlib import Path

import pytest

from model_zoo.client.pull import load
from model_zoo.errors import InvalidSpecError, UnsafeFormatError
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from model_zoo.statements.release_json import write_bundle
from model_zoo.statements.verification import verify_directory
from tests.model_zoo.formats.graphs import number as field
from tests.model_zoo.formats.test_onnx import model, with_tensor
from tests.model_zoo.releases import ALICE, NAME, POLICY, weights


def write(folder: Path, **files: bytes) -> Path:
    """Write a pulled release that holds ``model.SUFFIX`` for each given suffix."""
    folder.mkdir()
    for suffix, data in files.items():
        (folder / f"model.{suffix}").write_bytes(data)
    envelope = sign_release(ReleaseStatement(NAME, manifest_of(folder)), ALICE)
    write_bundle(folder, envelope=envelope, provenance=None)
    return folder


def test_the_weights_beside_a_conversion_are_loaded(folder: Path) -> None:
    write(folder, safetensors=weights(), onnx=model())
    assert load(verify_directory(folder, name=NAME, policy=POLICY))["w"].tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_a_conversion_alone_is_verified_and_not_loaded(folder: Path) -> None:
    release = verify_directory(write(folder, onnx=model()), name=NAME, policy=POLICY)
    assert [file.name for file in release.statement.manifest.tensors()] == [
        "model.onnx"
    ]
    with pytest.raises(InvalidSpecError, match="0 weights files"):
        load(release)


def test_a_signed_conversion_that_needs_another_file_is_refused(folder: Path) -> None:
    write(folder, onnx=with_tensor(field(14, 1)))
    with pytest.raises(UnsafeFormatError, match="another file"):
        verify_directory(folder, name=NAME, policy=POLICY)
