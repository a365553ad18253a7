"""``zoo audit`` as its users call it."""

import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from model_zoo import cli
from tests.model_zoo.servers import answering, respond

WEIGHTS = b"weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
Audit = Callable[..., tuple[int, str, Any]]


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    def run(*arguments: object) -> tuple[int, str, Any]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["audit", *map(str, arguments), "--json"])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.err, json.loads(printed.out)

    return run


def write_list(folder: Path, **fields: str) -> Path:
    good = {
        "name": "digits",
        "url": "https://weights.example/digits.safetensors",
        "sha256": SHA256,
        "signature": "https://weights.example/digits.sig",
        "digest_source": "https://digests.example/",
    }
    path = folder / "models.json"
    path.write_text(json.dumps([good | fields]))
    return path


def test_a_list_in_which_nothing_is_found_is_a_success(
    audit: Audit, tmp_path: Path
) -> None:
    code, said, report = audit(write_list(tmp_path))
    assert code == 0
    assert "digits  not checked  nothing found" in said
    assert report["models"] == 1
    assert report["advice"] == {}


def test_what_is_found_is_told_counted_and_advised_on(
    audit: Audit, tmp_path: Path
) -> None:
    path = write_list(tmp_path, sha256="", url="http://weights.example/m.pt")
    code, said, report = audit(path)
    assert code == 1
    assert "digits  not checked  no-digest, unsafe-loader, plain-http" in said
    assert "plain-http: 1 of 1; serve and link it by https" in said
    assert report["totals"]["no-digest"] == 1


def test_nothing_is_fetched_unless_told_to(audit: Audit, tmp_path: Path) -> None:
    asked: list[str] = []

    def serve(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        respond(request, b"other weights")

    with answering(serve) as url:
        path = write_list(tmp_path, url=f"{url}/m.safetensors")
        _, _, before = audit(path)
        assert asked == []
        code, said, after = audit(path, "--fetch")
    assert asked == ["/m.safetensors"]
    assert before["totals"]["digest-mismatch"] == 0
    assert (code, after["totals"]["digest-mismatch"]) == (1, 1)
    assert "1 of 1 files compared" in said


def test_what_was_to_be_fetched_and_was_not_is_no_success(
    audit: Audit, tmp_path: Path
) -> None:
    def refuse(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"gone", status=404)

    with answering(refuse) as url:
        path = write_list(tmp_path, url=f"{url}/m.safetensors")
        code, said, _ = audit(path, "--fetch")
    assert code == 1
    assert "digits: not compared: " in said
    assert "404" in said


def test_an_entry_that_cannot_be_read_says_why(audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text("title,hash\ndigits,1234\n")
    code, said, _ = audit(path)
    assert code == 1
    assert "models.csv, row 2: expected fields of name, url" in said
    assert "found 'title', 'hash'" in said


def test_a_hostile_name_does_not_steer_the_terminal(
    audit: Audit, tmp_path: Path
) -> None:
    _, said, _ = audit(write_list(tmp_path, name="\x1b[2Jdigits"))
    assert "\x1b" not in said
    assert "\\x1b[2Jdigits" in said


def test_a_path_that_is_no_list_is_refused(audit: Audit, tmp_path: Path) -> None:
    code, said, _ = audit(tmp_path)
    assert code == 2
    assert "0 models" in said
