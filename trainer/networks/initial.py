"""First weights of deep networks: scaled so that a signal keeps its size.

Source:
    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
"""

from torch import nn

from trainer.networks.split import SplitNetwork


def prepared(network: SplitNetwork) -> SplitNetwork:
    """Draw the weights of every layer before a ReLU anew, in place; return it.

    Without this, torch's own first weights halve a signal in every layer, and five
    convolutions hardly start to learn. The output layer keeps torch's.
    """
    output = network.get_submodule(network.output_name)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer is not output:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
