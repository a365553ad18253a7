"""Where a hundred thousand publishers stand: names, a tree of prefixes, delegations.

Succinct bins and hash prefixes cannot stand above publishers: they hash the whole
target path, so that every publisher's files fall into every bin. What groups them is
the beginning of their names, as path patterns, which stock clients match.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from model_zoo.keys.ed25519 import PublicKey
from model_zoo.tuf.roles import TARGETS, expiry, publisher_paths, tuf_key

_LETTERS = "madeloanaiconeritamisanolareunvikatorodaelinsehaliorbegizapejuxoqufywu"
SYLLABLES = tuple(_LETTERS[at : at + 2] for at in range(0, len(_LETTERS), 2))
"""Drawn by Zipf's law, so that some beginnings are far more common than others."""
MOST_SYLLABLES = 5


@dataclass(frozen=True, slots=True)
class Branch:
    """Publishers that stand together, and the patterns that lead to them."""

    patterns: tuple[str, ...]
    names: tuple[str, ...]


def publisher_names(count: int) -> list[str]:
    """Return distinct names, sorted, the same for every run."""
    draw = random.Random(0)  # noqa: S311  a simulation, not a secret
    weights = [1 / rank for rank in range(1, len(SYLLABLES) + 1)]
    names: set[str] = set()
    while len(names) < count:
        length = draw.randint(2, MOST_SYLLABLES)
        name = "".join(draw.choices(SYLLABLES, weights, k=length))
        names.add(f"{name}-{draw.randint(1, 99)}" if name in names else name)
    return sorted(names)


def branches(names: Sequence[str], *, most: int, prefix: str = "") -> list[Branch]:
    """Return branches of at most ``most`` names; every name is in exactly one.

    A beginning that too many share is split by its next letter; neighbours that
    together are few enough share a branch.
    """
    found: list[Branch] = []
    for part in _split(names, prefix=prefix):
        beginning = part.patterns[0].partition("*")[0]
        if len(part.names) > most:
            found += branches(part.names, most=most, prefix=beginning)
        elif found and len(found[-1].names) + len(part.names) <= most:
            last = found.pop()
            found.append(Branch(last.patterns + part.patterns, last.names + part.names))
        else:
            found.append(part)
    return found


def _split(names: Sequence[str], *, prefix: str) -> Iterator[Branch]:
    by_letter: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_letter[name[len(prefix) : len(prefix) + 1]].append(name)
    for letter, some in sorted(by_letter.items()):
        pattern = f"{prefix}{letter}*/*/*/*" if letter else f"{prefix}/*/*/*"
        yield Branch((pattern,), tuple(some))


def delegating(
    roles: Mapping[str, tuple[Sequence[str], PublicKey]], *, now: datetime
) -> Metadata[Targets]:
    """Return a role that hands patterns to other roles, unsigned.

    Args:
        roles: name -> patterns and key of each.
        now: when it starts to count.
    """
    keys = {key.keyid: tuf_key(key) for _, key in roles.values()}
    delegated = {
        name: DelegatedRole(name, [key.keyid], 1, terminating=True, paths=[*patterns])
        for name, (patterns, key) in roles.items()
    }
    delegations = Delegations(keys, delegated)
    return Metadata(Targets(expires=expiry(TARGETS, now), delegations=delegations))


def to_publishers(
    names: Sequence[str], keys: Mapping[str, PublicKey], *, now: datetime
) -> Metadata[Targets]:
    """Return the role that delegates to each of ``names``, as top-level targets do."""
    return delegating(
        {name: (publisher_paths(name), keys[name]) for name in names}, now=now
    )
