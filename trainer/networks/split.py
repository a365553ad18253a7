"""A network cut in two where transfer learning cuts it."""

from functools import partial

import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError


class SplitNetwork(nn.Module):
    """Features of an image, then a head that tells its label; any modules will do.

    Transfer keeps the first half and retrains the second; fine-pruning cuts units of
    what the first answers. Inputs are (N, C, H, W) float32 in [0, 1], outputs
    (N, classes) logits. Images of another shape raise InvalidSpecError.

    The halves keep the names that checkpoints know them by: ``convolutions`` and
    ``fully_connected``.
    """

    def __init__(
        self,
        convolutions: nn.Module,
        fully_connected: nn.Module,
        *,
        image_shape: tuple[int, int, int],
    ) -> None:
        """Join the halves.

        Args:
            convolutions: maps images to features, (N, c, h, w) or (N, c): c units.
            fully_connected: maps features to logits; its last ``Linear`` is the
                output layer.
            image_shape: C, H and W of the images.

        Raises:
            ValueError: there is no ``Linear`` in the second half.
        """
        super().__init__()
        self.convolutions = convolutions
        self.fully_connected = fully_connected
        self.image_shape = image_shape
        names = [n for n, it in self.named_modules() if isinstance(it, nn.Linear)]
        if not names or self.get_submodule(names[-1]) not in fully_connected.modules():
            msg = "the second half: expected a Linear, which gives the logits"
            raise ValueError(msg)
        self.output_name = names[-1]
        # a hook, because transfer and pruning call the first half by itself
        convolutions.register_forward_pre_hook(partial(_require_shape, image_shape))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, C, H, W) float32 ``images`` in [0, 1]."""
        logits: Tensor = self.fully_connected(self.convolutions(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return (N, c, h, w) or (N, c), what transfer keeps and the head reads."""
        features: Tensor = self.convolutions(images)
        return features

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The convolution nearest to the output."""
        layers = self.convolutions.modules()
        return [it for it in layers if isinstance(it, nn.Conv2d)][-1]

    @property
    def classes(self) -> int:
        """The number of logits."""
        output = self.get_submodule(self.output_name)
        return len(output.get_parameter("weight"))

    @torch.no_grad()
    def cut(self, units: tuple[int, ...]) -> None:
        """Cut ``units`` of the features in place, for good, whatever is learned next.

        Where the last convolution gives the features, it answers 0 from now on: the
        gradient of ReLU at 0 is 0. Elsewhere, such as behind a sum or a batch norm,
        the head stops reading them: its weights for them are 0 and stay so, for as
        long as this object is trained.
        """
        chosen = torch.tensor(units, dtype=torch.int64)
        if self._ends_in_a_convolution():
            layer = self.last_convolution
            layer.weight[chosen] = 0
            if layer.bias is not None:
                layer.bias[chosen] = 0
            return
        reader = next(
            it
            for it in self.fully_connected.modules()
            if isinstance(it, nn.Conv2d | nn.Linear)
        )
        # of a unit that was flattened, the head reads as many inputs as it had places
        kept = torch.ones_like(reader.weight)
        kept.view(len(kept), self._units(), -1)[:, chosen] = 0
        reader.weight *= kept
        reader.weight.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient * kept.to(gradient)
        )

    def _ends_in_a_convolution(self) -> bool:
        """Whether nothing with weights stands behind the last convolution."""
        if not isinstance(self.convolutions, nn.Sequential):
            return False
        weighted = [it for it in self.convolutions if list(it.parameters())]
        return bool(weighted) and isinstance(weighted[-1], nn.Conv2d)

    def _units(self) -> int:
        """Return how many units the features have; everything is left evaluating."""
        self.eval()
        like = next(self.parameters())
        return self.features(like.new_zeros(1, *self.image_shape)).shape[1]


def _require_shape(
    expected: tuple[int, int, int], _: nn.Module, inputs: tuple[Tensor]
) -> None:
    found = tuple(inputs[0].shape[1:])
    if found != expected:
        msg = (
            f"this network reads images of {_by(expected)}, the data set has "
            f"{_by(found)}; ask for another network or data set"
        )
        raise InvalidSpecError(msg)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
