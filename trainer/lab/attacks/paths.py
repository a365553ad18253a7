"""Every path of attack by its name: the rows of the scoreboard."""

from collections.abc import Callable

from trainer.lab.actors.exchanges import Exchange, Setup
from trainer.lab.attacks import adversary, hostile_repository

Attack = Callable[[Setup], Exchange]

SENDING: dict[str, Attack] = {
    "page edit": adversary.page_edit,
    "host swap": adversary.host_swap,
    "in transit": adversary.in_transit,
    "malicious mirror": adversary.malicious_mirror,
    "wrong length": adversary.wrong_length,
    "endless data": adversary.endless_data,
    "slow retrieval": adversary.slow_retrieval,
}
PUBLISHING: dict[str, Attack] = {
    "look-alike letters": adversary.lookalike_letters,
    "look-alike case": adversary.lookalike_case,
    "typosquat": adversary.typosquat,
    "malicious publisher": adversary.malicious_publisher,
    "stolen key": adversary.stolen_key,
    "stolen key, revoked": hostile_repository.stolen_publisher_key,
}
REPLAYING: dict[str, Attack] = {
    "rollback": hostile_repository.rollback,
    "freeze": hostile_repository.freeze,
    "mix-and-match": hostile_repository.mix_and_match,
    "expired root": hostile_repository.expired_root,
}
STEALING: dict[str, Attack] = {
    "dropped role": hostile_repository.dropped_role,
    "fast-forward": hostile_repository.fast_forward,
    "key listed twice": hostile_repository.key_listed_twice,
    "stolen online keys": hostile_repository.stolen_online_keys,
    "stolen online keys, old release": (
        hostile_repository.stolen_online_keys_old_release
    ),
    "split view": hostile_repository.split_view,
}

GROUPS = {
    "What is sent": SENDING,
    "Who publishes": PUBLISHING,
    "What is current": REPLAYING,
    "With the server's own keys": STEALING,
}
"""Paths by what the adversary has in his hands."""

PATHS_OF_ATTACK = {
    name: attack for group in GROUPS.values() for name, attack in group.items()
}
UNHARMED: dict[str, Attack] = {
    "honest release": adversary.honest_release,
    "copy of the honest release": adversary.copied_release,
}
"""What nobody attacks: controls, beside the scoreboard."""

AFTER_A_THEFT = frozenset(STEALING)
"""Each begins with a copy of the server's disk, and is left out where there is none."""

NEVER_ENDS = frozenset({"endless data", "slow retrieval"})
"""A victim without a defence is still reading when the adversary stops by himself."""
