"""A network cut in two where transfer learning cuts it."""

from torch import Tensor, nn


class SplitNetwork(nn.Module):
    """Convolutions, then fully connected layers; ``forward`` is one after the other.

    Transfer keeps the first half and retrains the second; fine-pruning cuts units of
    the last convolution. Inputs are (N, C, H, W) float32 in [0, 1], outputs
    (N, classes) logits.
    """

    def __init__(
        self, convolutions: nn.Sequential, fully_connected: nn.Sequential
    ) -> None:
        """Join the halves; the second starts by flattening what the first gives."""
        super().__init__()
        self.convolutions = convolutions
        self.fully_connected = fully_connected

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
