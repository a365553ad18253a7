"""The report: one text in Markdown, and ``results/report.html``, made of it."""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from model_zoo.canonical import JsonObject
from trainer.experiments.engine.cells import Scale
from trainer.experiments.engine.experiment import Claim, Experiment
from trainer.experiments.engine.results import Result, read_result
from trainer.files import read_bytes, write_whole
from trainer.html import WARNING, data_uri, templates

HTML_NAME = "report.html"
SOURCE = "Source:"
VERDICTS = ("met", "missed", "not resolved", "not measured")
SECONDS_PER_MINUTE = 60
MINUTES_PER_HOUR = 60
_CODE = re.compile(r"``(.+?)``")


def write_report(
    experiments: Iterable[Experiment], folder: Path, *, scale: Scale = "full"
) -> Path:
    """Write the page of all results in ``folder``, in one step; return where it is.

    Raises:
        LocalError: a result is damaged, a figure is gone, or the disk is full.
    """
    path = folder / (HTML_NAME if scale == "full" else f"{scale}-{HTML_NAME}")
    body = _as_html(as_markdown(experiments, folder, scale=scale), folder)
    page = templates("trainer.experiments").get_template("results.html.j2")
    write_whole(path, page.render(warning=WARNING, scale=scale, body=body).encode())
    return path


def as_markdown(
    experiments: Iterable[Experiment],
    folder: Path,
    *,
    scale: Scale = "full",
    pictures: str = "",
) -> str:
    """Return the results in ``folder``, in the order of ``experiments``, as a text.

    Args:
        experiments: all of them; of those that were not run it says so.
        folder: of results; the same give the same text.
        scale: of the results.
        pictures: what leads from the text to ``folder``, with its slash.

    Raises:
        LocalError: a result is damaged.
    """
    results = {it: read_result(folder, it.name, scale=scale) for it in experiments}
    parts = [*_contents(results)]
    for it, result in results.items():
        if result:
            parts += _section(it, result, pictures)
    missing = [it for it, result in results.items() if result is None]
    if missing:
        parts.append("## Not run yet\n")
        lines = (f"- `zoo experiment {it.name}`: {it.title}\n" for it in missing)
        parts.append("".join(lines))
    return "\n".join(parts)


def method(experiment: Experiment) -> list[str]:
    """Return how it is done: what its module says of itself, without the source."""
    text = inspect.getdoc(sys.modules[experiment.measure.__module__]) or ""
    body = text.partition(f"\n{SOURCE}")[0].strip()
    first, *others = (" ".join(part.split()) for part in body.split("\n\n"))
    lead = first.removeprefix(f"``{experiment.name}``: ")
    return [lead[:1].upper() + lead[1:], *others]


def tally(verdicts: Mapping[str, int]) -> str:
    """Return verdicts in words: ``3 met, 1 missed``."""
    counts = [f"{verdicts[name]} {name}" for name in VERDICTS if verdicts.get(name)]
    return ", ".join(counts) or "no goals"


def duration(seconds: float) -> str:
    """Return a time as people say it: ``45 s``, ``12 min``, ``1 h 05 min``."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / SECONDS_PER_MINUTE)
    hours, rest = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours} h {rest:02} min" if hours else f"{minutes} min"


def _contents(results: Mapping[Experiment, Result | None]) -> Iterator[str]:
    total = Counter[str]()
    rows = []
    for it, result in results.items():
        if result is None:
            rows.append((it.name, it.section, "", "", "not run yet"))
            continue
        verdicts = Counter[str](claim.verdict for claim in result.summary.claims)
        total.update(verdicts)
        link = f"[{it.name}](#{_anchor(_heading(it))})"
        seeds, time = str(len(result.seeds)), duration(result.seconds)
        rows.append((link, it.section, seeds, time, tally(verdicts)))
    yield f"Goals: {tally(total)}.\n"
    yield _table(
        ("experiment", "in the paper", "seeds", "time on one core", "goals"), rows
    )


def _heading(it: Experiment) -> str:
    return f"{it.name}: {it.title}"


def _anchor(heading: str) -> str:
    """Return the anchor that a forge gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _section(it: Experiment, result: Result, pictures: str) -> Iterator[str]:
    yield f"## {_heading(it)}\n"
    yield f"In the paper: {it.section}.\n"
    for paragraph in method(it):
        yield f"{_escaped(paragraph)}\n"
    if result.summary.claims:
        header = ("measured", "ours", "paper", "goal", "verdict")
        yield _table(header, [_claim(claim) for claim in result.summary.claims])
    for table in result.summary.tables:
        yield f"**{_escaped(table.title)}**\n"
        yield _table(table.header, table.rows)
        if table.note:
            yield f"{_escaped(table.note)}\n"
    for picture in result.pictures:
        yield f"![{_escaped(picture.caption)}]({pictures}{picture.path})\n"
    for remark in result.summary.remarks:
        yield f"{_escaped(remark)}\n"
    yield f"Run: {'; '.join(_run_facts(result))}.\n"


def _run_facts(result: Result) -> Iterator[str]:
    """Yield on what the numbers rest and what they cost, a fact each."""
    each = duration(result.seconds / max(1, len(result.seeds)))
    yield f"seeds {', '.join(map(str, result.seeds))}"
    yield f"{result.cells:,} cells"
    yield f"{duration(result.seconds)} on one core ({each} a seed)"
    yield f"peak memory {result.peak_mib:,} MiB a process"
    yield from map(_machine, result.environments)


def _machine(environment: JsonObject) -> str:
    facts = [
        str(environment.get("cpu_model", "unknown processor")),
        f"torch {environment.get('torch', 'unknown')}",
    ]
    names = ("precision", "device")
    return ", ".join(
        facts + [str(environment[it]) for it in names if it in environment]
    )


def _claim(claim: Claim) -> tuple[str, ...]:
    ours = "" if claim.ours is None else claim.ours.text(claim.unit)
    paper = "" if claim.paper is None else f"{claim.paper} {claim.unit}"
    verdict = claim.verdict if claim.verdict == "met" else f"**{claim.verdict}**"
    return claim.what, ours, paper.strip(), claim.goal, verdict


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (
        " | ".join(map(_field, it)) for it in [header, ["---"] * len(header), *rows]
    )
    return "".join(f"| {line} |\n" for line in lines)


def _field(text: str) -> str:
    return _escaped(text).replace("|", r"\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Return ``text`` with its code spans as Markdown has them; no HTML, no picture."""
    parts = _CODE.split(text)  # every second one is code
    parts[::2] = [it.replace("<", "&lt;").replace("![", r"!\[") for it in parts[::2]]
    parts[1::2] = [f"`{it}`" for it in parts[1::2]]
    return "".join(parts)


def _as_html(text: str, folder: Path) -> Markup:
    """Return Markdown as HTML: headings have anchors, and ``folder``'s pictures are in.

    HTML in the text is text, and no link runs a script.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[at + 1].content))
        for image in (it for it in token.children or () if it.type == "image"):
            picture = read_bytes(folder / str(image.attrGet("src")))
            image.attrSet("src", data_uri(picture, "svg"))
    page = parser.renderer.render(tokens, parser.options, {})
    return Markup(page)  # noqa: S704  the parser escapes
