"""The user's own check: what passes, what does not, and what it cannot see."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from model_zoo.errors import ExpectationError, InvalidSpecError, LocalError
from model_zoo.statements.jobs import Schedule
from trainer.data import LabelledImages
from trainer.evaluation.acceptance import accept, read_validation, write_validation
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import Runtime, fit, seeded_globals


@pytest.fixture
def draft(tmp_path: Path, digits: LabelledImages, runtime: Runtime) -> Path:
    """A folder with a model that knows most digits."""
    with seeded_globals(0):
        network = badnets_cnn(10)
    fit(
        network,
        digits.images,
        digits.labels,
        schedule=Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1),
        generator=torch.Generator().manual_seed(0),
        runtime=runtime,
    )
    folder = tmp_path / "draft"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(to_bytes(network))
    return folder


@pytest.fixture
def validation(tmp_path: Path, test_digits: LabelledImages) -> Path:
    path = tmp_path / "validation.safetensors"
    write_validation(path, test_digits)
    return path


def test_a_draft_passes_by_the_lower_bound_and_not_by_the_rate(
    draft: Path, validation: Path
) -> None:
    found = accept(draft, validation, min_accuracy=0.5, network="badnets-cnn")
    lower, _ = found.wilson()

    file = draft / "model.safetensors"
    assert accept(file, validation, min_accuracy=lower, network="badnets-cnn") == found
    with pytest.raises(ExpectationError, match="lower bound"):
        accept(draft, validation, min_accuracy=found.rate, network="badnets-cnn")


def test_what_is_written_is_read_back(
    validation: Path, test_digits: LabelledImages
) -> None:
    found = read_validation(validation)

    assert torch.equal(found.images, test_digits.images)
    assert torch.equal(found.labels, test_digits.labels)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param(
            {"images": torch.zeros(1)},
            "expected the tensors images and labels, found images",
            id="no labels",
        ),
        pytest.param(
            {"images": torch.zeros(2, 1, 28, 28), "labels": torch.zeros(2).long()},
            "uint8",
            id="floats",
        ),
        pytest.param(
            {
                "images": torch.zeros(0, 1, 28, 28, dtype=torch.uint8),
                "labels": torch.zeros(0).long(),
            },
            "no images",
            id="empty",
        ),
    ],
)
def test_another_file_is_no_validation_set(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(tensors))

    with pytest.raises(InvalidSpecError, match=message):
        read_validation(path)


def test_a_folder_without_weights_says_so(tmp_path: Path, validation: Path) -> None:
    with pytest.raises(LocalError, match=r"model\.safetensors"):
        accept(tmp_path, validation, min_accuracy=0.5, network="badnets-cnn")
