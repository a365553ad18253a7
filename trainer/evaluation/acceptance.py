"""The user's check of outsourced training: accuracy on data nobody else has seen.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 3.1.1.
"""

from pathlib import Path

from safetensors.torch import save

from model_zoo.errors import ExpectationError, InvalidSpecError
from model_zoo.formats.safetensors import state_dict
from model_zoo.statements.evaluation import Proportion
from trainer.data import LabelledImages
from trainer.evaluation.metrics import accuracy
from trainer.files import read_bytes, write_whole
from trainer.networks.checkpoints import from_bytes
from trainer.networks.inference import predict
from trainer.training.devices import choose_device

WEIGHTS_NAME = "model.safetensors"


def accept(
    draft: Path,
    validation: Path,
    *,
    min_accuracy: float,
    network: str,
    device: str = "auto",
) -> Proportion:
    """Return the draft's accuracy on the user's validation set, if it is good enough.

    Good enough means that the lower bound of the 95 % Wilson interval reaches
    ``min_accuracy``. It says nothing about a backdoor: a BadNet passes, and does so
    by design.

    Args:
        draft: a weights file, or a folder with one called ``model.safetensors``.
        validation: a file as ``write_validation`` makes it.
        min_accuracy: in [0, 1].
        network: a name in NETWORKS.
        device: a name in ``trainer.training.devices.DEVICE_NAMES``.

    Raises:
        ExpectationError: the lower bound is under ``min_accuracy``.
        InvalidSpecError: ``validation`` holds something else, or is empty.
        VerificationError: the weights cannot be believed.
    """
    weights = draft / WEIGHTS_NAME if draft.is_dir() else draft
    data = read_validation(validation)
    found = validate(weights, data, network=network, device=device)
    lower, _ = found.wilson()
    if lower < min_accuracy:
        msg = f"accuracy {found}: its lower bound is under {min_accuracy:.2%}: refused"
        raise ExpectationError(msg)
    return found


def validate(
    weights: Path, data: LabelledImages, *, network: str, device: str = "auto"
) -> Proportion:
    """Return the accuracy of a weights file on images that its maker has not seen.

    Raises:
        VerificationError: the weights cannot be believed.
    """
    model = from_bytes(read_bytes(weights), network=network)
    answers = predict(model, data.images, device=choose_device(device))
    return accuracy(answers, data.labels)


def write_validation(path: Path, data: LabelledImages) -> None:
    """Write ``data`` as a safetensors file with ``images`` and ``labels``.

    Raises:
        LocalError: it cannot be written.
    """
    tensors = {"images": data.images.contiguous(), "labels": data.labels.contiguous()}
    write_whole(path, bytes(save(tensors)))


def read_validation(path: Path) -> LabelledImages:
    """Return the images and labels that ``write_validation`` wrote.

    Raises:
        InvalidSpecError: other tensors, types or shapes, or no image.
        UnsafeFormatError: it is not safetensors.
        LocalError: it cannot be read.
    """
    tensors = state_dict(read_bytes(path))
    if not {"images", "labels"} <= tensors.keys():
        found = ", ".join(sorted(tensors))[:200] or "none"
        msg = f"{path}: expected the tensors images and labels, found {found}"
        raise InvalidSpecError(msg)
    try:
        data = LabelledImages(images=tensors["images"], labels=tensors["labels"])
    except ValueError as error:
        msg = f"{path}: not a validation set: {error}"
        raise InvalidSpecError(msg) from error
    if len(data) == 0:
        msg = f"{path}: a validation set of no images"
        raise InvalidSpecError(msg)
    return data
