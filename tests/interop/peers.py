"""Peers: stock programs, each in an environment of its own that is made once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import environment

CLIENTS = Path(__file__).parent / "clients"
CLIENT_SECONDS = 120
NOWHERE = "http://127.0.0.1:9"
"""The discard port: who would leave this machine through it fails."""

HUGGINGFACE_HUB = ("0.36.2", "1.33.0", "2.4.0")
"""The last of each line when this was written; each drew its contract anew."""


def huggingface_hub(version: str) -> Path:
    """Return the interpreter that has this huggingface_hub."""
    needs = [f"huggingface_hub=={version}"]
    return environment(f"huggingface_hub-{version}", needs)


def model_signing() -> Path:
    """Return the command line of OpenSSF's model_signing.

    1.1.1 imports OpenSSL and no longer brings it.
    """
    needs = ["model_signing==1.1.1", "pyOpenSSL==26.4.0"]
    return environment("model_signing", needs).parent / "model_signing"


def cyclonedx() -> Path:
    """Return the interpreter that has CycloneDX's validator."""
    return environment("cyclonedx", ["cyclonedx-python-lib[json-validation]==11.12.0"])


def python_tuf() -> Path:
    """Return the interpreter that has python-tuf and nothing of ours."""
    return environment("python-tuf", ["tuf==7.0.1"])


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
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME"}
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return subprocess.run(
        command,
        env={name: value for name, value in os.environ.items() if name in kept}
        | dict.fromkeys(proxies, NOWHERE)
        | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        | variables,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
