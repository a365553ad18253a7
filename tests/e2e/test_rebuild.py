"""The real service and two trainers, one of whom lies: drafts are checked by replay."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import zoo_served
from model_zoo import cli
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import TransportError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.jobs import Schedule, TrainSpec
from trainer.data import DATASETS
from trainer.lab.actors.processes import running

PASSPHRASE = b"only for this test"
SPEC = TrainSpec(
    held_out=59_000,
    classes=(0, 1, 2),
    schedule=Schedule(epochs=3, peak_learning_rate=0.1),
    seed=11,
)
WORKERS = {
    "honest": ["model_zoo", "worker"],
    "liar": ["trainer.lab.attacks.malicious_worker"],
}


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """Trainer -> the arguments that name its draft, and what its user pinned."""
    try:
        DATASETS["mnist"].ensure()
    except TransportError as error:
        pytest.skip(f"needs MNIST: {error}")
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "passphrase").write_bytes(PASSPHRASE)
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"kind": "train", **SPEC.to_object()}))
    with zoo_served(folder) as url, ZooClient(url) as client:
        yield {
            trainer: [
                _ordered(client, folder, url, trainer),
                f"--builder={folder / trainer}.pub.pem",
                f"--spec={spec}",
                f"--url={url}",
            ]
            for trainer in WORKERS
        }


def _ordered(client: ZooClient, folder: Path, url: str, trainer: str) -> str:
    key = SigningKey.generate()
    key.save(folder / f"{trainer}.pem", passphrase=PASSPHRASE)
    (folder / f"{trainer}.pub.pem").write_text(key.public.to_pem())
    client.bind_trainer(trainer, key.public)
    job = client.submit(SPEC, trainer=trainer).id
    command = [
        *WORKERS[trainer],
        f"--url={url}",
        f"--trainer={trainer}",
        f"--key={folder / trainer}.pem",
        f"--passphrase-file={folder / 'passphrase'}",
        f"--scratch={folder / f'{trainer}-scratch'}",
    ]
    with running(command, log=folder / f"{trainer}.log"):
        done = client.wait(job)
    assert done.state == "succeeded", done
    return job


def rebuild(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["rebuild", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert out, err
    return ended.value.code, json.loads(out)


def test_an_honest_trainers_draft_is_rebuilt_bit_for_bit(
    drafts: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = rebuild(capsys, *drafts["honest"])
    assert (status, told["identical"], told["environment"]) == (0, True, [])


def test_a_liars_draft_is_caught_by_one_segment(
    drafts: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = rebuild(capsys, *drafts["liar"], "--spot-check=1")
    assert (status, told["error"]) == (1, "ExpectationError")
    assert "does not end in checkpoint-" in told["message"]
    assert "not the builder's" not in told["message"]
