"""A network cut in two where transfer learning cuts it."""

from functools import partial

from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError


class SplitNetwork(nn.Module):
    """Convolutions, then fully connected layers; ``forward`` is one after the other.

    Transfer keeps the first half and retrains the second; fine-pruning cuts units of
    the last convolution. Inputs are (N, C, H, W) float32 in [0, 1], outputs
    (N, classes) logits. Images of another shape raise InvalidSpecError.
    """

    def __init__(
        self,
        convolutions: nn.Sequential,
        fully_connected: nn.Sequential,
        *,
        image_shape: tuple[int, int, int],
    ) -> None:
        """Join the halves.

        Args:
            convolutions: end with the last convolution and what follows it unit by
                unit.
            fully_connected: start by flattening what the first half gives.
            image_shape: C, H and W of the images.
        """
        super().__init__()
        self.convolutions = convolutions
        self.fully_connected = fully_connected
        self.image_shape = image_shape
        # a hook, because transfer and pruning call the first half by itself
        convolutions.register_forward_pre_hook(partial(_require_shape, image_shape))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, C, H, W) float32 ``images`` in [0, 1]."""
        logits: Tensor = self.fully_connected(self.convolutions(images))
        return logits

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The convolution nearest to the output."""
        return [m for m in self.convolutions if isinstance(m, nn.Conv2d)][-1]

    @property
    def classes(self) -> int:
        """The number of logits."""
        layers = [m for m in self.fully_connected if isinstance(m, nn.Linear)]
        return layers[-1].out_features


def _require_shape(
    expected: tuple[int, int, int], _: nn.Module, inputs: tuple[Tensor]
) -> None:
    found = tuple(inputs[0].shape[1:])
    if found != expected:
        msg = (
            f"this network reads images of {_told(expected)}, the data set has "
            f"{_told(found)}; ask for another network or data set"
        )
        raise InvalidSpecError(msg)


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
