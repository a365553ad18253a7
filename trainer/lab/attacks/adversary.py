"""Ways to put a BadNet in the place of a clean model that need no metadata of TUF's.

Source:
    Gu et al., "BadNets", section 6: the page can be edited, the host can be
    compromised, and plain HTTP can be rewritten under way. What is left once
    signatures are checked: malicious publishers, confused names, stolen keys. What a
    mirror can do without any of them: endless, slow and wrong data.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import (
    forged_release,
    marked_weights,
    on_show,
    provenance_of,
)
from trainer.lab.actors.exchanges import (
    HONEST_NAME,
    LOOKALIKE_NAME,
    TYPOSQUAT_NAME,
    Scene,
    Stage,
    Wanted,
)
from trainer.lab.actors.malicious_mirror import Answer, Attrition, Behaviour, Mount
from trainer.lab.attacks.mirror_attacks import (
    ENDLESS,
    SLOW,
    dripping,
    endless,
    is_for_metadata,
    is_for_weights,
    kept,
    longer,
    overlaid,
    renamed,
    swapped,
)

CYRILLIC_ALICE = "\u0430lice"
"""Looks like alice; its first letter is another."""


def page_edit(stage: Stage) -> Scene:
    """Edit the page: another file, and the digests that go with it."""
    release = stage.zoo.release(HONEST_NAME).to_object()
    forged = forged_release(
        HONEST_NAME, stage.badnet, release=release, key=stage.mallory
    )
    page = on_show(Wanted.of(HONEST_NAME), stage.badnet, key=stage.alice.public)
    weights = (stage.badnet / MODEL).read_bytes()
    return scene_at(
        stage, swapped(weights, overlaid({**forged, **page}, stage.upstream))
    )


def host_swap(stage: Stage) -> Scene:
    """Replace the bytes on the host; page and digests stay as they were."""
    weights = (stage.badnet / MODEL).read_bytes()
    return scene_at(stage, swapped(weights, _honest(stage)))


def in_transit(stage: Stage) -> Scene:
    """Sit between victim and host, and rewrite the weights as they pass.

    With TLS it shows a certificate of its own making: it can do no better without
    the server's private key.
    """
    weights = (stage.badnet / MODEL).read_bytes()
    mount = stage.middle.mount(swapped(weights, _honest(stage)))
    return scene_of(stage, mount, HONEST_NAME, pinned_key=stage.alice.public)


def malicious_publisher(stage: Stage) -> Scene:
    """Publish under a name of one's own, properly signed by its author."""
    return _published(stage, LOOKALIKE_NAME, key=stage.mallory, pinned_key=None)


def typosquat(stage: Stage) -> Scene:
    """Publish under a name that is easily mistaken for another's when typed."""
    return _published(stage, TYPOSQUAT_NAME, key=stage.mallory, pinned_key=None)


def lookalike_letters(stage: Stage) -> Scene:
    """Answer for a name that looks the same and is spelled with other letters."""
    return _misread(stage, CYRILLIC_ALICE)


def lookalike_case(stage: Stage) -> Scene:
    """Answer for a name that differs from another's in its case alone."""
    return _misread(stage, HONEST_NAME.publisher.title())


def stolen_key(stage: Stage) -> Scene:
    """Publish the next version with the honest publisher's own key.

    It brings the word of a builder who lied: the best that there is to be had.
    """
    name = replace(HONEST_NAME, version=f"2-{stage.run}")
    provenance = provenance_of(stage.badnet, builder=stage.liar)
    stage.zoo.publish(name, stage.badnet, key=stage.alice, provenance=provenance)
    stage.settle()
    return _on_show(stage, name, key=stage.alice.public, pinned_key=stage.alice.public)


def malicious_mirror(stage: Stage) -> Scene:
    """Answer with a zoo of one's own: consistent, signed, and under another root."""
    page = on_show(Wanted.of(HONEST_NAME), stage.badnet, key=stage.mallory.public)
    return scene_at(stage, overlaid(page, stage.false_zoo))


def wrong_length(stage: Stage) -> Scene:
    """Announce the right length, and send another file, which is longer."""
    weights = (stage.badnet / MODEL).read_bytes()
    return scene_at(
        stage, longer(marked_weights(weights, mark="longer"), _honest(stage))
    )


def endless_data(stage: Stage) -> Scene:
    """Send weights without an end, and what is no weights, and metadata."""
    attrition = Attrition()
    scene = scene_at(stage, endless(_honest(stage), attrition))
    return replace(scene, attrition=attrition, also=_kept(stage, ENDLESS, attrition))


def slow_retrieval(stage: Stage) -> Scene:
    """Send the true weights so slowly that they never arrive, or something else."""
    attrition = Attrition()
    scene = scene_at(stage, dripping(_honest(stage), attrition))
    return replace(scene, attrition=attrition, also=_kept(stage, SLOW, attrition))


def _kept(
    stage: Stage, ways: Mapping[str, Callable[[], Answer]], attrition: Attrition
) -> tuple[str, ...]:
    """Return where each of ``ways`` answers for weights, and where for metadata."""
    return tuple(
        stage.mirror.mount(kept(by, _honest(stage), attrition, asked=asked)).url
        for by in ways.values()
        for asked in (is_for_weights, is_for_metadata)
    )


def scene_at(stage: Stage, behaviour: Behaviour) -> Scene:
    """Return the scene in which alice's release is looked for at the mirror."""
    mount = stage.mirror.mount(behaviour)
    return scene_of(stage, mount, HONEST_NAME, pinned_key=stage.alice.public)


def scene_of(
    stage: Stage, mount: Mount, name: ReleaseName, *, pinned_key: PublicKey | None
) -> Scene:
    """Return the scene in which a release is looked for at ``mount``."""
    return Scene(
        wanted=Wanted.of(name),
        url=mount.url,
        tls_url=mount.tls_url,
        authority=stage.authority,
        root=stage.root,
        oms_key=stage.oms_key,
        pinned_key=pinned_key,
    )


def _honest(stage: Stage) -> Behaviour:
    """Return the mirror as it was before anybody touched it."""
    page = on_show(Wanted.of(HONEST_NAME), stage.clean, key=stage.alice.public)
    return overlaid(page, stage.upstream)


def _published(
    stage: Stage, name: ReleaseName, *, key: SigningKey, pinned_key: PublicKey | None
) -> Scene:
    """Return a scene in which the zoo itself holds the BadNet, properly signed."""
    stage.zoo.publish(name, stage.badnet, key=key)
    stage.settle()
    return _on_show(stage, name, key=key.public, pinned_key=pinned_key)


def _on_show(
    stage: Stage, name: ReleaseName, *, key: PublicKey, pinned_key: PublicKey | None
) -> Scene:
    page = on_show(Wanted.of(name), stage.badnet, key=key)
    mount = stage.mirror.mount(overlaid(page, stage.upstream))
    return scene_of(stage, mount, name, pinned_key=pinned_key)


def _misread(stage: Stage, publisher: str) -> Scene:
    """Return the scene in which mallory's release is shown under another name."""
    scene = typosquat(stage)
    wanted = replace(scene.wanted, publisher=publisher)
    shown, real = wanted.path, scene.wanted.path
    page = on_show(scene.wanted, stage.badnet, key=stage.mallory.public)
    behaviour = renamed(shown, real, overlaid(page, stage.upstream))
    mount = stage.mirror.mount(behaviour)
    return replace(scene, wanted=wanted, url=mount.url, tls_url=mount.tls_url)
