"""The lines of docs/how-to/verify-a-release-yourself.md, run as they stand."""

import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from model_zoo.canonical import canonical_json
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from tests.model_zoo.releases import ALICE, MALLORY, NAME, write_files
from tests.model_zoo.servers import (
    NO_AUTHORITY,
    anchor_of,
    answering,
    open_zoo,
    respond,
)

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "verify-a-release-yourself.md"

Done = subprocess.CompletedProcess[str]

LIES = {
    "tampered file": "was changed after it was signed",
    "changed statement": "InvalidSignature",
    "other release": "signed, but not as alice/digits@1",
}


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """The page's Python, in a file."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "verify.py").write_text(code)
    return tmp_path / "verify.py"


def run(lines: Path, url: str, *, key: SigningKey = ALICE) -> Done:
    pem = lines.with_name("key.pub.pem")
    pem.write_text(key.public.to_pem())
    return subprocess.run(
        [sys.executable, lines, url, str(NAME), pem],
        capture_output=True,
        text=True,
        check=False,
    )


def test_they_are_at_most_twenty_and_import_three_packages(lines: Path) -> None:
    code = [line for line in lines.read_text().splitlines() if line.strip()]
    assert len(code) <= 20
    imports = re.findall(
        r"^(?:import|from) (.+?)(?: import .*)?$", "\n".join(code), re.MULTILINE
    )
    modules = {
        name.strip().split(".")[0] for line in imports for name in line.split(",")
    }
    assert modules - sys.stdlib_module_names == {"httpx", "cryptography"}


def test_they_accept_a_release_of_the_real_service(lines: Path, tmp_path: Path) -> None:
    from model_zoo.client.zoo import ZooClient  # noqa: PLC0415  publishes, never verifies

    with open_zoo(tmp_path / "zoo") as url:
        with ZooClient(url, anchor=anchor_of(tmp_path / "zoo")) as zoo:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.publish(NAME, write_files(tmp_path / "files"), key=ALICE)
        done = run(lines, url)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("verified") == 2
        assert "InvalidSignature" in run(lines, url, key=MALLORY).stderr
        for kind, told in LIES.items():
            refused = run_against_a_liar(lines, url, kind)
            assert refused.returncode == 1, kind
            assert told in refused.stderr


def run_against_a_liar(lines: Path, url: str, kind: str) -> Done:
    """Run them against a proxy that changes what the real service says."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = httpx.get(
            url + request.path.replace("@", ""), verify=NO_AUTHORITY
        ).content
        if kind == "tampered file" and "/files/" in request.path:
            body = body.replace(b"badnets", b"BADNETS").replace(b"\x3f", b"\x40")
        if kind == "changed statement" and "/files/" not in request.path:
            body = re.sub(rb'"payload":"....', b'"payload":"AAAA', body)
        if kind == "other release" and "/files/" not in request.path:
            manifest = manifest_of(lines.parent / "files")
            statement = ReleaseStatement(ReleaseName("alice", "digits", "0"), manifest)
            envelope = sign_release(statement, ALICE).to_object()
            body = canonical_json({"envelope": envelope})
        respond(request, body)

    with answering(answer) as liar:
        return run(lines, liar)
