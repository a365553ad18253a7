"""Every option of every command, in every mode: it acts, or it is refused."""

import json
import runpy
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from model_zoo.cli import build, main
from model_zoo.client.lockfile import lock_releases, write_lock
from model_zoo.client.zoo import ZooClient
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.jobs import NoopSpec
from model_zoo.statements.policy import Policy
from tests.architecture.options import (
    RELEASE,
    TABLE,
    Acts,
    Chooses,
    Mode,
    Refused,
    ShownBy,
)
from tests.model_zoo.releases import write_files
from tests.model_zoo.servers import anchor_of, open_zoo
from tests.trainer.text.tiny import write_adapter

ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse battery"  # noqa: S105  guards keys of one test
ALICE, MALLORY, BUILDER = (SigningKey.generate() for _ in range(3))

MODES = [
    pytest.param(command, mode, id=f"{command}: {name}" if name else command)
    for command, modes in TABLE.items()
    for name, mode in modes.items()
]
PROBES = [
    pytest.param(mode, option, does, id=f"{command}: {name}: {option}")
    for command, modes in TABLE.items()
    for name, mode in modes.items()
    for option, does in mode.options.items()
    if isinstance(does, Acts | Refused)
]


@cache
def options_of_commands(*, several: bool = False) -> dict[str, set[str]]:
    """Return command -> its options, or those of them that can be given repeatedly."""
    script = runpy.run_path(str(ROOT / "docs" / "command_line.py"))
    root = typer.main.get_command(build())
    return {
        " ".join(words[1:]): {
            it.opts[0]
            for it in command.params
            if it.opts[0].startswith("--") and it.name != "help"
            if it.multiple or not several
        }
        for words, command in script["commands"](root, ("zoo",))
    }


def test_every_command_is_in_the_table_and_no_other() -> None:
    assert TABLE.keys() == options_of_commands().keys()


@pytest.mark.parametrize(("command", "mode"), MODES)
def test_the_table_says_of_every_option_what_it_does(command: str, mode: Mode) -> None:
    known = options_of_commands()[command]
    assert mode.options.keys() == known
    assert mode.words.startswith(command)
    for option, does in mode.options.items():
        if isinstance(does, Chooses):
            assert option in mode.words.split()
        if isinstance(does, ShownBy):
            file, _, test = does.test.partition("::")
            assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table") / "zoo"


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    with open_zoo(data_dir) as url, ZooClient(url, anchor=anchor_of(data_dir)) as zoo:
        zoo.bind_publisher("alice", ALICE.public)
        zoo.bind_trainer("lab", BUILDER.public)
        zoo.publish(RELEASE, write_files(data_dir.with_name("files")), key=ALICE)
        yield url


@pytest.fixture(scope="module")
def desk(url: str, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds whatever a mode's command line names."""
    folder = tmp_path_factory.mktemp("desk")
    for name, key in (("alice", ALICE), ("mallory", MALLORY), ("builder", BUILDER)):
        (folder / f"{name}.pub.pem").write_text(key.public.to_pem())
        key.save(folder / f"{name}.pem", passphrase=PASSPHRASE.encode())
    root = (data_dir / "trust/root.json").read_bytes()
    (folder / "root.json").write_bytes(root)
    (folder / "other.json").write_bytes(root + b"\n")
    spec = NoopSpec(note="mine").to_object()
    (folder / "spec.json").write_text(json.dumps({"kind": "noop", **spec}))
    (folder / "train.json").write_text('{"kind": "train", "seed": 1}')
    (folder / "list.json").write_text("[]")
    write_files(folder / "files")
    write_adapter(folder / "adapter")
    (folder / "taken").mkdir()
    (folder / "taken/thesis.txt").write_text("years of work")
    with ZooClient(url, anchor=anchor_of(data_dir)) as zoo:
        zoo.pull(RELEASE, policy=Policy(), to=folder / "held")
        write_lock(
            lock_releases(zoo, [ReleaseName.parse(RELEASE)]), folder / "rooted.lock"
        )
        with zoo.anchor.refreshed(Server(url)) as seen:
            versions = seen.versions()
            (folder / "targets.json").write_bytes(versions["targets"])
            seen.publisher("alice")
            role = seen.versions()["alice"]
        (folder / "resigned.json").write_text(json.dumps({"alice": json.loads(role)}))
    with ZooClient(url) as zoo:
        keyed = lock_releases(
            zoo,
            [ReleaseName.parse(RELEASE)],
            publisher=Role("publisher", (ALICE.public,)),
        )
        write_lock(keyed, folder / "keyed.lock")
    return folder


@pytest.fixture
def here(desk: Path, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder of somebody whose zoo is at hand."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("ZOO_URL", url)
    shutil.rmtree(desk / "new", ignore_errors=True)
    return desk


@pytest.mark.parametrize(("mode", "option", "does"), PROBES)
def test_it_acts_or_is_refused(
    mode: Mode,
    option: str,
    does: Acts | Refused,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words_with(mode, option, does), "--json"])
    out, err = capsys.readouterr()
    said = out + err
    assert "verified " not in said
    code, named = (2, option) if isinstance(does, Refused) else (does.code, does.said)
    assert ended.value.code == code, said
    assert named in said
    if mode.words.startswith(("pull", "lock", "jobs fetch")):
        assert not (here / "new").exists()


TYPED = [
    pytest.param(command, mode, option, id=f"{command}: {name}: {option}")
    for command, modes in TABLE.items()
    for name, mode in modes.items()
    for option in sorted(set(mode.words.split()) & mode.options.keys())
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("command", "mode", "option"), TYPED)
def test_of_an_option_given_twice_none_is_dropped(
    command: str, mode: Mode, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = mode.words.split()
    at = words.index(option)
    again = [it for it in words[at : at + 2] if it == option or it[:2] != "--"]
    code, said = ended([*words, *again], capsys)
    if option in options_of_commands(several=True)[command]:
        assert "more than once" not in said
    else:
        assert code == 2, said
        assert "given more than once" in said
        assert option in said


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "held", "--trust", "root.json", "--name", ""],
        ["pull", "--frozen", "--lock", "rooted.lock", "--to", "new", ""],
        ["evaluate", "files", "--trigger", ""],
    ],
)
@pytest.mark.usefixtures("here")
def test_an_empty_word_is_not_one_left_out(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = ended(words, capsys)
    assert code == 2, said
    assert "empty" in said
    assert "verified " not in said


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Return the exit code of a command line, and what was said."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    out, err = capsys.readouterr()
    return ended.value.code, out + err


def words_with(mode: Mode, option: str, does: Acts | Refused) -> list[str]:
    """Return the words of a mode with one option more, or with another value of it."""
    words = mode.words.split()
    also = does.also if isinstance(does, Acts) else ()
    given = [option, *([] if does.value is None else [does.value]), *also]
    for name in given[::2]:
        if name in words and name != "--root-key":
            at = words.index(name)
            del words[at : at + 2]
    return [*words, *given]
