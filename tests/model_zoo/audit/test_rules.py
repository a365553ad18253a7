"""Each rule of the audit finds what it is for, and finds nothing in a good entry."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from model_zoo.audit.lists import ModelEntry
from model_zoo.audit.rules import ADVICE, RULES, Audit, audit
from model_zoo.errors import TransportError

WEIGHTS = b"weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SHA1 = hashlib.sha1(WEIGHTS, usedforsecurity=False).hexdigest()


def entry(**changes: Any) -> ModelEntry:  # noqa: ANN401
    """Return an entry in which no rule finds anything, but for ``changes``."""
    fields: dict[str, Any] = {
        "where": "models.json, entry 1",
        "name": "digits",
        "url": "https://weights.example/digits.safetensors",
        "digests": {"sha256": SHA256},
        "signature": "https://weights.example/digits.sig",
        "digest_source": "https://digests.example/digits",
    }
    return ModelEntry(**fields | changes)


def rules_of(found: Audit) -> list[str]:
    return [finding.rule for finding in found.entries[0].findings]


def test_every_rule_has_its_advice() -> None:
    assert list(RULES) == list(ADVICE)


def test_nothing_is_found_in_a_good_entry() -> None:
    found = audit([entry()])
    assert rules_of(found) == []
    assert found.entries[0].checked == "not checked"
    assert "not fetched" in found.entries[0].unseen


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"digests": {}}, ["no-digest"]),
        ({"digests": {"sha256": SHA1}}, ["bad-digest"]),
        ({"digests": {"sha256": "z" * 64}}, ["bad-digest"]),
        ({"digests": {"sha1": SHA1}}, ["weak-digest"]),
        ({"digests": {"md5": "0" * 32}}, ["weak-digest"]),
        ({"digests": {"sha1": SHA1, "sha256": SHA256}}, []),
        ({"digest_source": ""}, ["digest-beside-url"]),
        ({"digest_source": "https://weights.example/x"}, ["digest-beside-url"]),
        ({"digest_source": "http://digests.example/x"}, ["digest-beside-url"]),
        ({"digest_source": "https://[bad"}, ["digest-beside-url"]),
        ({"url": "http://weights.example/m.safetensors"}, ["plain-http"]),
        ({"url": "HTTP://weights.example/m.safetensors"}, ["plain-http"]),
        ({"url": "https://weights.example/m.PTH?x=1"}, ["unsafe-loader"]),
        ({"url": "https://weights.example/m.h5"}, ["unsafe-loader"]),
        ({"file": Path("m.joblib"), "digests": {}}, ["no-digest", "unsafe-loader"]),
        ({"loader": "torch.load"}, ["unsafe-loader"]),
        ({"has_yaml_tags": True}, ["unsafe-loader"]),
        ({"signature": ""}, ["no-signature"]),
        (
            {"problem": "no front matter", "digests": {}, "signature": ""},
            ["unreadable"],
        ),
    ],
)
def test_a_rule_finds_what_it_is_for(changes: dict[str, Any], rules: list[str]) -> None:
    assert rules_of(audit([entry(**changes)])) == rules


def test_a_file_beside_the_list_is_compared(tmp_path: Path) -> None:
    file = tmp_path / "digits.safetensors"
    file.write_bytes(WEIGHTS)
    good = audit([entry(file=file)])
    assert (good.entries[0].checked, rules_of(good)) == ("match", [])

    file.write_bytes(WEIGHTS[::-1])
    bad = audit([entry(file=file)])
    assert (bad.entries[0].checked, rules_of(bad)) == ("mismatch", ["digest-mismatch"])
    assert SHA256 in bad.entries[0].findings[0].told


def test_one_of_two_digests_that_is_wrong_is_a_mismatch(tmp_path: Path) -> None:
    file = tmp_path / "digits.safetensors"
    file.write_bytes(WEIGHTS)
    found = audit([entry(file=file, digests={"sha256": SHA256, "sha1": "0" * 40})])
    assert rules_of(found) == ["digest-mismatch"]


def test_a_file_that_vanished_was_not_compared(tmp_path: Path) -> None:
    found = audit([entry(file=tmp_path / "gone")])
    assert found.entries[0].checked == "not checked"
    assert "cannot read" in found.entries[0].unseen


def test_only_what_is_not_at_hand_is_fetched(tmp_path: Path) -> None:
    file = tmp_path / "digits.safetensors"
    file.write_bytes(WEIGHTS)
    asked = []

    def fetch(url: str, algorithms: Collection[str]) -> dict[str, str]:
        asked.append((url, list(algorithms)))
        return dict.fromkeys(algorithms, SHA256)

    found = audit([entry(file=file), entry(), entry(digests={})], fetch=fetch)
    assert asked == [(entry().url, ["sha256"])]
    assert [it.checked for it in found.entries] == ["match", "match", "not checked"]


def test_what_could_not_be_fetched_was_not_compared() -> None:
    def fetch(url: str, _: Collection[str]) -> dict[str, str]:
        raise TransportError(url)

    found = audit([entry()], fetch=fetch)
    assert found.entries[0].checked == "not checked"
    assert found.entries[0].unseen == entry().url


def test_the_report_counts_models_by_rule_and_says_what_to_do() -> None:
    report = audit([entry(), entry(digests={}), entry(digests={})]).to_report()
    assert report["models"] == 3
    assert report["files_compared"] == 0
    assert report["totals"]["no-digest"] == 2
    assert sum(report["totals"].values()) == 2
    assert report["advice"] == {"no-digest": ADVICE["no-digest"]}
    assert report["entries"][1]["findings"][0]["rule"] == "no-digest"
