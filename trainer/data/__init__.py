"""Data sets by name, each read into memory as uint8."""

from trainer.data.belgiumtsc import BELGIUMTSC_SIGNS
from trainer.data.dataset import SPLITS, Dataset
from trainer.data.dogs_vs_cats import DOGS_VS_CATS
from trainer.data.folders import in_folder
from trainer.data.gtsrb import GTSRB, GTSRB_SIGNS
from trainer.data.images import LabelledImages
from trainer.data.mnist import MNIST
from trainer.data.scenes import SCENES as SCENES
from trainer.installed import Registry

__all__ = [
    "DATASETS",
    "Dataset",
    "LabelledImages",
    "data_digest",
    "ensure_data",
]

DATASETS: Registry[Dataset] = Registry(
    "datasets",
    {
        "mnist": MNIST,
        **{
            images.name: in_folder(images)
            for images in (GTSRB, GTSRB_SIGNS, BELGIUMTSC_SIGNS, DOGS_VS_CATS)
        },
    },
)
"""One entry under each name of ``model_zoo.statements.recipes.DATASETS``."""


def data_digest(name: str) -> str:
    """Return the SHA-256 that provenance records of a set, of images or of scenes.

    Raises:
        LocalError: it is not on this machine, or damaged.
    """
    return SCENES[name].digest() if name in SCENES else DATASETS[name].digest()


def ensure_data(name: str) -> None:
    """Download a set, of images or of scenes, unless it is on this machine.

    Raises:
        LocalError: it is not, and the user has to put it there; or it is damaged.
        TransportError: it cannot be downloaded.
    """
    if name in SCENES:
        for split in SPLITS:
            SCENES[name].load(split)
    else:
        DATASETS[name].ensure()
