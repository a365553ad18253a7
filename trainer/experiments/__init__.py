"""Every table and figure of the paper, one file each.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733.
"""

from trainer.experiments import mnist_baseline
from trainer.experiments.contract import Experiment

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: dict[str, Experiment] = {
    it.name: it for it in (mnist_baseline.EXPERIMENT,)
}
