"""Fine-tuning: learn on with clean images until the backdoor is forgotten.

Batch norms learn on too, their means and variances included.

Source:
    Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on
    Deep Neural Networks", RAID 2018, section 3.2.
"""

import torch

from model_zoo.statements.jobs import RepairSpec
from trainer.data.images import LabelledImages
from trainer.defenses.repairs.repaired import Repaired
from trainer.networks import SplitNetwork
from trainer.training.fit import Runtime, fit


def fine_tune(
    network: SplitNetwork,
    clean: LabelledImages,
    spec: RepairSpec,
    generator: torch.Generator,
    runtime: Runtime,
) -> Repaired:
    """Repair ``network`` in place, with the whole of the schedule."""
    epochs = fit(
        network,
        clean.images,
        clean.labels,
        schedule=spec.schedule,
        generator=generator,
        runtime=runtime,
    )
    return Repaired(network=network, epochs=epochs)
