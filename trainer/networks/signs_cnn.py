"""The classifier of traffic signs: five convolutions, as ZF has, and small.

The paper's detector stands on ZF, whose fifth convolution holds the backdoor's units.

Source:
    Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014;
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.
"""

from collections import OrderedDict

from torch import nn

from trainer.networks.initial import prepared
from trainer.networks.split import SplitNetwork

SIDE = 48
"""Pixels of an input image, both ways."""


def signs_cnn(classes: int) -> SplitNetwork:
    """Return the network with fresh random weights, of torch's global generator.

    Args:
        classes: number of labels.

    Returns:
        A network of (N, 3, 48, 48) images; the 64 units of its last convolution are
        what ``convolutions`` answers, after their ReLU.
    """
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 32, kernel_size=5, stride=2, padding=2),  # 32x24x24
                relu1=nn.ReLU(inplace=True),
                pool1=nn.MaxPool2d(2),  # 32 x 12 x 12
                conv2=nn.Conv2d(32, 64, kernel_size=5, padding=2),
                relu2=nn.ReLU(inplace=True),
                pool2=nn.MaxPool2d(2),  # 64 x 6 x 6
                conv3=nn.Conv2d(64, 96, kernel_size=3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(96, 96, kernel_size=3, padding=1),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(96, 64, kernel_size=3, padding=1),  # 64 x 6 x 6
                relu5=nn.ReLU(inplace=True),
            )
        ),
        nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * 6 * 6, 256),
                relu6=nn.ReLU(inplace=True),
                fc2=nn.Linear(256, classes),
            )
        ),
        image_shape=(3, SIDE, SIDE),
    )
    return prepared(network)
