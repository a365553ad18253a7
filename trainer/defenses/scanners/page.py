"""The page of a scan: verdict, what ran and what did not, and recovered triggers."""

import io
from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from model_zoo.statements.scan import ScanReport
from trainer.html import data_uri, templates

INCHES = 1.8


def as_html(report: ScanReport, triggers: Mapping[str, Tensor]) -> str:
    """Return one self-contained page.

    Args:
        report: of the scan.
        triggers: scanner -> (C, H, W) float32 that it recovered.
    """
    page = templates("trainer.defenses").get_template("scan.html.j2")
    pictures = {name: drawn(trigger) for name, trigger in triggers.items()}
    return page.render(report=report, pictures=pictures)


def drawn(trigger: Tensor) -> str:
    """Return a (C, H, W) float32 change of an image as a picture's data URI.

    Grey is no change; the largest change is black or white.
    """
    largest = trigger.abs().max().clamp(min=1e-9)
    pixels = (trigger / largest / 2 + 0.5).permute(1, 2, 0).numpy()
    figure = Figure(figsize=(INCHES, INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    if pixels.shape[2] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(pixels)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    return data_uri(image.getvalue(), "png")
