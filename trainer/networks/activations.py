"""Units: what each channel or neuron of a network answers, and some of them changed.

A unit is a channel of a convolution or a neuron of a fully connected layer, after the
gate behind it: a ReLU or a GELU. A GELU is taken for a ReLU: 0 is what it makes of 0,
and its answers differ from a ReLU's by 0.17 at most. Layers go by their names in
``named_modules()``, without that of the half they are in: ``conv5``, ``fc1`` or, deeper
down, ``block1.conv2``.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.networks import SplitNetwork
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches

Layer = nn.Conv2d | nn.Linear
Gate = nn.ReLU | nn.GELU
Visit = Callable[[str, Tensor], Tensor | None]

LEAST_BEND, ROUNDING = 1e-2, 1e-4
"""Of what images move, and of what is answered at all: less is no nonlinearity."""


def mean_activations(
    network: SplitNetwork, images: Tensor, *, device: torch.device
) -> dict[str, Tensor]:
    """Return the mean activation of every unit of every layer that has a gate.

    The gates have to be modules: one that ``forward`` calls as a function is not seen.

    Args:
        network: moved to ``device``, evaluated.
        images: (N, C, H, W) uint8, N at least 1.
        device: where it runs.

    Returns:
        Layer -> (units,) float64 on the CPU: the mean over images and, in a
        convolution, over places, or over tokens.
    """
    network.to(device).to(memory_format=torch.channels_last).eval()
    totals: dict[str, Tensor] = {}
    with torch.inference_mode(), reproducible(device):
        for batch in batches(images):
            found = _activations(network, as_floats(batch.to(device)))
            for layer, answers in found.items():
                summed = answers.mean(2).sum(0).double().cpu()
                totals[layer] = totals.get(layer, 0) + summed
    return {layer: total / len(images) for layer, total in totals.items()}


def ablated(network: SplitNetwork, layer: str, units: Sequence[int]) -> SplitNetwork:
    """Return a copy of ``network`` in which ``units`` of ``layer`` always answer 0."""
    return amplified(network, layer, units, factor=0)


def amplified(
    network: SplitNetwork, layer: str, units: Sequence[int], *, factor: float
) -> SplitNetwork:
    """Return a copy of ``network`` with the inputs of some units times ``factor``.

    Weights and bias, so that behind a ReLU the unit's answer is ``factor`` times what
    it was; those of the batch norm, where one stands between the two.

    Args:
        network: not written.
        layer: of which the units are.
        units: their numbers.
        factor: not negative.

    Source:
        Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.2.
    """
    changed = copy.deepcopy(network)
    module = scale_of(changed, layers(changed)[layer])
    with torch.no_grad():
        module.weight[list(units)] *= factor
        if module.bias is not None:
            module.bias[list(units)] *= factor
    return changed


def with_open_gates(network: SplitNetwork) -> SplitNetwork:
    """Return an evaluating copy without nonlinearities: pools take the mean.

    Raises:
        InvalidSpecError: others than ReLUs and pools are in it, so that it is no
            matrix without these.
    """
    linear = copy.deepcopy(network).eval()
    for parent in list(linear.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.ReLU | nn.ReLU6):
                setattr(parent, name, nn.Identity())
            if isinstance(module, nn.MaxPool2d):
                kernel, stride = module.kernel_size, module.stride
                setattr(parent, name, nn.AvgPool2d(kernel, stride, module.padding))
    if not _is_affine(linear):
        msg = (
            "the network is no matrix with its ReLUs open: it has other "
            "nonlinearities, such as attention"
        )
        raise InvalidSpecError(msg)
    return linear


@torch.no_grad()
def _is_affine(network: SplitNetwork) -> bool:
    """Whether an evaluating network answers a sum of images with the sum of answers.

    As far as two drawn images tell, and rounding allows. One that overflows is let
    pass: what is made of its numbers says so.
    """
    like = next(network.parameters())
    shape = (2, *network.image_shape)
    draws = torch.Generator().manual_seed(0)
    one, other = torch.rand(shape, generator=draws).to(like)
    black, first, second, both = network(
        torch.stack([torch.zeros_like(one), one, other, one + other])
    )
    apart = (both - first - second + black).abs().max()
    moved = torch.stack([first, second]).sub(black).abs().max()
    largest = torch.stack([black, both]).abs().max()
    return not apart > LEAST_BEND * moved + ROUNDING * largest


@torch.no_grad()
def silence(scale: nn.Module, units: Tensor) -> None:
    """Set to 0, in place, the weights and bias of ``units`` ((units,) bool)."""
    for parameter in scale.parameters(recurse=False):
        parameter[units] = 0


def require_silence(features: Tensor) -> None:
    """Accept features ((N, c, ...)) among whose units some can be silent.

    Raises:
        InvalidSpecError: one answers below 0: to answer little is not to be off.
    """
    if (features < 0).any():
        msg = (
            "units of the network's first half answer below 0, as no ReLU does: none "
            "is silent there"
        )
        raise InvalidSpecError(msg)


def units_for(share: float, differences: Tensor) -> int:
    """Return how few units carry ``share`` of all differences ((units,), any sign).

    Few of many means a sparse code.
    """
    sizes = differences.abs().sort(descending=True).values
    if not sizes.sum():
        return 0
    carried = sizes.cumsum(0) / sizes.sum()
    return int((carried < share).sum()) + 1


def layers(network: SplitNetwork) -> dict[str, Layer]:
    """Return name -> layer, of all that have weights, as they are written down.

    What is called the same in both halves keeps the name of the second.
    """
    found: dict[str, Layer] = {}
    for name, module in network.named_modules():
        if isinstance(module, Layer):
            _, _, short = name.partition(".")
            found[name if not short or short in found else short] = module
    return found


@contextmanager
def before_gates(network: SplitNetwork, visit: Visit) -> Iterator[None]:
    """Have ``visit`` see, and change, what a layer gives to the gate behind it.

    That is the first gate that is called after the layer and before the next one. It
    has to be a module.

    Args:
        network: called in the block.
        visit: gets the layer's name and what the gate is given, (N, units, ...), in
            which tokens are places; what it returns is given in its place, unless that
            is None.
    """
    found = layers(network)
    last = [""]

    def note(name: str, *_: object) -> None:
        last[0] = name

    def meet(_: nn.Module, given: tuple[Tensor, ...]) -> Tensor | None:
        layer, last[0] = last[0], ""
        if not layer:
            return None
        units = len(found[layer].weight)
        # a fully connected layer has its units last, behind tokens where there are
        is_last = isinstance(found[layer], nn.Linear) and given[0].shape[-1] == units
        place = -1 if is_last else 1
        changed = visit(layer, given[0].movedim(place, 1))
        return None if changed is None else changed.movedim(1, place)

    hooks = [
        layer.register_forward_hook(partial(note, name))
        for name, layer in found.items()
    ]
    hooks += [
        module.register_forward_pre_hook(meet)
        for module in network.modules()
        if isinstance(module, Gate)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def scale_of(network: SplitNetwork, layer: Layer) -> Layer | nn.BatchNorm2d:
    """Return what last scales the units of ``layer``: its batch norm, if it has one.

    That is the next module with weights, if it is a batch norm of as many channels.
    """
    known = Layer | nn.BatchNorm2d
    weighted = [it for it in network.modules() if isinstance(it, known)]
    behind = weighted[weighted.index(layer) + 1 :][:1]
    norms = [it for it in behind if isinstance(it, nn.BatchNorm2d)]
    fits = [it for it in norms if it.num_features == len(layer.weight)]
    return fits[0] if fits else layer


def _activations(network: SplitNetwork, inputs: Tensor) -> dict[str, Tensor]:
    """Return (N, units, places) of every layer with a gate behind it."""
    found: dict[str, Tensor] = {}

    def note(layer: str, given: Tensor) -> None:
        found[layer] = given.reshape(*given.shape[:2], -1).relu()

    with before_gates(network, note):
        network(inputs)
    return found
