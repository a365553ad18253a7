"""The page docs/reproduction.md: every result as Markdown, beside the paper's.

Run as ``python -m trainer.experiments.engine.reproduction results``, its output is
``docs/reproduction.md``; a test compares the page with the results.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.experiments.engine.chapters import (
    Chapter,
    chapters,
    duration,
    run_facts,
    tally,
    total,
)
from trainer.experiments.engine.contract import Claim, Table
from trainer.experiments.engine.results import Result
from trainer.html import WARNING

ABOVE = "../results"
"""The folder of results as the page sees it."""

HEAD = f"""\
# Reproduction

This page is written by `python -m trainer.experiments.engine.reproduction results`
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
    told = chapters(folder)
    parts = [HEAD, *_contents(told)]
    for it in told:
        if it.result:
            parts += _chapter(it, it.result)
    missing = [it for it in told if it.result is None]
    if missing:
        parts.append("## Not run yet\n")
        parts.append(
            "\n".join(f"- `zoo experiment {it.name}`: {it.title}" for it in missing)
            + "\n"
        )
    return "\n".join(parts)


def _contents(told: Sequence[Chapter]) -> Iterator[str]:
    yield f"Goals: {tally(total(told))}.\n"
    rows = [
        (
            f"[{it.name}](#{_anchor(it)})" if it.result else it.name,
            it.section,
            str(len(it.result.seeds)) if it.result else "",
            duration(it.result.seconds) if it.result else "",
            tally(it.verdicts) if it.result else "not run yet",
        )
        for it in told
    ]
    header = ("experiment", "in the paper", "seeds", "time on one core", "goals")
    yield _table(header, rows)


def _anchor(it: Chapter) -> str:
    """Return the anchor that a forge gives to the chapter's heading."""
    kept = re.sub(r"[^\w\- ]", "", _heading(it).lower())
    return kept.strip().replace(" ", "-")


def _heading(it: Chapter) -> str:
    return f"{it.name}: {it.title}"


def _chapter(it: Chapter, result: Result) -> Iterator[str]:
    yield f"## {_heading(it)}\n"
    yield f"In the paper: {it.section}.\n"
    for paragraph in it.method:
        yield f"{_markdown(paragraph)}\n"
    if result.summary.claims:
        yield _table(
            ("measured", "ours", "paper", "goal", "verdict"),
            [_claim(claim) for claim in result.summary.claims],
        )
    for table in result.summary.tables:
        yield from _titled(table)
    for picture in result.pictures:
        yield f"![{_markdown(picture.caption)}]({ABOVE}/{picture.path})\n"
    for remark in result.summary.remarks:
        yield f"{_markdown(remark)}\n"
    yield f"Run: {'; '.join(run_facts(result))}.\n"


def _claim(claim: Claim) -> tuple[str, ...]:
    ours = "" if claim.ours is None else claim.ours.told(claim.unit)
    paper = "" if claim.paper is None else f"{claim.paper} {claim.unit}"
    verdict = claim.verdict if claim.verdict == "met" else f"**{claim.verdict}**"
    return claim.what, ours, paper.strip(), claim.goal, verdict


def _titled(table: Table) -> Iterator[str]:
    yield f"**{_markdown(table.title)}**\n"
    yield _table(table.header, table.rows)
    if table.note:
        yield f"{_markdown(table.note)}\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    told = ("| " + " | ".join(map(_field, line)) + " |" for line in lines)
    return "\n".join(told) + "\n"


def _field(text: str) -> str:
    return _markdown(text).replace("|", r"\|").replace("\n", " ")


def _markdown(text: str) -> str:
    """Return ``text`` with its code spans as Markdown has them, and no HTML."""
    return text.replace("``", "`").replace("<", "&lt;")


if __name__ == "__main__":
    main()
