"""What was pulled under a root is verified later, with no network at all."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_zoo.client.trusted_pull import verify_folder
from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import (
    ExpiredMetadataError,
    PolicyNotMetError,
    VerificationError,
    WrongReleaseError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.policy import Policy
from model_zoo.tuf.evidence import read_evidence
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import PULLED

POLICY = Policy()
WEEK = 7


def at(anchor: Anchor, **ahead: float) -> Anchor:
    """Return the same pinned root at a machine whose clock is ahead or behind."""

    def clock() -> datetime:
        return system_clock() + timedelta(**ahead)

    return Anchor(root=anchor.root, cache=anchor.cache, clock=clock)


def test_a_pulled_folder_is_verified_with_no_network(
    pulled: Path, anchor: Anchor
) -> None:
    found = verify_folder(pulled, anchor=anchor, policy=POLICY)

    assert found.statement.release == PULLED
    assert found.as_of is not None
    assert abs(found.as_of - system_clock()) < timedelta(hours=1)


def test_its_roles_may_have_died_meanwhile(pulled: Path, anchor: Anchor) -> None:
    """It is judged at the moment of the evidence: the timestamp lived for a day."""
    verify_folder(pulled, anchor=at(anchor, days=WEEK - 1), policy=POLICY)


def test_evidence_older_than_the_policy_allows_is_refused(
    pulled: Path, anchor: Anchor
) -> None:
    with pytest.raises(ExpiredMetadataError, match="pull it again"):
        verify_folder(pulled, anchor=at(anchor, days=WEEK + 1), policy=POLICY)
    patient = Policy(max_age_seconds=30 * 24 * 3600)
    verify_folder(pulled, anchor=at(anchor, days=WEEK + 1), policy=patient)
    strict = Policy(max_age_seconds=60)
    with pytest.raises(ExpiredMetadataError):
        verify_folder(pulled, anchor=at(anchor, seconds=120), policy=strict)


@pytest.mark.parametrize("days", [-365, -1, 365])
def test_a_clock_that_is_wrong_by_much_is_told(
    pulled: Path, anchor: Anchor, days: int
) -> None:
    with pytest.raises(ExpiredMetadataError) as refused:
        verify_folder(pulled, anchor=at(anchor, days=days), policy=POLICY)
    assert ("set the clock" in str(refused.value)) == (days < 0)


@pytest.mark.parametrize("days", [2, 365])
def test_with_a_clock_that_is_ahead_nothing_is_pulled(
    zoo_url: str, once: Path, anchor: Anchor, days: int, tmp_path: Path
) -> None:
    """The same as a timestamp that nobody refreshed for so long."""
    assert once.exists()
    ahead = at(anchor, days=days)
    with (
        ZooClient(zoo_url, anchor=ahead) as zoo,
        pytest.raises(ExpiredMetadataError),
    ):
        zoo.pull(PULLED, policy=POLICY, to=tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_clock_that_is_a_year_behind_is_refused_on_line_and_off_line(
    zoo_url: str, pulled: Path, anchor: Anchor, tmp_path: Path
) -> None:
    """No timestamp is dead for a clock behind it; the zoo's word of when shows it."""
    behind = at(anchor, days=-365)
    with (
        ZooClient(zoo_url, anchor=behind) as zoo,
        pytest.raises(ExpiredMetadataError, match="set the clock"),
    ):
        zoo.pull(PULLED, policy=POLICY, to=tmp_path / "to")
    assert not (tmp_path / "to").exists()
    with pytest.raises(ExpiredMetadataError, match="set the clock"):
        verify_folder(pulled, anchor=behind, policy=POLICY)


def test_another_name_is_not_what_the_evidence_proves(
    pulled: Path, anchor: Anchor
) -> None:
    other = ReleaseName("alice", "offline", "2")
    with pytest.raises(WrongReleaseError):
        verify_folder(pulled, anchor=anchor, policy=POLICY, name=other)


def test_a_policy_names_the_publishers(pulled: Path, anchor: Anchor) -> None:
    with pytest.raises(PolicyNotMetError, match="somebody else"):
        verify_folder(pulled, anchor=anchor, policy=Policy(publishers=("alicia",)))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "release.json", "trust.json"]
)
@pytest.mark.parametrize("change", ["a bit", "cut", "gone", "a file more"])
def test_a_changed_folder_is_refused(
    pulled: Path, anchor: Anchor, name: str, change: str
) -> None:
    path = pulled / name
    data = bytearray(path.read_bytes())
    if change == "a bit":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif change == "cut":
        path.write_bytes(data[:-1])
    elif change == "gone":
        path.unlink()
    else:
        (pulled / f"{name}.more.json").write_bytes(b"{}")
    with pytest.raises(VerificationError):
        verify_folder(pulled, anchor=anchor, policy=POLICY)


def test_another_pinned_root_believes_none_of_it(pulled: Path, anchor: Anchor) -> None:
    root = json.loads(anchor.root)
    root["signatures"] = []
    other = Anchor(root=json.dumps(root).encode(), cache=anchor.cache)

    with pytest.raises(VerificationError):
        verify_folder(pulled, anchor=other, policy=POLICY)


Change = Callable[[bytes], bytes]


def _next_digit(data: bytes) -> bytes:
    """Change the first digit of a hash, a key or a signature."""
    for mark in (b'"sha256":"', b'"sig":"', b'"public":"', b'key","', b"PUBLIC"):
        place = data.find(mark)
        if place >= 0:
            place += len(mark)
            digit = b"0" if data[place : place + 1] != b"0" else b"1"
            return data[:place] + digit + data[place + 1 :]
    return data[:-2] + b"  "


TAMPERING: dict[str, Change] = {
    "emptied": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one digit": _next_digit,
    "another file": lambda _: b"{}",
}


def edit(pulled: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = pulled / "trust.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(json.dumps(document).encode())


def tamper(pulled: Path, name: str, change: Change | None) -> None:
    """Change one file of the evidence, or take it out."""

    def apply(document: dict[str, Any]) -> None:
        data = base64.b64decode(document["files"].pop(name))
        if change is not None:
            document["files"][name] = base64.b64encode(change(data)).decode()

    edit(pulled, apply)


def is_believed(pulled: Path, anchor: Anchor) -> bool:
    try:
        verify_folder(pulled, anchor=anchor, policy=POLICY)
    except VerificationError:
        return False
    return True


def test_each_file_of_the_evidence_is_needed_and_none_may_be_changed(
    once: Path, anchor: Anchor, tmp_path: Path
) -> None:
    names = set(read_evidence(once).files) - {"tuf/metadata/1.root.json"}  # pinned
    assert len(names) >= 5, "timestamp, snapshot, targets, role, bundle"
    for number, name in enumerate(sorted(names)):
        for tampering, change in {**TAMPERING, "gone": None}.items():
            folder = tmp_path / f"{number}-{tampering}"
            shutil.copytree(once, folder)
            tamper(folder, name, change)
            assert not is_believed(folder, anchor), (name, tampering)


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.pop("log"),
        lambda it: it.update(log={}),
        lambda it: it.update(files={}),
        lambda it: it.update(format=2),
        lambda it: it.update(release="mallory/offline@1"),
        lambda it: it["files"].update(x="no base64!"),
        lambda it: it.update(extra=1),
    ],
    ids=["no log", "empty log", "no files", "format", "release", "base64", "extra"],
)
def test_evidence_that_is_none_is_refused(
    pulled: Path, anchor: Anchor, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(pulled, change)
    with pytest.raises(VerificationError):
        verify_folder(pulled, anchor=anchor, policy=POLICY)


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """Yield the way to every string in a document."""
    if isinstance(value, str):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from leaves(inner, *path, key)
    for index, inner in enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, *path, index)


def test_no_letter_of_the_logs_proof_may_change(
    once: Path, anchor: Anchor, tmp_path: Path
) -> None:
    document = json.loads((once / "trust.json").read_bytes())
    ways = list(leaves(document["log"]))
    assert len(ways) > 3
    for number, way in enumerate(ways):
        changed = json.loads(json.dumps(document))
        *above, last = ("log", *way)
        parent = changed
        for step in above:
            parent = parent[step]
        text = parent[last]
        middle = len(text) // 2
        letter = "A" if text[middle] != "A" else "B"
        parent[last] = text[:middle] + letter + text[middle + 1 :]
        folder = tmp_path / str(number)
        shutil.copytree(once, folder)
        (folder / "trust.json").write_text(json.dumps(changed))
        assert not is_believed(folder, anchor), way
