"""Repairs: a model goes in, a model comes out, hopefully without its backdoor."""

import torch

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.anp import prune_sensitive
from trainer.defenses.repairs.clp import prune_steep
from trainer.defenses.repairs.fine_pruning import fine_prune
from trainer.defenses.repairs.fine_tuning import fine_tune
from trainer.defenses.repairs.ft_sam import fine_tune_flat
from trainer.defenses.repairs.i_bau import unlearn_worst
from trainer.defenses.repairs.nad import distil_attention
from trainer.defenses.repairs.repaired import Repair, Repaired
from trainer.defenses.repairs.unlearning import unlearn
from trainer.installed import Registry
from trainer.networks import SplitNetwork
from trainer.training.fit import Runtime

__all__ = ["REPAIRS", "Repair", "Repaired"]


def _fine_pruned(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    units, epochs = fine_prune(
        network,
        clean,
        max_accuracy_loss=spec.max_accuracy_loss,
        schedule=spec.schedule,
        generator=generator,
        runtime=runtime,
    )
    return Repaired(network=network, epochs=epochs, pruned_units=units)


REPAIRS: Registry[Repair] = Registry(
    "repairs",
    {
        "fine-pruning": _fine_pruned,
        "fine-tuning": fine_tune,
        "ft-sam": fine_tune_flat,
        "nad": distil_attention,
        "anp": prune_sensitive,
        "i-bau": unlearn_worst,
        "clp": prune_steep,
        "unlearning": unlearn,
    },
)
"""One entry under each name of ``model_zoo.statements.recipes.REPAIRS``."""
