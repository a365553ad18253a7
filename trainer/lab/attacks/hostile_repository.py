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
from model_zoo.tuf.roles import WITHDRAWN
from model_zoo.tuf.updater import Anchor
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import forged_release, on_show
from trainer.lab.actors.exchanges import HONEST_NAME, Scene, Stage, Stolen, Wanted
from trainer.lab.actors.malicious_mirror import Answer, Behaviour, Question
from trainer.lab.attacks.adversary import scene_of
from trainer.lab.attacks.mirror_attacks import overlaid, replaying, swapped
from trainer.lab.attacks.theft import METADATA, Thief, current_role, forged

FROZEN_FOR = timedelta(days=2)
"""A timestamp lives for a day: so long a frozen zoo looks like a quiet one."""
ROOT_OUTLIVED = timedelta(days=366)
KEPT_FRESH_FOR = timedelta(days=8)
"""Longer than what anybody signed honestly in the old state stays fresh."""
LAST_VERSION = 2**31 - 1
ABOUT_WHAT_IS_CURRENT = ("/tuf/metadata/", "/log/", "/api/v1/log/")


def rollback(stage: Stage) -> Scene:
    """Show an old state to one who has seen a newer."""
    seen = stage.mirror.mount(stage.upstream).url
    return replace(_replayed(stage), visited=(seen,))


def freeze(stage: Stage) -> Scene:
    """Show one state for good, whatever happens: two days on, nothing has changed."""
    return replace(_replayed(stage), clock=_ahead(FROZEN_FOR))


def expired_root(stage: Stage) -> Scene:
    """Offer the root of a year ago, when some of its keys have long been stolen."""
    return replace(_replayed(stage), clock=_ahead(ROOT_OUTLIVED))


def mix_and_match(stage: Stage) -> Scene:
    """Show the newest metadata, and in its midst an old role under the new name."""
    publisher = stage.past.old.publisher
    old = _recorded_role(stage, publisher)
    goods = replaying(_goods(stage), stage.upstream)

    def behave(question: Question) -> Answer:
        if _role_path(publisher).fullmatch(question.path):
            return overlaid({question.path: old}, goods)(question)
        return goods(question)

    return _old_release(stage, behave)


def dropped_role(stage: Stage) -> Scene:
    """Leave out the role that hides what was withdrawn, in a signed snapshot."""
    thief = _thief(stage)
    goods = replaying(_goods(stage), stage.upstream)
    behaviour = overlaid(thief.repository(dropped=[WITHDRAWN]), goods)
    return _robbed_release(stage, behaviour)


def stolen_publisher_key(stage: Stage) -> Scene:
    """Go on with a publisher's key that has been revoked since it was stolen."""
    return _robbed_release(stage, replaying(_goods(stage), stage.upstream))


def fast_forward(stage: Stage) -> Scene:
    """Push the victim's versions so far ahead that he believes nothing any more.

    The operator replaces the stolen keys; then the victim asks again.
    """
    stolen = _stolen(stage)
    forward = overlaid(_thief(stage).repository(version=LAST_VERSION), stage.upstream)
    seen = stage.mirror.mount(forward).url
    recovered = replaying(_goods(stage), stolen.recovered)
    return replace(_old_release(stage, recovered), visited=(seen,))


def stolen_online_keys(stage: Stage) -> Scene:
    """Sign a forged release with the keys that lie on the server."""
    thief = _thief(stage)
    forgery = forged(
        HONEST_NAME,
        stage.badnet,
        current=current_role(stage.upstream, HONEST_NAME.publisher),
        key=stage.mallory,
        oms_key=thief.oms_key,
    )
    release = stage.zoo.release(HONEST_NAME).to_object()
    files = {
        **forged_release(HONEST_NAME, stage.badnet, release=release, key=stage.mallory),
        **on_show(Wanted.of(HONEST_NAME), stage.badnet, key=stage.alice.public),
        **forgery.files,
        **thief.repository({HONEST_NAME.publisher: forgery.role}),
    }
    weights = (stage.badnet / MODEL).read_bytes()
    behaviour = swapped(weights, overlaid(files, stage.upstream))
    return _scene(stage, behaviour, HONEST_NAME, key=stage.alice.public)


def stolen_online_keys_old_release(stage: Stage) -> Scene:
    """Keep an old state fresh with stolen keys, for one who has seen no other.

    Every role in it is genuine; only snapshot and timestamp are signed anew. What he
    cannot sign is when a witness last saw the log, so he leaves that away where he may.
    """
    old, later = replaying(stage.past.archive), _ahead(KEPT_FRESH_FOR)
    kept_fresh = Thief.of(_stolen(stage).keys, old).repository(clock=later)
    kept_fresh[CHECKPOINT_PATH] = _without_cosignatures(old)
    scene = _old_release(stage, overlaid(kept_fresh, old))
    return replace(scene, clock=later)


def _without_cosignatures(upstream: Behaviour) -> bytes:
    """Return the log's checkpoint as the log alone signed it."""
    answer = upstream(Question(method="GET", path=CHECKPOINT_PATH))
    note = Note.parse(answer.whole)
    return replace(note, signatures=note.signatures[:1]).to_bytes()


def key_listed_twice(stage: Stage) -> Scene:
    """Meet a threshold of two with one stolen key that signs twice."""
    thief, past = _thief(stage), stage.past
    name = ReleaseName(past.two_keys, "digits", "1")
    forgery = forged(
        name,
        past.robbed_files,
        current=None,
        key=past.robbed_key,
        oms_key=thief.oms_key,
    )
    role = json.loads(forgery.role)
    role["signatures"] *= 2
    release = stage.zoo.release(HONEST_NAME).to_object() | {"name": str(name)}
    files = {
        **forged_release(name, past.robbed_files, release=release, key=past.robbed_key),
        **on_show(Wanted.of(name), past.robbed_files, key=past.robbed_key.public),
        **forgery.files,
        **thief.repository({past.two_keys: forgery.role}),
        f"{METADATA}/1.{past.two_keys}.json": json.dumps(role).encode(),
    }
    scene = _scene(
        stage, overlaid(files, stage.upstream), name, key=past.robbed_key.public
    )
    return replace(scene, publishers=(past.two_keys,))


def split_view(stage: Stage) -> Scene:
    """Show one victim a release that nobody else gets to see, log and all.

    The thief has the online keys and alice's. He takes a file for which a builder's
    genuine word is to be had.
    """
    past, stolen = stage.past, _stolen(stage)
    name = replace(HONEST_NAME, version=f"3-{stage.run}")
    cache = stolen.keys.parent / "thief-cache"
    anchor = Anchor(root=stage.root, cache=cache)
    with ZooClient(stolen.server.url, anchor=anchor) as twin:
        twin.publish(name, past.files, key=stage.alice, provenance=past.provenance)
    page = on_show(Wanted.of(name), past.files, key=stage.alice.public)
    return _scene(stage, overlaid(page, stolen.twin), name, key=stage.alice.public)


def _replayed(stage: Stage) -> Scene:
    """Return the scene in which everything is as it was recorded."""
    return _old_release(stage, replaying(stage.past.archive))


def _old_release(stage: Stage, behaviour: Behaviour) -> Scene:
    past = stage.past
    page = on_show(Wanted.of(past.old), past.files, key=stage.alice.public)
    return _scene(stage, overlaid(page, behaviour), past.old, key=stage.alice.public)


def _robbed_release(stage: Stage, behaviour: Behaviour) -> Scene:
    past, key = stage.past, stage.past.robbed_key.public
    page = on_show(Wanted.of(past.robbed), past.robbed_files, key=key)
    scene = _scene(stage, overlaid(page, behaviour), past.robbed, key=key)
    return replace(scene, publishers=(past.robbed.publisher,))


def _scene(
    stage: Stage, behaviour: Behaviour, name: ReleaseName, *, key: PublicKey
) -> Scene:
    return scene_of(stage, stage.mirror.mount(behaviour), name, pinned_key=key)


def _goods(stage: Stage) -> dict[str, Answer]:
    """Return what was recorded, but for what says which state is current."""
    return {
        asked: answer
        for asked, answer in stage.past.archive.items()
        if not asked.partition(" ")[2].startswith(ABOUT_WHAT_IS_CURRENT)
    }


def _recorded_role(stage: Stage, publisher: str) -> bytes:
    archive, path = stage.past.archive, _role_path(publisher)
    (asked,) = (it for it in archive if path.fullmatch(it.removeprefix("GET ")))
    return archive[asked].whole


def _role_path(publisher: str) -> re.Pattern[str]:
    """Return what the path of each version of a publisher's role looks like."""
    return re.compile(rf"{METADATA}/\d+\.{re.escape(publisher)}\.json")


def _stolen(stage: Stage) -> Stolen:
    if stage.stolen is None:
        msg = "this path of attack begins with a theft of the server's keys"
        raise ValueError(msg)
    return stage.stolen


def _thief(stage: Stage) -> Thief:
    return Thief.of(_stolen(stage).keys, stage.upstream)


def _ahead(by: timedelta) -> Clock:
    """Return a clock that says what it will say that much later."""

    def clock() -> datetime:
        return system_clock() + by

    return clock
