"""The ``zoo`` command as its users call it: arguments in, words, JSON and codes out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import typer

from model_zoo import cli, errors
from model_zoo.cli.output import exit_code
from model_zoo.errors import ZooError
from tests.model_zoo.client.test_zoo import do_next_job
from tests.model_zoo.releases import (
    ALICE,
    BUILDER,
    MALLORY,
    NAME,
    SPEC,
    write_files,
    write_release,
)
from tests.model_zoo.servers import answering, respond

PASSPHRASE = "correct horse battery"  # noqa: S105  guards a key of one test


@dataclass
class Ran:
    code: int
    said: str
    document: Any


Zoo = Callable[..., Ran]


@pytest.fixture
def zoo_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    zoo_url: str,
    zoo_folder: Path,
    tmp_path: Path,
) -> Zoo:
    monkeypatch.setenv("ZOO_URL", zoo_url)
    monkeypatch.setenv("ZOO_TRUST_ROOT", str(zoo_folder / "trust" / "root.json"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)

    def run(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Ran(code, err, json.loads(out) if out else None)

    return run


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder of everybody's public keys, and alice's signing key."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, key in (("alice", ALICE), ("builder", BUILDER), ("mallory", MALLORY)):
        (folder / f"{name}.pub.pem").write_text(key.public.to_pem())
    ALICE.save(folder / "alice.pem", passphrase=PASSPHRASE.encode())
    return folder


def test_from_a_new_key_to_a_verified_folder(  # noqa: PLR0915  one story
    zoo_command: Zoo, keys: Path, tmp_path: Path
) -> None:
    made = zoo_command("keys", "generate", tmp_path / "carol.pem")
    assert made.code == 0
    public = tmp_path / "carol.pub.pem"
    shown = zoo_command("keys", "show", public)
    assert shown.document["keyid"] == made.document["keyid"]
    private = zoo_command("keys", "show", tmp_path / "carol.pem")
    assert private.document == shown.document

    bound = zoo_command("publishers", "bind", "carol", "--key", public)
    assert bound.document["keyid"] == made.document["keyid"]
    again = zoo_command(
        "publishers", "bind", "carol", "--key", keys / "mallory.pub.pem"
    )
    assert again.code == 5

    files = write_files(tmp_path / "files")
    sign = ("--as", "carol/digits@1", "--key", tmp_path / "carol.pem")
    assert zoo_command("publish", files, *sign).code == 0
    assert zoo_command("list").document["items"]
    assert zoo_command("show", "carol/digits").document["name"] == "carol/digits"
    assert zoo_command("show", "carol/digits@1").document["name"] == "carol/digits@1"

    to = tmp_path / "pulled"
    pulled = zoo_command("pull", "carol/digits", "--key", public, "--to", to)
    assert pulled.code == 0, pulled.said
    [verified] = pulled.document["verified"]
    assert verified["release"] == "carol/digits@1"
    assert verified["keyids"] == [made.document["keyid"]]
    assert "verified carol/digits@1" in pulled.said

    assert zoo_command("verify", to, "--key", public).code == 0
    refused = zoo_command("verify", to, "--key", keys / "mallory.pub.pem")
    assert refused.code == 4
    assert refused.document["error"] == "ThresholdNotMetError"

    lock = ("--lock", tmp_path / "zoo.lock")
    locked = zoo_command("lock", "carol/digits", "--key", public, *lock)
    assert locked.document["releases"][0]["name"] == "carol/digits@1"
    everything = zoo_command("pull", "--frozen", *lock, "--to", tmp_path / "all")
    assert everything.code == 0, everything.said
    assert (tmp_path / "all/carol/digits/1/release.json").is_file()
    one = ("carol/digits@1", "--to", tmp_path / "one")
    assert zoo_command("pull", "--frozen", *lock, *one).code == 0
    other = zoo_command("pull", "--frozen", *lock, "carol/other@1")
    assert (other.code, other.document["error"]) == (4, "PolicyNotMetError")


def test_a_job_is_ordered_watched_and_published(
    zoo_command: Zoo, keys: Path, tmp_path: Path, zoo_url: str
) -> None:
    trainer = ("trainers", "bind", "lab", "--key", keys / "builder.pub.pem")
    assert zoo_command(*trainer).code == 0
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "noop", **SPEC.to_object()}))
    job = zoo_command("jobs", "submit", spec, "--trainer", "lab").document["id"]
    assert zoo_command("jobs", "show", job).document["state"] == "queued"
    do_next_job(zoo_url, tmp_path / "made")
    watched = zoo_command("jobs", "watch", job)
    assert (watched.code, watched.document["state"]) == (0, "succeeded")
    assert "at work" in watched.said
    publish = ("publish", "--job", job, "--as", "alice/ordered@1")
    key = ("--key", keys / "alice.pem")
    unpinned = zoo_command(*publish, *key, "--spec", spec)
    assert (unpinned.code, unpinned.document["error"]) == (2, "InvalidSpecError")
    pinned = ("--spec", spec, "--builder", keys / "builder.pub.pem")
    assert zoo_command(*publish, *key, *pinned).code == 0
    policy = ("--key", keys / "alice.pub.pem", *pinned)
    pulled = zoo_command("pull", "alice/ordered@1", *policy, "--to", tmp_path / "to")
    assert pulled.code == 0, pulled.said
    assert zoo_command("verify", tmp_path / "to", *policy).code == 0


def test_a_cancelled_job_does_not_hold_what_was_expected(
    zoo_command: Zoo, tmp_path: Path, zoo_url: str
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"kind": "noop"}')
    job = zoo_command("jobs", "submit", spec, "--trainer", "lab").document["id"]
    listed = zoo_command("jobs", "list", "--state", "queued", "--trainer", "lab")
    assert [item["id"] for item in listed.document["items"]] == [job]
    assert zoo_command("jobs", "cancel", job).document["state"] == "cancelled"
    with_words = subprocess.run(
        [sys.executable, "-m", "model_zoo", "jobs", "watch", job],
        env=os.environ | {"ZOO_URL": zoo_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (with_words.returncode, with_words.stdout) == (1, "")
    assert "cancelled" in with_words.stderr
    assert "Traceback" not in with_words.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["pull", "alice/none@1", "--key", "K"], 5, "NotFoundError"),
        (["pull", "../x@1", "--key", "K"], 2, "InvalidSpecError"),
        (["pull", "alice/none@1", "--url", "http://10.0.0.1"], 2, "InvalidSpecError"),
        (
            ["pull", "alice/none@1", "--key", "K", "--threshold", 2],
            2,
            "InvalidSpecError",
        ),
        (["pull", "alice/none@1", "--key", "none"], 1, "LocalError"),
        (["verify", "none", "--key", "K"], 2, "InvalidSpecError"),
        (["lock", "alice/none@1"], 5, "NotFoundError"),
        (["jobs", "show", "../x"], 2, "InvalidSpecError"),
        (["list", "--token-file", "none"], 1, "LocalError"),
        (["publish", "--as", "alice/x@1", "--key", "K"], 2, "InvalidSpecError"),
        (["keys", "show", "none"], 1, "LocalError"),
        (["jobs", "submit", "none", "--trainer", "lab"], 1, "LocalError"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_a_refusal_has_its_code_its_name_and_no_traceback(
    zoo_command: Zoo, keys: Path, arguments: list[object], code: int, told: str
) -> None:
    key = keys / "alice.pub.pem"
    ran = zoo_command(*(key if value == "K" else value for value in arguments))
    assert ran.code == code, ran.said
    assert ran.document == {"error": told, "message": ran.document["message"]}
    assert ran.said.startswith("zoo: ")
    assert "Traceback" not in ran.said


def test_a_server_that_is_down_or_lies_has_its_own_code(
    zoo_command: Zoo, keys: Path
) -> None:
    key = ("--key", keys / "alice.pub.pem")

    def lie(request: BaseHTTPRequestHandler) -> None:
        respond(request, b'{"name": "alice/digits@1", "envelope": {}}')

    with answering(lie) as url:
        assert zoo_command("pull", NAME, *key, "--url", url).code == 4
    down = zoo_command("pull", NAME, *key, "--url", url)
    assert (down.code, down.document["error"]) == (3, "TransportError")


def test_wrong_usage_is_code_2(zoo_command: Zoo) -> None:
    assert zoo_command("no-such-command").code == 2
    assert zoo_command("publish").code == 2


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(errors) if name.endswith("Error"))
)
def test_every_error_has_an_exit_code(name: str) -> None:
    kind: type[ZooError] = getattr(errors, name)
    code = exit_code(kind.__new__(kind))
    assert code == 4 if issubclass(kind, errors.VerificationError) else code in range(6)


def test_a_damaged_folder_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], keys: Path, tmp_path: Path
) -> None:
    folder = write_release(tmp_path / "digits")
    with (folder / "config.json").open("r+b") as file:
        file.write(b"[")
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(folder), "--key", str(keys / "alice.pub.pem")])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (4, "")
    assert err.startswith("zoo: config.json: expected sha256 ")
    assert err.count("\n") == 1


def test_a_missing_extra_is_told_with_the_line_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs() -> None:
        raise ModuleNotFoundError(name="torch.nn")

    def commands(app: typer.Typer) -> None:
        app.command()(needs)

    class Plugin:
        def load(self) -> Callable[[typer.Typer], None]:
            return commands

    monkeypatch.setattr(cli, "entry_points", lambda **_: [Plugin()])
    cli._command.cache_clear()
    with pytest.raises(SystemExit) as ended:
        cli.main(["needs"])
    cli._command.cache_clear()
    assert ended.value.code == 1
    assert "pip install '.[trainer]'" in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_a_bug_and_not_hidden() -> None:
    error = ModuleNotFoundError(name="model_zoo.gone")
    with pytest.raises(ModuleNotFoundError):
        cli._missing_extra(error)


def test_the_bare_command_imports_nothing_heavy() -> None:
    code = """
import sys
from model_zoo.cli import main
try:
    main(["--help"])
except SystemExit:
    heavy = {"torch", "fastapi", "starlette", "sqlalchemy", "numpy", "safetensors"}
    sys.exit(" ".join(heavy & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "pull" in done.stdout


def test_ctrl_c_is_code_130_and_leaves_nothing(keys: Path, tmp_path: Path) -> None:
    asked = []

    def hang(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        time.sleep(20)

    with answering(hang) as url:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "model_zoo", "pull", str(NAME), "--url", url),
                *("--key", keys / "alice.pub.pem", "--to", tmp_path / "to"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        with child:
            deadline = time.monotonic() + 20
            while not asked and time.monotonic() < deadline:
                time.sleep(0.02)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert not (tmp_path / "to").exists()


def test_nobody_to_ask_for_a_passphrase_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ZOO_KEY_PASSPHRASE", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main(["keys", "generate", str(tmp_path / "k.pem")])
    assert ended.value.code == 1
    assert "--passphrase-file" in capsys.readouterr().err
    (tmp_path / "secret").write_text(PASSPHRASE + "\n")
    secret = ("--passphrase-file", str(tmp_path / "secret"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["keys", "generate", str(tmp_path / "k.pem"), *secret])
    assert ended.value.code == 0


def test_a_group_shows_its_help_to_people_also_after_it_was_asked_for_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["keys", "--json"])
    assert ended.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["keys"])
    assert "generate" in "".join(capsys.readouterr())
