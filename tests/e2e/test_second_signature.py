"""The runbook docs/how-to/demand-a-second-signature.md, followed by command."""

import json

import pytest

from tests.e2e.desk import Desk, Ran


@pytest.fixture
def alice(desk: Desk, zoo: str) -> Desk:
    """The name alice, delegated to her key and a scanner's, with two releases."""
    del zoo
    desk.key("scanner")
    assert delegate(desk, "alice", "scanner").code == 0
    for version in ("1", "2"):
        handed_in = desk.publish(f"alice/digits@{version}", "alice")
        assert handed_in.document["pending"]
        signed = cosign(desk, "scanner")
        assert signed.document["signed"] == f"the release alice/digits@{version}"
    return desk


def delegate(desk: Desk, first: str, second: str, *more: object) -> Ran:
    """Give alice's name two keys and a threshold of two."""
    keys = ("--key", desk.public(second), "--threshold", 2)
    return desk.delegate("alice", first, *keys, *more)


def cosign(desk: Desk, key: str) -> Ran:
    return desk.run("cosign", "alice", "--key", desk.folder / f"{key}.pem")


def test_a_yank_by_command_waits_and_is_cosigned(alice: Desk, zoo: str) -> None:
    key = ("--key", alice.folder / "alice.pem")
    handed_in = alice.done("yank", "alice/digits@1", "--reason", "a backdoor", *key)
    assert "not withdrawn yet" in handed_in.said
    (keyid,) = handed_in.document["waits_for"]
    assert f"waits for the holder of key {keyid[:16]}: zoo cosign" in handed_in.said
    assert alice.pull("alice/digits@1", "before").code == 0

    signed = cosign(alice, "scanner")

    assert "signed the withdrawal of alice/digits@1: a backdoor" in signed.said
    assert "it is done" in signed.said
    refused = alice.pull("alice/digits@1", "after")
    assert refused.code == 4
    assert "withdrawn by the publisher" in refused.said
    assert alice.pull("alice/digits@2", "other").code == 0
    assert alice.run("trust", "check", zoo).code == 0


def test_a_renewal_by_command_waits_and_is_cosigned(alice: Desk, zoo: str) -> None:
    renew = ("trust", "renew", "alice", "--key", alice.folder / "scanner.pem")
    handed_in = alice.done(*renew)
    assert "not renewed yet" in handed_in.said
    assert len(handed_in.document["waits_for"]) == 1
    assert cosign(alice, "alice").document == {
        "name": "alice",
        "signed": "the renewal of alice",
        "pending": False,
    }
    assert cosign(alice, "alice").code == 5, "nothing waits any more"
    assert alice.run("trust", "check", zoo).code == 0


def test_a_name_with_two_keys_gets_two_others(alice: Desk, zoo: str) -> None:
    for name in ("alice-new", "scanner-new", "mallory"):
        alice.key(name)
    resigned = alice.folder / "resigned.json"
    keys = [
        part
        for name in ("alice-new", "scanner-new")
        for part in ("--next-key", alice.public(name))
    ]
    alice.done(
        "trust", "renew", "alice", "--key", alice.folder / "alice-new.pem",
        *keys, "--threshold", 2, "--out", resigned,
    )  # fmt: skip
    with_it = ("--with", resigned)
    half = delegate(alice, "alice-new", "scanner-new", *with_it)
    assert half.code == 4, "the second of the new keys has not signed"
    alice.sign(resigned, "scanner-new")
    assert delegate(alice, "alice-new", "scanner-new", *with_it).code == 0

    assert alice.publish("alice/digits@3", "alice").code == 5, "the old key is out"
    assert alice.publish("alice/digits@3", "alice-new").document["pending"]
    assert cosign(alice, "scanner").code == 5, "and so is the other"
    assert cosign(alice, "scanner-new").code == 0
    for version in ("1", "2", "3"):
        assert alice.pull(f"alice/digits@{version}", version).code == 0
    assert alice.run("trust", "check", zoo).code == 0


def test_nobody_signs_resigned_roles_that_hold_more(alice: Desk, zoo: str) -> None:
    del zoo
    resigned = alice.folder / "resigned.json"
    renew = ("trust", "renew", "alice", "--key", alice.folder / "alice.pem")
    alice.done(*renew, "--out", resigned)
    whole = resigned.read_text()
    roles = json.loads(whole)
    del roles["alice"]["signed"]["targets"]["alice/digits/2/release.json"]
    resigned.write_text(json.dumps(roles))

    sign = ("trust", "sign", resigned, "--key", alice.folder / "scanner.pem")
    refused = alice.run(*sign)

    assert refused.code == 4
    assert "not the current version with this one change" in refused.said
    assert json.loads(resigned.read_text()) == roles, "not signed"
    resigned.write_text(whole)
    assert len(alice.done(*sign).document["signatures"]["alice"]) == 2


def test_a_key_to_come_is_named_for_the_operator_only(alice: Desk) -> None:
    renew = ("trust", "renew", "alice", "--key", alice.folder / "alice.pem")
    assert alice.run(*renew, "--next-key", alice.public("scanner")).code == 2
