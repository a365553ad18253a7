"""Every table and figure of the paper, one file each, listed in ``catalogue``.

The package itself imports nothing: the command line looks in here at every start.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733.
"""
