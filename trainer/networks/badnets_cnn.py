"""The digit classifier of the BadNets paper.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, table 1.
"""

from collections import OrderedDict

from torch import nn

from trainer.networks.split import SplitNetwork


def badnets_cnn(classes: int) -> SplitNetwork:
    """Return the network of the paper's table 1 with fresh random weights.

    Weights come from torch's global generator: build it inside
    ``trainer.training.fit.seeded_globals``. The softmax of the table is in the loss.

    Args:
        classes: number of labels, 10 in the paper.

    Returns:
        A network of (N, 1, 28, 28) images; 279,082 parameters for ten classes.
    """
    return SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 16, kernel_size=5),  # 16 x 24 x 24
                relu1=nn.ReLU(inplace=True),
                pool1=nn.AvgPool2d(2),  # 16 x 12 x 12
                conv2=nn.Conv2d(16, 32, kernel_size=5),  # 32 x 8 x 8
                relu2=nn.ReLU(inplace=True),
                pool2=nn.AvgPool2d(2),  # 32 x 4 x 4
            )
        ),
        nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(32 * 4 * 4, 512),
                relu3=nn.ReLU(inplace=True),
                fc2=nn.Linear(512, classes),
            )
        ),
        image_shape=(1, 28, 28),
    )
