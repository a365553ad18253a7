"""Options that were taken and dropped: each command ended with "verified" and exit 0.

Root, key and lock file can pin a release together: then all of them must hold. What
none of those at hand can honour is refused, and so is a file that is not there.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_zoo import cli
from model_zoo.client.zoo import ZooClient
from tests.model_zoo.releases import ALICE, BUILDER, MALLORY, SPEC, write_files
from tests.model_zoo.servers import anchor_of, open_zoo

NAME = "alice/digits@1"
PASSPHRASE = "correct horse battery"  # noqa: S105  guards a key of one test
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options") / "zoo"


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    with open_zoo(data_dir) as url, ZooClient(url, anchor=anchor_of(data_dir)) as zoo:
        zoo.bind_publisher("alice", ALICE.public)
        zoo.publish(NAME, write_files(data_dir.with_name("files")), key=ALICE)
        yield url


@pytest.fixture(scope="module")
def foreign_root(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The root of another zoo."""
    folder = tmp_path_factory.mktemp("foreign") / "zoo"
    with open_zoo(folder):
        return (folder / "trust/root.json").read_bytes()


@pytest.fixture(scope="module")
def desk(
    url: str,
    data_dir: Path,
    foreign_root: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of keys, roots, policies, a pulled release and its lock file."""
    folder = tmp_path_factory.mktemp("desk")
    keys = {"alice": ALICE, "mallory": MALLORY, "builder": BUILDER}
    for name, key in keys.items():
        (folder / f"{name}.pub.pem").write_text(key.public.to_pem())
    ALICE.save(folder / "alice.pem", passphrase=PASSPHRASE.encode())
    (folder / "root.json").write_bytes((data_dir / "trust/root.json").read_bytes())
    (folder / "foreign.json").write_bytes(foreign_root)
    (folder / "bob.json").write_text('{"publishers": ["bob"]}')
    (folder / "witnessed.json").write_text('{"cosignatures": 1}')
    spec = json.dumps({"kind": "noop", **SPEC.to_object()})
    (folder / "spec.json").write_text(spec)
    with pytest.MonkeyPatch.context() as patch:
        sit_down(patch, folder, url)
        for words in (
            ["pull", NAME, "--to", "held", "--trust", "root.json"],
            ["lock", NAME, "--key", "alice.pub.pem"],
        ):
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
            assert not ended.value.code
    return folder


def sit_down(patch: pytest.MonkeyPatch, folder: Path, url: str) -> None:
    patch.chdir(folder)
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
    patch.setenv("ZOO_URL", url)


@pytest.fixture
def command(
    url: str,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Command:
    """The ``zoo`` command in a copy of that folder."""
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    sit_down(monkeypatch, tmp_path, url)

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return run


ROOT = ("--trust", "root.json")
KEY = ("--key", "alice.pub.pem")
BUILT = ("--builder", "builder.pub.pem")


@pytest.mark.parametrize("first", [("pull", NAME, "--to", "new"), ("verify", "held")])
@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        pytest.param((*ROOT, *KEY, "--policy", "bob.json"), 4, "bob", id="policy"),
        pytest.param((*ROOT, *KEY, "--policy", "none"), 1, "none", id="no policy"),
        pytest.param((*KEY, "--policy", "none"), 1, "none", id="no policy, key"),
        pytest.param((*KEY, "--policy", "bob.json"), 4, "bob", id="policy, key"),
        pytest.param(
            (*KEY, "--policy", "witnessed.json"), 2, "cosignatures", id="witness, key"
        ),
        pytest.param((*ROOT, "--builder", "none"), 1, "none", id="no builder"),
        pytest.param((*ROOT, *BUILT), 4, "provenance", id="builder"),
        pytest.param((*ROOT, *BUILT, "--spec", "none"), 1, "none", id="no spec"),
        pytest.param((*ROOT, "--spec", "spec.json"), 2, "builder", id="spec alone"),
        pytest.param((*KEY, "--spec", "spec.json"), 2, "builder", id="spec, key"),
        pytest.param((*ROOT, "--threshold", 5), 2, "--threshold", id="threshold"),
        pytest.param((*ROOT, "--threshold", 1), 2, "--threshold", id="threshold of 1"),
        pytest.param((*ROOT, *KEY, "--threshold", 5), 2, "threshold", id="5 of 1"),
        pytest.param(
            (*ROOT, "--key", "mallory.pub.pem"), 4, "publisher", id="another key"
        ),
        pytest.param(
            (*KEY, "--trust", "foreign.json"), 4, "timestamp", id="another root"
        ),
        pytest.param((*KEY, "--trust", "none"), 1, "none", id="no root"),
        pytest.param(
            (*KEY, "--allow-withdrawn", NAME), 2, "--allow-withdrawn", id="override"
        ),
        pytest.param(
            (*ROOT, "--allow-withdrawn", "alice/other@1"), 2, "other", id="overridden"
        ),
    ],
)
def test_it_acts_or_is_refused(
    command: Command,
    first: tuple[str, ...],
    options: tuple[object, ...],
    code: int,
    named: str,
) -> None:
    found, said = command(*first, *options)
    assert "verified " not in said
    assert found == code, said
    assert named in said
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        pytest.param(("--trust", "foreign.json"), 4, "timestamp", id="another root"),
        pytest.param(("--trust", "none"), 1, "none", id="no root"),
        pytest.param(("--policy", "bob.json"), 4, "bob", id="policy"),
        pytest.param(("--policy", "witnessed.json"), 2, "cosignatures", id="witness"),
        pytest.param(
            (*ROOT, "--policy", "witnessed.json"), 4, "cosignatures", id="witness, root"
        ),
        pytest.param(("--key", "alice.pub.pem"), 2, "--key", id="key"),
        pytest.param(("--threshold", 1), 2, "--threshold", id="threshold"),
        pytest.param(("--builder", "none"), 1, "none", id="no builder"),
        pytest.param(("--builder", "builder.pub.pem"), 4, "provenance", id="builder"),
        pytest.param(("--spec", "spec.json"), 2, "builder", id="spec"),
        pytest.param(("--allow-withdrawn", NAME), 2, "--allow-withdrawn", id="allow"),
        pytest.param(("--lock", "none"), 1, "none", id="no lock"),
    ],
)
def test_it_acts_or_is_refused_beside_a_lock_file(
    command: Command, options: tuple[object, ...], code: int, named: str
) -> None:
    found, said = command("pull", "--frozen", "--to", "new", *options)
    assert "verified " not in said
    assert found == code, said
    assert named in said
    assert not list(Path("new").rglob("*.safetensors"))


def test_what_the_environment_says_for_all_commands_is_refused_by_none(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TRUST_ROOT", "root.json")
    assert command("trust", "show", "root.json")[0] == 0
    found, said = command("trust", "show", "root.json", *ROOT)
    assert (found, "--trust" in said) == (2, True)


def test_a_lock_file_is_for_frozen_pulls(command: Command) -> None:
    found, said = command("pull", NAME, *ROOT, "--lock", "zoo.lock", "--to", "new")
    assert (found, "--lock" in said, "verified " in said) == (2, True, False)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("files", "--builder", "none"), "--builder"),
        (("files", "--spec", "none"), "--spec"),
        (("--job", "0" * 32, "--provenance", "none"), "--provenance"),
    ],
)
def test_nothing_is_published_with_options_of_the_other_way(
    command: Command, options: tuple[str, ...], named: str
) -> None:
    write_files(Path("files"))
    found, said = command(
        "publish", *options, "--as", "alice/new@1", "--key", "alice.pem", *ROOT
    )
    assert (found, named in said) == (2, True), said
    assert command("show", "alice/new@1")[0] == 5


def test_under_root_and_key_what_both_vouch_for_is_verified(command: Command) -> None:
    assert command("pull", NAME, *ROOT, *KEY, "--to", "new")[0] == 0
    found, said = command("verify", "new", *ROOT, *KEY)
    assert found == 0, said
    assert ALICE.public.keyid in said
    assert "as of" in said
