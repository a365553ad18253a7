"""States of a fit: weights and momenta in a checkpoint, to go on from bit for bit.

The order of the data is not in it: it follows from the seed and the epoch's number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safetensors.torch import save
from torch import Tensor, nn

from model_zoo.errors import MalformedDocumentError
from model_zoo.formats.safetensors import state_dict
from model_zoo.statements.jobs import Schedule
from model_zoo.statements.manifest import CHECKPOINT_PREFIX, WEIGHTS_SUFFIX
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.training.optimizers import first_momenta

_MOMENTUM = "momentum:"
"""Before the name of a parameter of what learns; no parameter's name has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a checkpoint holds.

    Attributes:
        network: with its weights, on the CPU.
        momenta: a parameter's name within what learns -> its momentum.
    """

    network: SplitNetwork
    momenta: dict[str, Tensor]

    @property
    def weights(self) -> bytes:
        """The bytes of the weights file that this network makes."""
        return to_bytes(self.network)

    def momenta_of(self, learner: nn.Module, schedule: Schedule) -> list[Tensor]:
        """Return the momenta in the order of the parameters of ``learner``.

        Raises:
            MalformedDocumentError: there are others than those, or of another shape.
        """
        wanted = dict(_learning(learner))
        first = first_momenta([*wanted.values()], schedule)
        shapes = {name: tensor.shape for name, tensor in self.momenta.items()}
        if shapes != {n: it.shape for n, it in zip(wanted, first, strict=True)}:
            msg = "a checkpoint's momenta are not those of the weights that learn"
            raise MalformedDocumentError(msg)
        return [self.momenta[name] for name in wanted]


def checkpoint_name(number: int) -> str:
    """Return the name of the checkpoint after ``number`` epochs."""
    return f"{CHECKPOINT_PREFIX}{number:03d}{WEIGHTS_SUFFIX}"


def state_to_bytes(
    network: SplitNetwork, learner: nn.Module, momenta: Sequence[Tensor]
) -> bytes:
    """Return a checkpoint: equal states, equal bytes.

    Args:
        network: all its weights are kept.
        learner: the network or the part of it that is fitted.
        momenta: in the order of the learner's parameters.
    """
    names = [_MOMENTUM + name for name, _ in _learning(learner)]
    tensors = network.state_dict() | dict(zip(names, momenta, strict=True))
    return bytes(
        save({name: it.detach().cpu().contiguous() for name, it in tensors.items()})
    )


def state_from_bytes(data: bytes, *, network: str) -> State:
    """Return the state in a checkpoint.

    Args:
        data: a checkpoint, from anyone.
        network: a name in NETWORKS.

    Raises:
        UnsafeFormatError: it is not a well-formed safetensors file.
        MalformedDocumentError: the weights do not fit the network, or a number is
            not finite.
    """
    tensors: dict[str, Tensor] = state_dict(data)
    momenta = {
        name.removeprefix(_MOMENTUM): tensor
        for name, tensor in tensors.items()
        if name.startswith(_MOMENTUM)
    }
    if not all(
        it.is_floating_point() and it.isfinite().all() for it in momenta.values()
    ):
        msg = "a checkpoint's momenta: expected finite numbers"
        raise MalformedDocumentError(msg)
    weights = {n: it for n, it in tensors.items() if not n.startswith(_MOMENTUM)}
    loaded = from_bytes(bytes(save(weights)), network=network)
    return State(network=loaded, momenta=momenta)


def _learning(learner: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((n, p) for n, p in learner.named_parameters() if p.requires_grad)
