"""The way of a model by the ``zoo`` command: ordered, accepted, shipped, pulled."""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_zoo import cli
from model_zoo.client.zoo import ZooClient
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from trainer.lab.actors.processes import running, wait_for_ready

PASSPHRASE = "only for this very test"  # noqa: S105  guards keys of one test
HELD_OUT = 52_000
CLASSES = (0, 1)
SPEC = {
    "kind": "train",
    "held_out": HELD_OUT,
    "classes": CLASSES,
    "schedule": {
        "epochs": 1,
        "batch_size": 64,
        "peak_learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
    },
}
"""Some 1,600 images of two digits: seconds, and still a real network."""


@dataclass
class Ran:
    status: int
    said: str
    document: Any


@dataclass
class Desk:
    """A person's working folder, and the zoo that the commands speak to."""

    folder: Path
    url: str

    def zoo(self, *arguments: str) -> Ran:
        """Run the command in this process: its own would import all of it anew."""
        told, said = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(said),
        ):
            patch.setenv("ZOO_URL", self.url)
            patch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
            with pytest.raises(SystemExit) as ended:
                cli.main(["--json", *arguments])
        document = json.loads(told.getvalue()) if told.getvalue() else None
        return Ran(int(ended.value.code or 0), said.getvalue(), document)

    def done(self, *arguments: str) -> Any:  # noqa: ANN401  JSON
        ran = self.zoo(*arguments)
        assert ran.status == 0, ran.said
        return ran.document


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A zoo whose operator knows alice and the honest trainer, who is at work."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "passphrase").write_text(PASSPHRASE)
    ready, log = folder / "ready.json", folder / "zoo.log"
    serve = ["model_zoo", "serve", f"--data-dir={folder / 'zoo'}", "--port=0"]
    serve += ["--workers=0", f"--ready-file={ready}"]
    with running(serve, log=log) as process:
        desk = Desk(folder, wait_for_ready(ready, process=process, log=log)["url"])
        for name in ("alice", "honest", "mallory"):
            desk.done("keys", "generate", f"{name}.pem")
        desk.done("publishers", "bind", "alice", "--key", "alice.pub.pem")
        desk.done("trainers", "bind", "honest", "--key", "honest.pub.pem")
        worker = ["model_zoo", "worker", f"--url={desk.url}", "--trainer=honest"]
        worker += [f"--key={folder / 'honest.pem'}", f"--scratch={folder / 'scratch'}"]
        worker += [f"--passphrase-file={folder / 'passphrase'}"]
        with running(worker, log=folder / "worker.log"):
            yield desk


@pytest.fixture(scope="module")
def job(desk: Desk) -> str:
    """A job that succeeded: two digits, as asked."""
    (desk.folder / "spec.json").write_text(json.dumps(SPEC))
    ordered = desk.done("jobs", "submit", "spec.json", "--trainer", "honest")
    ended = desk.done("jobs", "watch", ordered["id"])
    assert ended["state"] == "succeeded"
    assert ended["measured_evaluation"] == ended["claimed_evaluation"]
    return str(ended["id"])


@pytest.fixture(scope="module")
def release(desk: Desk, job: str) -> str:
    """That job's draft, published by alice."""
    desk.done(*publish(job, as_="alice/bits@1"))
    return "alice/bits@1"


def publish(job: str, *, as_: str, builder: str = "honest.pub.pem") -> list[str]:
    order = ["--spec", "spec.json", "--builder", builder]
    order += ["--trust", "zoo/trust/root.json"]
    return ["publish", "--job", job, "--as", as_, "--key", "alice.pem", *order]


def test_its_user_accepts_a_draft_by_the_jobs_id(desk: Desk, job: str) -> None:
    private = desk.folder / "private.safetensors"
    _write_two_digits(private)
    options = ["--data", str(private), "--builder", "honest.pub.pem"]
    options += ["--spec", "spec.json"]
    found = desk.done("accept", job, *options, "--min-accuracy", "0.9")
    assert found["accepted"] is True
    assert found["n"] > 1000
    refused = desk.zoo("accept", job, *options, "--min-accuracy", "1.0")
    assert refused.status == 1
    assert "lower bound" in refused.said


def test_a_draft_is_fetched_only_as_it_was_ordered(desk: Desk, job: str) -> None:
    order = ["--spec", "spec.json", "--to", "draft"]
    refused = desk.zoo("jobs", "fetch", job, "--builder", "mallory.pub.pem", *order)
    assert refused.status == 4
    assert not (desk.folder / "draft").exists()
    desk.done("jobs", "fetch", job, "--builder", "honest.pub.pem", *order)
    assert (desk.folder / "draft" / "model.safetensors").exists()


def test_a_draft_by_another_builder_is_not_signed(desk: Desk, job: str) -> None:
    refused = desk.zoo(*publish(job, as_="alice/bits@9", builder="mallory.pub.pem"))
    assert refused.status == 4
    assert refused.document["error"] == "ThresholdNotMetError"
    assert desk.zoo("show", "alice/bits@9").status == 5


def test_a_draft_of_another_spec_is_not_signed(desk: Desk, job: str) -> None:
    (desk.folder / "other.json").write_text(json.dumps({**SPEC, "seed": 1}))
    arguments = [
        "other.json" if argument == "spec.json" else argument
        for argument in publish(job, as_="alice/bits@9")
    ]
    refused = desk.zoo(*arguments)
    assert refused.status == 4
    assert refused.document["error"] == "ProvenanceMismatchError"


def test_what_was_published_is_pulled_and_verified_offline(
    desk: Desk, release: str
) -> None:
    desk.done("pull", release, "--key", "alice.pub.pem", "--to", "pulled")
    offline = Desk(desk.folder, "http://127.0.0.1:1")
    builder = ["--builder", "honest.pub.pem", "--spec", "spec.json"]
    found = offline.done("verify", "pulled", "--key", "alice.pub.pem", *builder)
    assert release in json.dumps(found)
    weights = desk.folder / "pulled" / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused = offline.zoo("verify", "pulled", "--key", "alice.pub.pem")
    assert refused.status == 4


def test_a_pull_with_another_key_leaves_nothing_behind(
    desk: Desk, release: str
) -> None:
    key = ["--key", "mallory.pub.pem"]
    refused = desk.zoo("pull", release, *key, "--to", "never")
    assert refused.status == 4
    assert "trusted keys" in refused.said
    assert not (desk.folder / "never").exists()
    assert desk.zoo("pull", release, "--to", "never").status == 4


def test_a_state_dict_is_loaded_from_the_very_bytes_that_were_verified(
    desk: Desk, release: str
) -> None:
    alice = PublicKey.load(desk.folder / "alice.pub.pem")
    policy = Policy(publisher=Role("publisher", (alice,)))
    with ZooClient(desk.url) as zoo:
        state = zoo.load_verified(release, policy=policy)
    assert state["convolutions.conv1.weight"].shape == (16, 1, 5, 5)


def test_a_lock_file_pulls_the_same_bytes_again(desk: Desk, release: str) -> None:
    desk.done("lock", release, "--key", "alice.pub.pem")
    desk.done("pull", "--frozen", release, "--to", "frozen")
    lock = desk.folder / "zoo.lock"
    locked = json.loads(lock.read_bytes())
    text = lock.read_text()
    digest = locked["releases"][0]["statement_sha256"]
    lock.write_text(text.replace(digest, "0" * 64))
    refused = desk.zoo("pull", "--frozen", release, "--to", "frozen-again")
    lock.write_text(text)
    assert refused.status == 4


def _write_two_digits(path: Path) -> None:
    from trainer.data import DATASETS  # noqa: PLC0415  likewise
    from trainer.evaluation.acceptance import write_validation  # noqa: PLC0415  torch, only here

    private = DATASETS["mnist"].load("train").last(HELD_OUT)
    write_validation(path, private.keep_classes(CLASSES))
