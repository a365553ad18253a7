"""Data sets by name, each read into memory as uint8."""

from trainer.data.belgiumtsc import BELGIUMTSC_SIGNS
from trainer.data.dataset import Dataset
from trainer.data.detection import SCENES as SCENES
from trainer.data.dogs_vs_cats import DOGS_VS_CATS
from trainer.data.folders import in_folder
from trainer.data.gtsrb import GTSRB, GTSRB_SIGNS
from trainer.data.images import LabelledImages
from trainer.data.mnist import MNIST

__all__ = ["DATASETS", "Dataset", "LabelledImages"]

DATASETS: dict[str, Dataset] = {
    "mnist": MNIST,
    **{
        images.name: in_folder(images)
        for images in (GTSRB, GTSRB_SIGNS, BELGIUMTSC_SIGNS, DOGS_VS_CATS)
    },
}
"""One entry under each name of ``model_zoo.jobs.DatasetName``."""
