"""Peers: stock programs, each in an environment of its own that is made once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainer.lab.clients.environments import environment, run_apart
from trainer.lab.clients.peers import REQUIREMENTS

CLIENTS = Path(__file__).parent / "clients"
CLIENT_SECONDS = 120

HUGGINGFACE_HUB = ("0.36.2", "1.33.0", "2.4.0")
"""The last of each line when this was written; each drew its contract anew."""


def huggingface_hub(version: str) -> Path:
    """Return the interpreter that has this huggingface_hub."""
    needs = [f"huggingface_hub=={version}"]
    return environment(f"huggingface_hub-{version}", needs)


def model_signing() -> Path:
    """Return the command line of OpenSSF's model_signing."""
    python = environment("model_signing", REQUIREMENTS["model_signing"])
    return python.parent / "model_signing"


def cyclonedx() -> Path:
    """Return the interpreter that has CycloneDX's validator."""
    return environment("cyclonedx", ["cyclonedx-python-lib[json-validation]==11.12.0"])


def python_tuf() -> Path:
    """Return the interpreter that has python-tuf and nothing of ours."""
    return environment("python-tuf", REQUIREMENTS["python-tuf"])


def own() -> Path:
    """Return our own interpreter, whose torch is the stock one."""
    return Path(sys.executable)


def ask(python: Path, client: str, *arguments: str, **variables: str) -> Any:  # noqa: ANN401  JSON
    """Run a client in its environment and return its last line of output, parsed."""
    done = run(str(python), str(CLIENTS / f"{client}.py"), *arguments, **variables)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a peer's command where it reaches loopback only and none of our settings."""
    return run_apart(command, seconds=CLIENT_SECONDS, variables=variables)
