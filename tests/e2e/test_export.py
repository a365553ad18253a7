"""A conversion is a child: published with its provenance, and reached by a yank."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import zoo_served
from model_zoo import cli
from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_file
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.jobs import ExportSpec
from model_zoo.tuf.updater import Anchor
from trainer.lab.actors.processes import running
from trainer.networks import NETWORKS
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import seeded_globals

pytest.importorskip("onnx", reason="needs the onnx extra")
PASSPHRASE = "only for this test"  # noqa: S105  guards keys of one test
PARENT, CHILD, OTHER = "alice/digits@1", "alice/digits-onnx@1", "alice/digits-onnx@2"
Command = Callable[..., tuple[int, str, Any]]


@dataclass
class Scene:
    """A zoo in which alice has published a network, and her and a builder's keys."""

    folder: Path
    url: str
    zoo: ZooClient
    alice: SigningKey
    builder: SigningKey

    @property
    def weights(self) -> Path:
        return self.folder / "digits" / "model.safetensors"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "passphrase").write_text(PASSPHRASE)
    with zoo_served(folder) as url:
        anchor = Anchor.load(folder / "data" / "trust" / "root.json")
        with ZooClient(url, anchor=anchor) as zoo:
            scene = Scene(folder, url, zoo, _key(folder, "alice"), _key(folder, "lab"))
            zoo.bind_publisher("alice", scene.alice.public)
            zoo.bind_trainer("lab", scene.builder.public)
            scene.weights.parent.mkdir()
            with seeded_globals(1):
                scene.weights.write_bytes(to_bytes(NETWORKS["badnets-cnn"](10)))
            zoo.publish(PARENT, scene.weights.parent, key=scene.alice)
            yield scene


def _key(folder: Path, name: str) -> SigningKey:
    key = SigningKey.generate()
    key.save(folder / f"{name}.pem", passphrase=PASSPHRASE.encode())
    (folder / f"{name}.pub.pem").write_text(key.public.to_pem())
    return key


@pytest.fixture
def command(
    scene: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    root = scene.folder / "data" / "trust" / "root.json"
    monkeypatch.setenv("ZOO_URL", scene.url)
    monkeypatch.setenv("ZOO_TRUST_ROOT", str(root))
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: object) -> tuple[int, str, Any]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), err, json.loads(out) if out else None

    return run


def _ordered(scene: Scene, spec: ExportSpec) -> str:
    """Have a worker carry ``spec`` out; return the job."""
    job = scene.zoo.submit(spec, trainer="lab").id
    worker = [
        "model_zoo",
        "worker",
        f"--url={scene.url}",
        "--trainer=lab",
        f"--key={scene.folder / 'lab.pem'}",
        f"--passphrase-file={scene.folder / 'passphrase'}",
        f"--scratch={scene.folder / 'scratch'}",
    ]
    with running(worker, log=scene.folder / "worker.log"):
        done = scene.zoo.wait(job)
    assert done.state == "succeeded", done
    return job


def test_a_conversion_is_published_rebuilt_and_reached_by_its_parents_yank(  # noqa: PLR0915  one story
    scene: Scene, command: Command, tmp_path: Path
) -> None:
    out, alice = tmp_path / "onnx", scene.folder / "alice.pem"
    key = scene.folder / "lab.pem"
    code, told, made = command(
        "export", scene.weights.parent, "--to=onnx", "--out", out, "--key", key
    )
    assert code == 0, told
    parent = sha256_file(scene.weights)
    assert made["spec"]["parent"] == parent
    assert made["environment"]["converter"].startswith("torch.onnx")

    beside = tmp_path / "onnx.provenance.json"
    signed = ("--key", alice, "--provenance", beside)
    code, told, _ = command("publish", out, "--as", CHILD, *signed)
    assert code == 0, told

    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(made["spec"]))
    job = _ordered(scene, ExportSpec(parent=parent))
    pinned = ("--builder", scene.folder / "lab.pub.pem", "--spec", spec)
    code, told, _ = command(
        "publish", "--job", job, "--as", OTHER, "--key", alice, *pinned
    )
    assert code == 0, told

    code, told, pulled = command("pull", CHILD, "--to", tmp_path / "child")
    assert code == 0, told
    code, told, ordered = command("pull", OTHER, "--to", tmp_path / "other")
    assert code == 0, told
    assert pulled["verified"][0]["files"] == ordered["verified"][0]["files"]

    code, told, found = command(
        "rebuild", tmp_path / "child", "--parent", scene.weights
    )
    assert (code, found["identical"]) == (0, True), told

    code, _, lineage = command("lineage", PARENT)
    assert code == 0
    assert {kin["release"] for kin in lineage["descendants"]} == {CHILD, OTHER}

    why = ("--reason", "it has a backdoor", "--key", alice)
    assert command("yank", PARENT, *why)[0] == 0
    for child in (CHILD, OTHER):
        code, told, _ = command("pull", child, "--to", tmp_path / "late")
        assert code == 4
        assert f"{child} <- " in told
        assert "it has a backdoor" in told


def test_a_conversion_that_is_withdrawn_is_refused_under_any_name(
    scene: Scene, command: Command, tmp_path: Path
) -> None:
    """By its bytes: nobody should learn from it, whatever it is called."""
    folder = tmp_path / "onnx"
    code, told, _ = command("export", scene.weights, "--out", folder, "--opset=20")
    assert code == 0, told
    for name in ("alice/first@1", "alice/second@1"):
        scene.zoo.publish(name, folder, key=scene.alice)
    scene.zoo.yank("alice/first@1", reason="it has a backdoor", key=scene.alice)
    code, told, _ = command("pull", "alice/second@1", "--to", tmp_path / "second")
    assert code == 4
    assert "it has a backdoor" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.safetensors",), "cannot read"),
        ((".",), "0 weights files"),
        (("model.safetensors", "--to=caffe"), "format"),
        (("model.safetensors", "--network=other"), "network"),
        (("model.safetensors", "--opset=3"), "opset"),
        (("other.safetensors",), "safetensors"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    scene: Scene,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments != (".",):
        (tmp_path / "model.safetensors").write_bytes(scene.weights.read_bytes())
        (tmp_path / "other.safetensors").write_bytes(b"\x80\x04 pickled")
    code, said, _ = command("export", *arguments, "--out", tmp_path / "out")
    assert code in {1, 2, 4}
    assert told in said
    assert not (tmp_path / "out").exists()
