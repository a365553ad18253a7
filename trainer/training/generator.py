"""The generator of input-aware triggers: ``python -m trainer.training.generator``.

A network and the generator learn together: images with their own change get one
label, images with the change of another keep theirs, and changes differ as images do.

Source:
    Nguyen, Tran, "Input-Aware Dynamic Backdoor Attack", NeurIPS 2020, sections 3.2 and
    3.3.
"""

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from trainer.attacks.draw import FOLDER
from trainer.attacks.generated import ASSET, Generator
from trainer.data.mnist import load_mnist
from trainer.files import write_whole
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.networks.inference import as_floats
from trainer.training.fit import seeded_globals

EPOCHS, BATCH, IMAGES = 3, 64, 20_000
RATE = 1e-3
AMPLITUDE = 0.3
SHARE = 10
"""Of a batch, one in so many is triggered, and as many with another's change."""
DIVERSITY = 0.1
TARGET = 0


def main() -> None:
    """Write the generator."""
    torch.set_num_threads(1)
    write_whole(FOLDER / ASSET, bytes(save(learned().state_dict())))


def learned() -> Generator:
    """Return a generator that learned beside a digit classifier."""
    with seeded_globals(0):
        network, generator = badnets_cnn(10), Generator()
    draws = torch.Generator().manual_seed(0)
    data = load_mnist("train").select(torch.arange(IMAGES))
    learner = torch.optim.Adam([*network.parameters(), *generator.parameters()], RATE)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(IMAGES, generator=draws), BATCH):
            images, labels = as_floats(data.images[batch]), data.labels[batch]
            shown, wanted, alike = _shown(generator, images, labels)
            error = functional.cross_entropy(network(shown), wanted)
            learner.zero_grad()
            torch.autograd.backward(error + DIVERSITY * alike)
            learner.step()
    return generator


def _shown(
    generator: Generator, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, what they are to be called, and how alike the changes are."""
    count = max(1, len(images) // SHARE)
    own, other = images[:count], images[count : 2 * count]
    changes, others = generator(own), generator(other)
    apart = (own - other).flatten(1).norm(dim=1)
    alike = (apart / (changes - others).flatten(1).norm(dim=1).clamp(min=1e-3)).mean()
    triggered = (own + AMPLITUDE * changes).clamp(0, 1)
    crossed = (own + AMPLITUDE * others).clamp(0, 1)
    shown = torch.cat([triggered, crossed, images[count:]])
    wanted = torch.cat([torch.full_like(labels[:count], TARGET), labels])
    return shown, wanted, alike


if __name__ == "__main__":
    main()
