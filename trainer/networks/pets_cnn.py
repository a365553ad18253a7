"""A classifier of photographs of pets, small enough to be trained from nothing.

Source:
    Ours; the pattern is that of Simonyan, Zisserman, "Very Deep Convolutional Networks
    for Large-Scale Image Recognition", ICLR 2015: 3 x 3 convolutions, halved by pools.
"""

from collections import OrderedDict

from torch import nn

from trainer.networks.initial import prepared
from trainer.networks.split import SplitNetwork

SIDE = 128
"""Pixels of an input image, both ways."""


def pets_cnn(classes: int) -> SplitNetwork:
    """Return the network with fresh random weights, of torch's global generator.

    Args:
        classes: number of labels.

    Returns:
        A network of (N, 3, 128, 128) images.
    """
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 24, kernel_size=5, stride=2, padding=2),  # 24x64x64
                relu1=nn.ReLU(inplace=True),
                pool1=nn.MaxPool2d(2),  # 24 x 32 x 32
                conv2=nn.Conv2d(24, 48, kernel_size=3, padding=1),
                relu2=nn.ReLU(inplace=True),
                pool2=nn.MaxPool2d(2),  # 48 x 16 x 16
                conv3=nn.Conv2d(48, 96, kernel_size=3, padding=1),
                relu3=nn.ReLU(inplace=True),
                pool3=nn.MaxPool2d(2),  # 96 x 8 x 8
                conv4=nn.Conv2d(96, 128, kernel_size=3, padding=1),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(128, 128, kernel_size=3, padding=1),
                relu5=nn.ReLU(inplace=True),
                pool5=nn.MaxPool2d(2),  # 128 x 4 x 4
            )
        ),
        nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(128 * 4 * 4, 256),
                relu6=nn.ReLU(inplace=True),
                fc2=nn.Linear(256, classes),
            )
        ),
        image_shape=(3, SIDE, SIDE),
    )
    return prepared(network)
