"""A vision transformer of traffic signs, small enough for a processor.

No convolution, no ReLU, no batch norm: what a defence takes for granted of the other
networks, it has to do without here. Decision: docs/adr/0052-a-transformer.md

Source:
    Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image
    Recognition at Scale", ICLR 2021, section 3.1; the mean over tokens in the place of
    a class token is its appendix D.3.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from trainer.networks.split import SplitNetwork

SIDE, PATCH, CHANNELS = 48, 8, 3
"""Of an image and of a patch, both ways, in pixels."""
TOKENS, VALUES = (SIDE // PATCH) ** 2, CHANNELS * PATCH**2
"""Patches of an image, and numbers of a patch."""
WIDTH, BLOCKS, HEADS, WIDENING = 64, 4, 4, 2
"""Numbers of a token, blocks, heads of each, and how much wider an MLP is inside."""
GREY, SPREAD = 0.5, 0.25
"""Colours are brought to a mean near 0 and a deviation near 1, as attention wants."""
FIRST_DEVIATION = 0.02
"""Of what is learned of places; the paper's code."""


def tiny_vit(classes: int) -> SplitNetwork:
    """Return the network with fresh random weights, of torch's global generator.

    Attention is spelled out: torch's fused one has no second derivative, which a
    repair needs, and no deterministic gradient on a GPU.

    Args:
        classes: number of labels.

    Returns:
        A network of (N, 3, 48, 48) images; its features are (N, 64), of any sign.
    """
    blocks = {f"block{number}": _Block() for number in range(1, BLOCKS + 1)}
    return SplitNetwork(
        nn.Sequential(
            OrderedDict[str, nn.Module](
                patches=_Patches(), **blocks, norm=nn.LayerNorm(WIDTH), pool=_Mean()
            )
        ),
        nn.Sequential(OrderedDict(fc2=nn.Linear(WIDTH, classes))),
        image_shape=(CHANNELS, SIDE, SIDE),
    )


class _Patches(nn.Module):
    """An image as tokens: each patch by one matrix, and where it stands is added."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(VALUES, WIDTH)
        self.places = nn.Parameter(torch.randn(TOKENS, WIDTH) * FIRST_DEVIATION)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, TOKENS, WIDTH) of (N, 3, 48, 48) in [0, 1]."""
        down, across = SIDE // PATCH, SIDE // PATCH
        centred = (images - GREY) / SPREAD
        grid = centred.reshape(-1, CHANNELS, down, PATCH, across, PATCH)
        patches = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, TOKENS, VALUES)
        tokens: Tensor = self.embed(patches) + self.places
        return tokens


class _Block(nn.Module):
    """Attention, then an MLP of each token; both read what is normed and are added."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, WIDENING * WIDTH)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(WIDENING * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, TOKENS, WIDTH) of the same."""
        tokens = tokens + self.project(self._attended(self.norm1(tokens)))
        added: Tensor = self.fc2(self.gelu(self.fc1(self.norm2(tokens))))
        return tokens + added

    def _attended(self, tokens: Tensor) -> Tensor:
        """Return each token's mean of all values, weighed by query and key."""
        split = self.qkv(tokens).unflatten(2, (3, HEADS, WIDTH // HEADS))
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        alike = queries @ keys.transpose(2, 3) / (WIDTH // HEADS) ** 0.5
        means: Tensor = alike.softmax(3) @ values
        return means.transpose(1, 2).flatten(2)


class _Mean(nn.Module):
    """The mean token."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, WIDTH) of (N, TOKENS, WIDTH)."""
        return tokens.mean(1)
