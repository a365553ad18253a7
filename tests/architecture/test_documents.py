"""The documents are promises, too: each is held against what the program does."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from model_zoo import __version__, errors
from model_zoo.cli import build
from model_zoo.cli.output import exit_code
from model_zoo.documents import Document
from model_zoo.statements.jobs import (
    DetectorSpec,
    Draw,
    FineTuneSpec,
    NoopSpec,
    Poisoning,
    RepairSpec,
    ScenePoisoning,
    Schedule,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
)
from service.app import create_app
from service.http.errors import STATUS
from service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
README = ROOT / "README.md"
README_URL = "http://127.0.0.1:8000"
PAGES = sorted(
    {*ROOT.glob("*.md"), *DOCS.rglob("*.md")}, key=lambda path: path.as_posix()
)
METHODS = {"get", "head", "put", "post", "delete"}
START_SECONDS = 60.0
FIRST_PICTOGRAM = 0x2600

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"\bZOO_[A-Z_]+\b")
_RANDOM = re.compile(
    r"[0-9a-f]{32,}|MCow[A-Za-z0-9+/=]+|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
)


def blocks(page: Path, language: str) -> list[str]:
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for name, body in found if name == language]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_between_documents_resolves(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = DOCS / "index.md"
    decisions = DOCS / "adr" / "README.md"
    linked = {
        (start.parent / link.partition("#")[0]).resolve()
        for start in (index, decisions)
        for link in _LINK.findall(start.read_text(encoding="utf-8"))
    }
    assert {page for page in DOCS.rglob("*.md") if page != index} - linked == set()


def test_the_command_line_page_is_what_the_command_says_of_itself() -> None:
    run = subprocess.run(
        [sys.executable, "docs/command_line.py"],
        cwd=ROOT,
        env={name: v for name, v in os.environ.items() if not name.startswith("ZOO_")},
        capture_output=True,
        text=True,
        check=True,
    )
    page = REFERENCE / "command-line.md"
    told = "run: python docs/command_line.py > docs/reference/command-line.md"
    assert page.read_text(encoding="utf-8") == run.stdout, told


def test_every_route_is_documented_and_no_other(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path / "zoo"))
    try:
        paths = app.openapi()["paths"]
    finally:
        app.state.context.close()
    served = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method in operations.keys() & METHODS
    }
    text = (REFERENCE / "http-api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^### (?:`([A-Z]+ /\S+)`)", text, re.MULTILINE)
    assert sorted(documented) == sorted(served)


def test_every_status_of_an_error_is_documented() -> None:
    text = (REFERENCE / "http-api.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text, re.MULTILINE))
    assert {(str(s.value), kind.__name__) for kind, s in STATUS.items()} <= rows


def test_every_error_is_documented_with_its_exit_code() -> None:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", text, re.MULTILINE))
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type)
        and issubclass(kind, errors.ZooError)
        and kind is not errors.ZooError
    }
    told = {
        name: str(exit_code(kind.__new__(kind, "told"))) for name, kind in kinds.items()
    }
    assert documented == told


def test_every_field_of_a_spec_is_documented_with_its_default() -> None:
    text = (REFERENCE / "file-formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", text, re.MULTILINE)
    documented = dict(rows)
    learning = {**FineTuneSpec.model_fields, **TrainSpec.model_fields}
    fields = {
        **ScenePoisoning.model_fields,
        **DetectorSpec.model_fields,  # defaults that others have too are told below
        **StrengthenSpec.model_fields,
        **NoopSpec.model_fields,
        **RepairSpec.model_fields,
        **learning,
        **Schedule.model_fields,
        **Poisoning.model_fields,
        **Draw.model_fields,
        **TriggerSpec.model_fields,
    }
    for name, field in fields.items():
        shown = documented.get(name)
        if field.is_required():
            assert shown == "", name
        elif not isinstance(field.default, Document):
            assert shown == json.dumps(field.default), name
    # a repair's row is above that of train, which is a field of the same name
    assert ("defense", json.dumps(RepairSpec.model_fields["defense"].default)) in rows


def test_every_environment_variable_is_documented_and_no_other() -> None:
    folders = ("model_zoo", "service", "trainer", "containers")
    sources = [
        *(path for folder in folders for path in (ROOT / folder).rglob("*.py")),
        *ROOT.glob("docker-compose*.yml"),
    ]
    read = {
        name
        for path in sources
        for name in _VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    assert set(_VARIABLE.findall(text)) == read


def test_every_variable_that_a_document_names_exists() -> None:
    settings = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    known = set(_VARIABLE.findall(settings))
    named = {
        name
        for page in PAGES
        for name in _VARIABLE.findall(page.read_text(encoding="utf-8"))
    }
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_has_no_emoji_and_says_defence(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [letter for letter in text if ord(letter) >= FIRST_PICTOGRAM] == []
    prose = re.sub(r"`[^`]*`", "", _FENCE.sub("", text))
    assert re.findall(r"(?i)\bdefenses?\b", prose) == []


def test_a_number_of_a_decision_is_given_once() -> None:
    numbers = [path.name[:4] for path in sorted((DOCS / "adr").glob("[0-9]*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda p: p.stem)
def test_every_test_that_a_document_cites_exists(path: Path) -> None:
    cited = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text("utf-8"))
    missing = [
        f"{file}::{name}"
        for file, name in cited
        if not (ROOT / file).exists()
        or f"def {name}" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def zoo_lines() -> list[str]:
    """Return every line of a page or of a report that calls the command."""
    reports = sorted((ROOT / "trainer").rglob("*.html.j2"))
    code = "".join(
        block
        for report in reports
        for block in re.findall(r"<pre>.*?</pre>", report.read_text("utf-8"), re.DOTALL)
    )
    for page in PAGES:
        code += "".join(
            f"\n{body}" for _, body in _FENCE.findall(page.read_text("utf-8"))
        )
    return re.findall(r"(?:^|<pre>)\s*(?:\$ )?(zoo [^<\n]*)", code, re.MULTILINE)


def test_every_command_line_that_is_shown_names_what_exists() -> None:
    script = runpy.run_path(str(DOCS / "command_line.py"))
    root = typer.main.get_command(build())
    options = {
        words: {name for it in command.params for name in it.opts} | {"--json"}
        for words, command in script["commands"](root, ("zoo",))
    } | {("zoo", "--version"): {"--version"}}
    unknown = []
    for line in zoo_lines():
        words = line.replace("[", " ").replace("]", " ").split()
        known = [name for name in options if tuple(words[: len(name)]) == name]
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        if not known or given - options[known[0]]:
            unknown.append(line)
    assert unknown == []


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve a zoo from tmp_path / "zoo-data"; yield the environment of its users."""
    ready = tmp_path / "ready.json"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ZOO_")
    } | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ZOO_KEY_PASSPHRASE": "a passphrase of the tour",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "model_zoo", "serve"),
            *("--port=0", "--workers=0", f"--ready-file={ready}"),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready.exists():
                assert service.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            url = re.search(r"http://[\d.:]+", ready.read_text(encoding="utf-8"))
            assert url is not None
            yield environment | {"ZOO_URL": url[0]}
        finally:
            service.terminate()


def told_and_said(
    block: str, environment: dict[str, str], folder: Path
) -> Iterator[tuple[str, str]]:
    """Run a console block; yield what it shows and what came of each command."""
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        run = subprocess.run(
            ["/bin/sh", "-euc", command.replace(README_URL, environment["ZOO_URL"])],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}"
        yield f"$ {command}\n{shown}".strip(), f"$ {command}\n{run.stdout}".strip()


def test_the_readmes_first_commands_work_in_a_fresh_shell(tmp_path: Path) -> None:
    if not (Path(sys.prefix) / "bin" / "activate").exists():
        pytest.skip("not in a virtual environment, as make makes one")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (lines,) = blocks(README, "sh")
    system = {"PATH": os.defpath}
    assert shutil.which("zoo", path=system["PATH"]) is None
    run = subprocess.run(
        ["/bin/sh", "-euc", lines],
        cwd=tmp_path,
        env=system,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == (f"zoo {__version__}\n", "")


def test_the_readme_shows_what_its_commands_say(
    tour: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, and the README's lines use it")
    for block in blocks(README, "console"):
        for shown, said in told_and_said(block, tour, tmp_path):
            assert _RANDOM.sub("…", shown) == _RANDOM.sub("…", said)
    (code,) = blocks(README, "python")
    script = tmp_path / "client.py"
    script.write_text(code.replace(README_URL, tour["ZOO_URL"]), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=tour,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"It prints `{run.stdout.strip()}`" in README.read_text(encoding="utf-8")
