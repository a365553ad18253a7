"""Stock clients as victims: the real programs, each in an environment of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from model_zoo.canonical import JsonObject
from model_zoo.errors import LocalError
from model_zoo.http.responses import PublishedRelease
from model_zoo.statements.intoto import vouched_release
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import hub_path
from trainer.lab.actors.exchanges import Exchange
from trainer.lab.actors.processes import WATCHDOG_SECONDS
from trainer.lab.clients.environments import environment, run_apart
from trainer.lab.clients.naive import fetch
from trainer.lab.clients.victim import page_shown

CLIENTS = Path(__file__).parent
NOTHING, FAILED = "nothing to verify", "verification failed"
"""What refusals are called that come without a type."""

REQUIREMENTS = {
    "huggingface_hub-2.4.0": ("huggingface_hub==2.4.0",),
    # 1.1.1 imports OpenSSL and no longer brings it.
    "model_signing": ("model_signing==1.1.1", "pyOpenSSL==26.4.0"),
    "python-tuf": ("tuf==7.0.1",),
}
"""Environment -> what is installed into it; torch.hub is that of our own torch."""


class PeerRefusedError(Exception):
    """A stock client refused, in its own words; ``kind`` is its type of error."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def torch_hub(exchange: Exchange, folder: Path) -> Path:
    """Use torch.hub with the digest that stands on the model's page."""
    path = hub_path(exchange.wanted, page_shown(exchange).sha256)
    task = {
        "url": exchange.url + path,
        "folder": str(folder),
        "file_name": path.rpartition("/")[2],
    }
    return _answer(Path(sys.executable), "torch_hub", task, folder=folder)


def huggingface_hub(exchange: Exchange, folder: Path) -> Path:
    """Use huggingface_hub with the mirror as its endpoint."""
    wanted = exchange.wanted
    task = {
        "url": exchange.url,
        "folder": str(folder),
        "repository": f"{wanted.publisher}/{wanted.model}",
        "revision": wanted.version,
        "file_name": MODEL,
    }
    python = _python("huggingface_hub-2.4.0")
    return _answer(python, "huggingface", task, folder=folder)


def model_signing(exchange: Exchange, folder: Path) -> Path:
    """Download the files as one does by hand; let OpenSSF's verifier look at them."""
    wanted, release = exchange.wanted, folder / "release"
    release.mkdir()
    api = f"{exchange.url}/api/v1/models/{wanted.path}/releases/{wanted.version}"
    with httpx.Client(timeout=WATCHDOG_SECONDS, trust_env=False) as http:
        answer = http.get(api)
    if answer.is_error:
        raise PeerRefusedError(NOTHING, f"{answer.status_code}: {answer.text}")
    envelope, _ = PublishedRelease.read(answer.json()).envelopes()
    for file in vouched_release(envelope).manifest.files:
        fetch(f"{api}/files/{file.name}", release / file.name)
    fetch(f"{api}/model.sig", folder / "model.sig")
    key = folder / "oms.pub.pem"
    key.write_text(exchange.oms_key)
    program = _python("model_signing").parent / "model_signing"
    options = ["--signature", str(folder / "model.sig"), "--public_key", str(key)]
    done = _run([str(program), "verify", "key", str(release), *options], folder=folder)
    if done.returncode:
        raise PeerRefusedError(FAILED, done.stdout + done.stderr)
    return release / MODEL


def python_tuf(exchange: Exchange, folder: Path) -> Path:
    """Use python-tuf with the zoo's root pinned, and nothing of ours."""
    wanted, root = exchange.wanted, folder / "root.json"
    root.write_bytes(exchange.root)
    task = {
        "url": exchange.url,
        "visited": list(exchange.visited),
        "now": exchange.clock().isoformat(),
        "folder": str(folder),
        "root": str(root),
        "target": f"{wanted.publisher}/{wanted.model}/{wanted.version}/{MODEL}",
    }
    return _answer(_python("python-tuf"), "python_tuf", task, folder=folder)


PEERS: dict[str, Callable[[Exchange, Path], Path]] = {
    "torch.hub": torch_hub,
    "huggingface_hub": huggingface_hub,
    "model_signing": model_signing,
    "python-tuf": python_tuf,
}


def make_environments() -> None:
    """Make every peer's environment, so that no victim has to wait for it."""
    for name in REQUIREMENTS:
        _python(name)


def _python(name: str) -> Path:
    return environment(name, REQUIREMENTS[name])


def _answer(python: Path, client: str, task: JsonObject, *, folder: Path) -> Path:
    """Let a client do a task in its environment; return the file that it got."""
    command = [str(python), str(CLIENTS / f"{client}.py"), json.dumps(task)]
    done = _run(command, folder=folder)
    if done.returncode:
        msg = f"{client} did not run:\n{done.stderr[-2000:]}"
        raise LocalError(msg)
    said = json.loads(done.stdout.splitlines()[-1])
    if "file" not in said:
        raise PeerRefusedError(said["error"], said["message"])
    return Path(said["file"])


def _run(command: Sequence[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_apart(command, seconds=WATCHDOG_SECONDS, folder=folder)
