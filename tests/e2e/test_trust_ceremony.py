"""The runbooks of docs/how-to, followed by command: ceremony, rotation, recovery."""

import json
from pathlib import Path

from tests.e2e.desk import HOLDERS, Desk
from tests.model_zoo.servers import open_zoo


def test_a_zoo_with_a_real_root_publishes_and_is_pulled_from(
    desk: Desk, zoo: str
) -> None:
    assert not {"targets.pem", *(f"{name}.pem" for name in HOLDERS)} & {
        path.name for path in (desk.folder / "server").iterdir()
    }
    assert desk.publish("alice/digits@1", "alice").code == 5, "nobody delegated yet"
    assert desk.delegate("alice", "alice").code == 0
    assert desk.publish("alice/digits@1", "alice").code == 0
    assert desk.pull("alice/digits@1", "out").code == 0
    verified = desk.done("verify", desk.folder / "out")
    assert "later yanks unseen" in verified.said
    assert verified.document["verified"][0]["release"] == "alice/digits@1"
    shown = desk.done("trust", "show").document
    assert shown["root"]["version"] == 1
    assert shown["targets"]["version"] == 2
    assert desk.run("trust", "check", zoo).code == 0


def test_a_publisher_gets_a_new_key_without_a_moment_in_which_nothing_verifies(
    desk: Desk, zoo: str
) -> None:
    del zoo
    desk.delegate("alice", "alice")
    desk.publish("alice/digits@1", "alice")
    desk.key("alice-new")
    alone = desk.delegate("alice", "alice-new")
    assert alone.code == 4, "her role would be signed by a key that counts no more"
    handed = desk.folder / "resigned.json"
    desk.done(
        "trust", "renew", "alice", "--key", desk.folder / "alice-new.pem", "--out",
        handed,
    )  # fmt: skip
    assert desk.delegate("alice", "alice-new", "--with", handed).code == 0
    assert desk.publish("alice/digits@2", "alice").code == 5, "the old key is out"
    assert desk.publish("alice/digits@2", "alice-new").code == 0
    assert desk.pull("alice/digits@1", "one").code == 0
    assert desk.pull("alice/digits@2", "two").code == 0


def test_the_operator_withdraws_a_release_of_anybodys(desk: Desk, zoo: str) -> None:
    del zoo
    desk.delegate("alice", "alice")
    for version in ("1", "2"):
        desk.publish(f"alice/digits@{version}", "alice")
    desk.done(
        "trust", "withdraw", "alice/digits@1", "--reason", "it has a backdoor",
        "--targets-key", desk.folder / "targets.pem",
    )  # fmt: skip
    refused = desk.pull("alice/digits@1", "one")
    assert refused.code == 4
    assert "withdrawn by the operator: it has a backdoor" in refused.said
    assert desk.pull("alice/digits@2", "two").code == 0
    assert desk.publish("alice/digits@1", "alice").code == 4, "no un-yank"
    assert desk.pull("alice/digits@1", "again").code == 4


def test_a_publisher_yanks_by_command_and_a_policy_file_is_obeyed(
    desk: Desk, zoo: str
) -> None:
    del zoo
    desk.delegate("alice", "alice")
    for version in ("1", "2"):
        desk.publish(f"alice/digits@{version}", "alice")
    yank = ("yank", "alice/digits@1", "--key", desk.folder / "alice.pem", "--reason")
    assert desk.run(*yank, "").code == 2
    told = desk.done(*yank, "it has a backdoor")
    assert told.document["reason"] == "it has a backdoor"
    assert desk.pull("alice/digits@1", "one").code == 4
    policy = desk.folder / "policy.json"
    policy.write_text(json.dumps({"publishers": ["somebody"]}))
    to = desk.folder / "two"
    pull = ("pull", "alice/digits@2", "--to", to, "--policy", policy)
    refused = desk.run(*pull)
    assert refused.code == 4
    assert refused.document["error"] == "PolicyNotMetError"
    policy.write_text(json.dumps({"publishers": ["alice"], "cosignatures": 1}))
    assert desk.run(*pull).code == 4, "no witness is listed"
    policy.write_text(json.dumps({"publishers": ["alice"], "cosignature": 1}))
    assert desk.run(*pull).code == 2, "a misspelt demand is not ignored"
    policy.write_text(json.dumps({"publishers": ["alice"]}))
    assert desk.run(*pull).code == 0
    lineage = desk.done("lineage", "alice/digits@2")
    assert lineage.document == {
        "release": "alice/digits@2",
        "withdrawn": None,
        "ancestors": [],
        "descendants": [],
    }


def test_a_new_root_needs_the_holders_of_the_old_one_too(
    desk: Desk, zoo: str, server: Path
) -> None:
    del zoo
    desk.key("dan")
    following = desk.folder / "2.root.json"
    names = ("ben", "cat", "dan")
    keys = [part for name in names for part in ("--key", desk.public(name))]
    desk.done(
        "trust", "rotate", server / "root.json", "--role", "root", *keys,
        "--threshold", 2, "--out", following,
    )  # fmt: skip
    desk.sign(following, "dan", "ben")
    assert desk.run("trust", "submit", following).code == 4, "one of the old is missing"
    desk.sign(following, "ann")
    assert desk.run("trust", "submit", following).code == 0
    assert desk.done("trust", "show").document["root"]["version"] == 2


def test_two_holders_of_both_roots_are_enough(
    desk: Desk, zoo: str, server: Path
) -> None:
    del zoo
    desk.key("dan")
    following = desk.folder / "2.root.json"
    names = ("ben", "cat", "dan")
    keys = [part for name in names for part in ("--key", desk.public(name))]
    rotate = ("trust", "rotate", server / "root.json", "--role", "root", *keys)
    assert desk.run(*rotate, "--threshold", 1, "--out", following).code == 2
    desk.done(*rotate, "--out", following)
    desk.sign(following, "ben", "cat")
    assert desk.run("trust", "submit", following).code == 0


def test_the_targets_key_moves_in_two_roots(desk: Desk, zoo: str, server: Path) -> None:
    desk.delegate("alice", "alice")
    for version in ("1", "2"):
        desk.publish(f"alice/digits@{version}", "alice")
    withdraw = ("trust", "withdraw", "alice/digits@1", "--reason", "bad")
    desk.done(*withdraw, "--targets-key", desk.folder / "targets.pem")
    desk.key("targets-new")
    both, new = desk.folder / "2.root.json", desk.folder / "3.root.json"
    public = ("--key", desk.public("targets-new"))
    rotate = ("trust", "rotate")
    old = ("--key", desk.public("targets"))
    role = ("--role", "targets")
    desk.done(*rotate, server / "root.json", *role, *old, *public, "--out", both)
    desk.sign(both, "ann", "ben")
    desk.done("trust", "submit", both)
    desk.done("trust", "keys", "--targets-key", desk.folder / "targets-new.pem")
    desk.done(*rotate, both, *role, *public, "--out", new)
    desk.sign(new, "ann", "cat")
    desk.done("trust", "submit", new)
    refused = desk.run("trust", "keys", "--targets-key", desk.folder / "targets.pem")
    assert refused.code == 4, "the old key is out"
    desk.done(*withdraw, "--targets-key", desk.folder / "targets-new.pem")
    assert desk.pull("alice/digits@1", "one").code == 4
    assert desk.pull("alice/digits@2", "two").code == 0
    assert desk.run("trust", "check", zoo).code == 0


def test_stolen_online_keys_are_replaced_and_the_thief_is_out(
    desk: Desk, server: Path
) -> None:
    data = desk.folder / "data"
    with open_zoo(data, trust_dir=server) as url:
        desk.at(url)
        desk.delegate("alice", "alice")
        desk.publish("alice/digits@1", "alice")
        assert desk.pull("alice/digits@1", "before").code == 0
        newest = desk.folder / "newest"
        desk.done("trust", "show", "--out", newest)
    # The server is off. New online keys; two roots, each with one role changed.
    root = newest / "root.json"
    for number, role in ((2, "snapshot"), (3, "timestamp")):
        (server / f"{role}.pem").unlink()
        desk.done(
            "keys", "generate", server / f"{role}.pem",
            "--passphrase-file", server / "passphrase",
        )  # fmt: skip
        following = server / f"{number}.root.json"
        desk.done(
            "trust", "rotate", root, "--role", role,
            "--key", server / f"{role}.pub.pem", "--out", following,
        )  # fmt: skip
        desk.sign(following, "ann", "cat")
        root = following
    targets = server / "3.targets.json"
    desk.done(
        "trust",
        "rekey",
        newest / "targets.json",
        "--key",
        server / "snapshot.pub.pem",
        "--out",
        targets,
    )
    desk.sign(targets, "targets")
    with open_zoo(data, trust_dir=server) as url:
        desk.at(url)
        assert desk.pull("alice/digits@1", "after").code == 0
        assert desk.publish("alice/digits@2", "alice").code == 0
        assert desk.done("trust", "show").document["root"]["version"] == 3
        assert desk.run("trust", "check", url).code == 0


def test_a_root_that_one_stolen_key_could_change_is_not_made(desk: Desk) -> None:
    keys = [part for name in HOLDERS for part in ("--root-key", desk.public(name))]
    asked = ("trust", "init", desk.folder / "other", *keys)
    target = ("--targets-key", desk.public("targets"))
    assert desk.run(*asked, *target, "--threshold", 1).code == 2
    assert desk.run(*asked, *target, "--threshold", 3).code == 2, "a lost key locks"
    same = desk.run(*asked, "--targets-key", desk.public("ann"))
    assert same.code != 0, "the key that signs often is no root key"
