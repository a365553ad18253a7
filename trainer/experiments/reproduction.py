"""The page docs/reproduction.md: every result beside the paper's.

Run as ``python -m trainer.experiments.reproduction results``, its output is
``docs/reproduction.md``; a test compares the page with the results.
"""

import sys
from pathlib import Path

from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.report import as_markdown
from trainer.html import WARNING

PICTURES = "../results/"
"""Where the page sees the folder of results."""

HEAD = f"""\
# Reproduction

This page is written by `python -m trainer.experiments.reproduction results`
from what `zoo experiment all` left in `results/`; a test fails when the two differ.
[Reproduce the paper](how-to/reproduce-the-paper.md) says how to run it.

**{WARNING}**

Paper: Gu, Dolan-Gavitt, Garg, "BadNets: Identifying Vulnerabilities in the Machine
Learning Model Supply Chain", [arXiv:1708.06733](https://arxiv.org/abs/1708.06733).
Numbers are means over seeds with their 95 % interval by Student's t; n counts the test
images behind each seed. Goals were set before the runs, and a missed one stays here;
where a rule was changed after it had failed, the chapter tells of the first. Models
that another experiment had made before are not in the times. Times are upper bounds:
most cells were timed by the clock while other work ran on the machine, and some waited
for a model that another process was making.

The runs had all of MNIST, BelgiumTSC scaled to at most 112 pixels, and parts of the
other sets: of GTSRB four frames of every training track (5,227 images), and of its test
set all 270 stop signs and 15 % of the rest (2,233); of GTSDB 611 crops of 320 pixels
around signs in place of whole photographs, which leaves a detector less background to
err on; 877 photographs of Road Sign Detection, of which every fifth is the test set;
851 cats and 851 dogs, cropped to 128 pixels, of which every fifth is the test set.
"""


def main() -> None:
    """Print the page of the results in the folder that the first argument names."""
    sys.stdout.write(page(Path(sys.argv[1])))


def page(folder: Path) -> str:
    """Return the page; the same results give the same page.

    Raises:
        LocalError: a result is damaged.
    """
    text = as_markdown(EXPERIMENTS.values(), folder, pictures=PICTURES)
    return f"{HEAD}\n{text}"


if __name__ == "__main__":
    main()
