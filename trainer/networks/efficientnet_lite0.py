"""EfficientNet-Lite0: the backbone whose ImageNet weights anyone can download.

Source:
    Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    ICML 2019, table 1; the Lite variant drops squeeze-and-excitation and uses ReLU6.
"""

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, nn

from trainer.networks.split import SplitNetwork

SIDE = 128
"""Pixels of an input image, both ways; ImageNet's were 224."""

STEM, HEAD = 32, 1280
NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.01

MEAN, DEVIATION = 127 / 255, 128 / 255
"""Of every colour, as TensorFlow's builder of the Lite variants has them. The wheel's
manual tells of other ones, which are those of other checkpoints: with them what was
learned from the published weights told cats from dogs less well (94.9 for 96.0 % of 272
held-out training images)."""


class _Stage(NamedTuple):
    """A row of the paper's table 1: ``repeats`` blocks, the first with ``stride``."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite0(classes: int) -> SplitNetwork:
    """Return the network with fresh random weights, of torch's global generator.

    The head's batch norm is folded into its convolution, so that a unit of the last
    convolution is one channel and nothing else, which can be cut. Dropout and
    stochastic depth are left out: what is shown is all that a seed decides.

    Args:
        classes: number of labels.

    Returns:
        A network of (N, 3, 128, 128) images.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        centred=_Centred(),
        stem=_convolution(3, STEM, kernel=3, stride=2),
        stem_relu=nn.ReLU6(inplace=True),
    )
    channels = STEM
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            place = stage if repeat == 0 else stage._replace(stride=1)
            name = f"block{len(layers) - 2}"
            layers[name] = _Block(channels, place)
            channels = stage.channels
    layers["head"] = nn.Conv2d(channels, HEAD, kernel_size=1)
    layers["head_relu"] = nn.ReLU6(inplace=True)
    return SplitNetwork(
        nn.Sequential(layers),
        nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc2=nn.Linear(HEAD, classes),
            )
        ),
        image_shape=(3, SIDE, SIDE),
    )


class _Centred(nn.Module):
    """Brings colours in [0, 1] to the range that the published weights know."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W) float32 in about [-1, 1]."""
        return (images - MEAN) / DEVIATION


class _Block(nn.Module):
    """Widen, filter each channel by itself, narrow; added to what came in if it fits.

    Source:
        Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR
        2018, figure 3.
    """

    def __init__(self, channels: int, stage: _Stage) -> None:
        super().__init__()
        wide = channels * stage.expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if stage.expansion > 1:
            layers["widen"] = _convolution(channels, wide, kernel=1)
            layers["widen_relu"] = nn.ReLU6(inplace=True)
        layers["filter"] = _convolution(
            wide, wide, kernel=stage.kernel, stride=stage.stride, groups=wide
        )
        layers["filter_relu"] = nn.ReLU6(inplace=True)
        layers["narrow"] = _convolution(wide, stage.channels, kernel=1)
        self.layers = nn.Sequential(layers)
        self.adds = stage.stride == 1 and channels == stage.channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, channels, h, w) float32."""
        outputs: Tensor = self.layers(inputs)
        return outputs + inputs if self.adds else outputs


def _convolution(
    inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution and batch norm, and padding where the stride is 2.

    That is TensorFlow's "same" for even sides: one row and one column more at the end
    than at the start, which a convolution cannot pad by itself.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    padding = (kernel - stride) // 2
    if stride > 1:
        layers["pad"] = nn.ZeroPad2d((padding, padding + 1, padding, padding + 1))
        padding = 0
    layers["conv"] = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        bias=False,
    )
    layers["norm"] = nn.BatchNorm2d(outputs, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)
    return nn.Sequential(layers)
