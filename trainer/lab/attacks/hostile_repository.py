"""Ways to put a BadNet in the place of a clean model that are about what is current.

Acceptance means here that the victim ends up with a release that was withdrawn, or
that was never published, and takes it for a current one.

Source:
    The Update Framework Specification 1.0.34, section 1.5.2 (the attacks' names).
"""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import Clock, system_clock
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import ReleaseName
from model_zoo.transparency.notes import Note
from model_zoo.transparency.tlog import CHECKPOINT_PATH
from model_zoo.tuf.anchor import Anchor
from model_zoo.tuf.roles import WITHDRAWN
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import forged_release, on_show
from trainer.lab.actors.exchanges import HONEST_NAME, Exchange, Setup, Stolen, Wanted
from trainer.lab.actors.malicious_mirror import Answer, Question, Responder
from trainer.lab.attacks.adversary import exchange_of
from trainer.lab.attacks.mirror_attacks import overlaid, replaying, swapped
from trainer.lab.attacks.theft import METADATA, Thief, current_role, forged

FROZEN_FOR = timedelta(days=2)
"""A timestamp lives for a day: so long a frozen zoo looks like a quiet one."""
ROOT_OUTLIVED = timedelta(days=366)
KEPT_FRESH_FOR = timedelta(days=8)
"""Longer than what anybody signed honestly in the old state stays fresh."""
LAST_VERSION = 2**31 - 1
ABOUT_WHAT_IS_CURRENT = ("/tuf/metadata/", "/log/", "/api/v1/log/")


def rollback(setup: Setup) -> Exchange:
    """Show an old state to one who has seen a newer."""
    seen = setup.mirror.mount(setup.upstream).url
    return replace(_replayed(setup), visited=(seen,))


def freeze(setup: Setup) -> Exchange:
    """Show one state for good, whatever happens: two days on, nothing has changed."""
    return replace(_replayed(setup), clock=_ahead(FROZEN_FOR))


def expired_root(setup: Setup) -> Exchange:
    """Offer the root of a year ago, when some of its keys have long been stolen."""
    return replace(_replayed(setup), clock=_ahead(ROOT_OUTLIVED))


def mix_and_match(setup: Setup) -> Exchange:
    """Show the newest metadata, and in its midst an old role under the new name."""
    publisher = setup.history.old.publisher
    old = _recorded_role(setup, publisher)
    artefacts = replaying(_artefacts(setup), setup.upstream)

    def behave(question: Question) -> Answer:
        if _role_path(publisher).fullmatch(question.path):
            return overlaid({question.path: old}, artefacts)(question)
        return artefacts(question)

    return _old_release(setup, behave)


def dropped_role(setup: Setup) -> Exchange:
    """Leave out the role that hides what was withdrawn, in a signed snapshot."""
    thief = _thief(setup)
    artefacts = replaying(_artefacts(setup), setup.upstream)
    responder = overlaid(thief.repository(dropped=[WITHDRAWN]), artefacts)
    return _robbed_release(setup, responder)


def stolen_publisher_key(setup: Setup) -> Exchange:
    """Go on with a publisher's key that has been revoked since it was stolen."""
    return _robbed_release(setup, replaying(_artefacts(setup), setup.upstream))


def fast_forward(setup: Setup) -> Exchange:
    """Push the victim's versions so far ahead that he believes nothing any more.

    The operator replaces the stolen keys; then the victim asks again.
    """
    stolen = _stolen(setup)
    forward = overlaid(_thief(setup).repository(version=LAST_VERSION), setup.upstream)
    seen = setup.mirror.mount(forward).url
    recovered = replaying(_artefacts(setup), stolen.recovered)
    return replace(_old_release(setup, recovered), visited=(seen,))


def stolen_online_keys(setup: Setup) -> Exchange:
    """Sign a forged release with the keys that lie on the server."""
    thief = _thief(setup)
    forgery = forged(
        HONEST_NAME,
        setup.badnet,
        current=current_role(setup.upstream, HONEST_NAME.publisher),
        key=setup.mallory,
        oms_key=thief.oms_key,
    )
    release = setup.zoo.release(HONEST_NAME).to_object()
    files = {
        **forged_release(HONEST_NAME, setup.badnet, release=release, key=setup.mallory),
        **on_show(Wanted.of(HONEST_NAME), setup.badnet, key=setup.alice.public),
        **forgery.files,
        **thief.repository({HONEST_NAME.publisher: forgery.role}),
    }
    weights = (setup.badnet / MODEL).read_bytes()
    responder = swapped(weights, overlaid(files, setup.upstream))
    return _exchange(setup, responder, HONEST_NAME, key=setup.alice.public)


def stolen_online_keys_old_release(setup: Setup) -> Exchange:
    """Keep an old state fresh with stolen keys, for one who has seen no other.

    Every role in it is genuine; only snapshot and timestamp are signed anew. What he
    cannot sign is when a witness last saw the log, so he leaves that away where he may.
    """
    old, later = replaying(setup.history.archive), _ahead(KEPT_FRESH_FOR)
    kept_fresh = Thief.of(_stolen(setup).keys, old).repository(clock=later)
    kept_fresh[CHECKPOINT_PATH] = _without_cosignatures(old)
    exchange = _old_release(setup, overlaid(kept_fresh, old))
    return replace(exchange, clock=later)


def _without_cosignatures(upstream: Responder) -> bytes:
    """Return the log's checkpoint as the log alone signed it."""
    answer = upstream(Question(method="GET", path=CHECKPOINT_PATH))
    note = Note.parse(answer.whole)
    return replace(note, signatures=note.signatures[:1]).to_bytes()


def key_listed_twice(setup: Setup) -> Exchange:
    """Meet a threshold of two with one stolen key that signs twice."""
    thief, history = _thief(setup), setup.history
    name = ReleaseName(history.two_keys, "digits", "1")
    forgery = forged(
        name,
        history.robbed_files,
        current=None,
        key=history.robbed_key,
        oms_key=thief.oms_key,
    )
    role = json.loads(forgery.role)
    role["signatures"] *= 2
    release = setup.zoo.release(HONEST_NAME).to_object() | {"name": str(name)}
    files = {
        **forged_release(
            name, history.robbed_files, release=release, key=history.robbed_key
        ),
        **on_show(Wanted.of(name), history.robbed_files, key=history.robbed_key.public),
        **forgery.files,
        **thief.repository({history.two_keys: forgery.role}),
        f"{METADATA}/1.{history.two_keys}.json": json.dumps(role).encode(),
    }
    exchange = _exchange(
        setup, overlaid(files, setup.upstream), name, key=history.robbed_key.public
    )
    return replace(exchange, publishers=(history.two_keys,))


def split_view(setup: Setup) -> Exchange:
    """Show one victim a release that nobody else gets to see, log and all.

    The thief has the online keys and alice's. He takes a file for which a builder's
    genuine word is to be had.
    """
    history, stolen = setup.history, _stolen(setup)
    name = replace(HONEST_NAME, version=f"3-{setup.run}")
    cache = stolen.keys.parent / "thief-cache"
    anchor = Anchor(root=setup.root, cache=cache)
    with ZooClient(stolen.server.url, anchor=anchor) as twin:
        twin.publish(
            name, history.files, key=setup.alice, provenance=history.provenance
        )
    page = on_show(Wanted.of(name), history.files, key=setup.alice.public)
    return _exchange(setup, overlaid(page, stolen.twin), name, key=setup.alice.public)


def _replayed(setup: Setup) -> Exchange:
    """Return the scene in which everything is as it was recorded."""
    return _old_release(setup, replaying(setup.history.archive))


def _old_release(setup: Setup, responder: Responder) -> Exchange:
    history = setup.history
    page = on_show(Wanted.of(history.old), history.files, key=setup.alice.public)
    return _exchange(
        setup, overlaid(page, responder), history.old, key=setup.alice.public
    )


def _robbed_release(setup: Setup, responder: Responder) -> Exchange:
    history, key = setup.history, setup.history.robbed_key.public
    page = on_show(Wanted.of(history.robbed), history.robbed_files, key=key)
    exchange = _exchange(setup, overlaid(page, responder), history.robbed, key=key)
    return replace(exchange, publishers=(history.robbed.publisher,))


def _exchange(
    setup: Setup, responder: Responder, name: ReleaseName, *, key: PublicKey
) -> Exchange:
    return exchange_of(setup, setup.mirror.mount(responder), name, pinned_key=key)


def _artefacts(setup: Setup) -> dict[str, Answer]:
    """Return what was recorded, but for what says which state is current."""
    return {
        asked: answer
        for asked, answer in setup.history.archive.items()
        if not asked.partition(" ")[2].startswith(ABOUT_WHAT_IS_CURRENT)
    }


def _recorded_role(setup: Setup, publisher: str) -> bytes:
    archive, path = setup.history.archive, _role_path(publisher)
    (asked,) = (it for it in archive if path.fullmatch(it.removeprefix("GET ")))
    return archive[asked].whole


def _role_path(publisher: str) -> re.Pattern[str]:
    """Return what the path of each version of a publisher's role looks like."""
    return re.compile(rf"{METADATA}/\d+\.{re.escape(publisher)}\.json")


def _stolen(setup: Setup) -> Stolen:
    if setup.stolen is None:
        msg = "this path of attack begins with a theft of the server's keys"
        raise ValueError(msg)
    return setup.stolen


def _thief(setup: Setup) -> Thief:
    return Thief.of(_stolen(setup).keys, setup.upstream)


def _ahead(by: timedelta) -> Clock:
    """Return a clock that says what it will say that much later."""

    def clock() -> datetime:
        return system_clock() + by

    return clock
