"""The page and the document of results: whole, alone, and the same from the same."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from tests.trainer.experiments.samples import NAME, all_finished, made_up
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine import report
from trainer.experiments.engine.cells import Scale
from trainer.experiments.engine.experiment import Verdict
from trainer.experiments.engine.report import duration, method, tally
from trainer.experiments.engine.results import write_results
from trainer.experiments.reproduction import page

LOADS = {"src", "srcset", "data", "poster", "background"}


class Read(HTMLParser):
    """Collects what a page loads, where its links lead, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name in LOADS:
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results in which one experiment, added to the list, was run."""
    monkeypatch.setitem(EXPERIMENTS, NAME, made_up())
    write_results(made_up(), all_finished(), folder=tmp_path, scale="full")
    return tmp_path


def write_report(folder: Path, *, scale: Scale = "full") -> Path:
    return report.write_report(EXPERIMENTS.values(), folder, scale=scale)


def read(path: Path) -> Read:
    found = Read()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def test_the_page_stands_alone(results: Path) -> None:
    found = read(write_report(results))
    assert len(found.loads) == 1
    assert found.loads[0].startswith("data:image/svg+xml;base64,")
    assert found.tags["script"] == found.tags["link"] == found.tags["iframe"] == 0
    style = write_report(results).read_text().partition("<style>")[2]
    assert "url(" not in style.partition("</style>")[0]
    assert "@import" not in style
    paper, *within = found.links
    assert paper == "https://arxiv.org/abs/1708.06733"
    assert within
    assert {it.removeprefix("#") for it in within} <= set(found.ids)


def test_the_page_warns_and_tells_numbers_goals_and_costs(results: Path) -> None:
    text = read(write_report(results)).text
    assert "deliberately backdoored models" in text
    for told in (
        *("error | on a slice", "0.20 %", "[0.11, 0.29] (6 seeds)", "0.5 %"),
        *("at most 0.50 %", "met", "A table", "A remark.", "not run yet"),
        *("seeds 0, 1, 2", "6 cells", "6 min on one core (2 min a seed)"),
        *("peak memory 300 MiB", "a processor, torch 2.15.0, fp32"),
    ):
        assert told in text, told


def test_what_was_not_run_is_listed_as_such(tmp_path: Path) -> None:
    text = " ".join(read(write_report(tmp_path)).text.split())
    document = page(tmp_path)
    for it in EXPERIMENTS.values():
        assert f"zoo experiment {it.name}: {it.title}" in text
        assert f"- `zoo experiment {it.name}`: {it.title}" in document
    assert "Goals: no goals." in document


def test_smoke_numbers_are_called_so_and_have_a_page_of_their_own(
    results: Path,
) -> None:
    before = write_report(results).read_bytes()
    write_results(made_up(), all_finished(1), folder=results, scale="quick")
    path = write_report(results, scale="quick")
    assert "its numbers mean nothing" in read(path).text
    assert write_report(results).read_bytes() == before
    assert "mean nothing" not in before.decode()


def test_hostile_words_are_words(results: Path) -> None:
    hostile = made_up(remark="<script>alert(1)</script> ``<b>``")
    write_results(hostile, all_finished(), folder=results, scale="full")
    path = write_report(results)
    assert read(path).tags["script"] == 0
    assert "<code>&lt;b&gt;</code>" in path.read_text()
    assert "<script>" not in page(results)


def test_a_remark_runs_no_script_and_shows_no_file(results: Path) -> None:
    hostile = made_up(remark="[press](javascript:alert(1)) ![](/etc/passwd)")
    write_results(hostile, all_finished(), folder=results, scale="full")
    found = read(write_report(results))
    assert not any("javascript" in it for it in found.links)
    assert len(found.loads) == 1


@pytest.mark.parametrize("verdict", ["met", "missed", "not resolved", "not measured"])
def test_every_verdict_is_told_in_words(verdict: Verdict, results: Path) -> None:
    write_results(
        made_up(verdict=verdict), all_finished(), folder=results, scale="full"
    )
    assert f"Goals: 1 {verdict}." in read(write_report(results)).text
    assert f"Goals: 1 {verdict}.\n" in page(results)


def test_a_figure_that_is_gone_is_a_local_error(results: Path) -> None:
    (results / "figures" / f"{NAME}-shares.svg").unlink()
    with pytest.raises(LocalError, match=r"shares\.svg"):
        write_report(results)


def test_the_document_shows_every_table_beside_the_paper(results: Path) -> None:
    text = page(results)
    claim = (
        r"| error \| on a slice | 0.20 % [0.11, 0.29] (6 seeds) | 0.5 % "
        "| at most 0.50 % | met |"
    )
    assert claim in text
    assert "| 0 -> 1 | 0.20 [0.11, 0.29] (6 seeds) | 0.10 |" in text
    assert f"](../results/figures/{NAME}-shares.svg)" in text
    assert page(results) == text


def test_the_documents_links_lead_to_its_headings(results: Path) -> None:
    text = page(results)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {
        re.sub(r"[^\w\- ]", "", it.lower()).strip().replace(" ", "-") for it in headings
    }
    linked = re.findall(r"\]\(#([^)]*)\)", text)
    assert linked
    assert set(linked) <= anchors


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_how_it_is_done(name: str) -> None:
    told = method(EXPERIMENTS[name])
    assert len(told) > 1
    assert not told[0].startswith("``")
    assert not any("Source:" in paragraph for paragraph in told)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min"),
        (3_599, "1 h 00 min"),
        (7_500, "2 h 05 min"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_verdicts_are_counted(results: Path) -> None:
    assert tally(Counter({"missed": 2, "met": 1})) == "1 met, 2 missed"
    assert "| 3 | 6 min | 1 met |" in page(results)
