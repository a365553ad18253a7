"""``results/report.html``: the results section, one page that stands alone."""

import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from trainer.experiments.engine.chapters import (
    Chapter,
    chapters,
    duration,
    run_facts,
    tally,
    total,
)
from trainer.experiments.engine.contract import Scale
from trainer.experiments.engine.results import Result
from trainer.files import read_bytes, write_whole
from trainer.html import WARNING, data_uri, templates

HTML_NAME = "report.html"

_CODE, _EMPHASIS = re.compile(r"``(.+?)``"), re.compile(r"\*(\w[^*]*)\*")


def write_report(folder: Path, *, scale: Scale = "full") -> Path:
    """Write the page of all results in ``folder``, in one step; return where it is.

    Raises:
        LocalError: a result is damaged, a figure is gone, or the disk is full.
    """
    path = folder / (HTML_NAME if scale == "full" else f"{scale}-{HTML_NAME}")
    told = chapters(folder, scale=scale)
    write_whole(path, as_html(told, folder=folder, scale=scale).encode())
    return path


def as_html(told: Sequence[Chapter], *, folder: Path, scale: Scale) -> str:
    """Return one self-contained page: style and pictures are inside it."""
    page = templates("trainer.experiments")
    page.filters |= {"prose": _prose, "duration": duration, "facts": run_facts}
    page.filters["tally"] = tally
    return page.get_template("results.html.j2").render(
        warning=WARNING,
        scale=scale,
        chapters=told,
        total=total(told),
        pictures={it.name: _pictures(it.result, folder) for it in told},
    )


def _pictures(result: Result | None, folder: Path) -> list[tuple[str, str]]:
    """Return each picture's address and its caption."""
    shown = result.pictures if result else ()
    return [(data_uri(read_bytes(folder / it.path), "svg"), it.caption) for it in shown]


def _prose(text: str) -> Markup:
    """Return ``text`` as HTML: double backticks are code, single stars emphasis."""
    told = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_EMPHASIS.sub(r"<em>\1</em>", told))  # noqa: S704  escaped before
