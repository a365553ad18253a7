"""Ways to put a BadNet in the place of a clean model that need no metadata of TUF's.

Source:
    Gu et al., "BadNets", section 6: the page can be edited, the host can be
    compromised, and plain HTTP can be rewritten under way. What is left once
    signatures are checked: malicious publishers, confused names, stolen keys. What a
    mirror can do without any of them: endless, slow and wrong data.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

from model_zoo.keys.ed25519 import PublicKey
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
    Exchange,
    Setup,
    Wanted,
)
from trainer.lab.actors.malicious_mirror import Answer, Attrition, Mount, Responder
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


def page_edit(setup: Setup) -> Exchange:
    """Edit the page: another file, and the digests that go with it."""
    release = setup.zoo.release(HONEST_NAME).to_object()
    forged = forged_release(
        HONEST_NAME, setup.badnet, release=release, key=setup.mallory
    )
    page = on_show(Wanted.of(HONEST_NAME), setup.badnet, key=setup.alice.public)
    weights = (setup.badnet / MODEL).read_bytes()
    return exchange_at(
        setup, swapped(weights, overlaid({**forged, **page}, setup.upstream))
    )


def honest_release(setup: Setup) -> Exchange:
    """Leave everything as its publisher left it."""
    return exchange_at(setup, _honest(setup))


def copied_release(setup: Setup) -> Exchange:
    """Publish the honest model, to the last bit, under a name of one's own."""
    name = replace(LOOKALIKE_NAME, version=f"copy-{setup.run}")
    return _by_mallory(setup, name, setup.clean)


def host_swap(setup: Setup) -> Exchange:
    """Replace the bytes on the host; page and digests stay as they were."""
    weights = (setup.badnet / MODEL).read_bytes()
    return exchange_at(setup, swapped(weights, _honest(setup)))


def in_transit(setup: Setup) -> Exchange:
    """Sit between victim and host, and rewrite the weights as they pass.

    With TLS it shows a certificate of its own making: it can do no better without
    the server's private key.
    """
    weights = (setup.badnet / MODEL).read_bytes()
    mount = setup.middle.mount(swapped(weights, _honest(setup)))
    return exchange_of(setup, mount, HONEST_NAME, pinned_key=setup.alice.public)


def malicious_publisher(setup: Setup) -> Exchange:
    """Publish under a name of one's own, properly signed by its author."""
    return _by_mallory(setup, LOOKALIKE_NAME, setup.badnet)


def typosquat(setup: Setup) -> Exchange:
    """Publish under a name that is easily mistaken for another's when typed."""
    return _by_mallory(setup, TYPOSQUAT_NAME, setup.badnet)


def lookalike_letters(setup: Setup) -> Exchange:
    """Answer for a name that looks the same and is spelled with other letters."""
    return _misread(setup, CYRILLIC_ALICE)


def lookalike_case(setup: Setup) -> Exchange:
    """Answer for a name that differs from another's in its case alone."""
    return _misread(setup, HONEST_NAME.publisher.title())


def stolen_key(setup: Setup) -> Exchange:
    """Publish the next version with the honest publisher's own key.

    It brings the word of a builder who lied: the best that there is to be had.
    """
    name = replace(HONEST_NAME, version=f"2-{setup.run}")
    provenance = provenance_of(setup.badnet, builder=setup.liar)
    setup.zoo.publish(name, setup.badnet, key=setup.alice, provenance=provenance)
    setup.settle()
    key = setup.alice.public
    mount = _shown(setup, name, setup.badnet, key=key)
    return exchange_of(setup, mount, name, pinned_key=key)


def malicious_mirror(setup: Setup) -> Exchange:
    """Answer with a zoo of one's own: consistent, signed, and under another root."""
    page = on_show(Wanted.of(HONEST_NAME), setup.badnet, key=setup.mallory.public)
    return exchange_at(setup, overlaid(page, setup.false_zoo))


def wrong_length(setup: Setup) -> Exchange:
    """Announce the right length, and send another file, which is longer."""
    weights = (setup.badnet / MODEL).read_bytes()
    return exchange_at(
        setup, longer(marked_weights(weights, mark="longer"), _honest(setup))
    )


def endless_data(setup: Setup) -> Exchange:
    """Send weights without an end, and what is no weights, and metadata."""
    return _lasting(setup, endless, ENDLESS)


def slow_retrieval(setup: Setup) -> Exchange:
    """Send the true weights so slowly that they never arrive, or something else."""
    return _lasting(setup, dripping, SLOW)


def _lasting(
    setup: Setup,
    sent: Callable[[Responder, Attrition], Responder],
    ways: Mapping[str, Callable[[], Answer]],
) -> Exchange:
    """Return the scene of an attack that does nothing but last, at each address.

    Args:
        setup: the zoo, the mirror and the actors' keys.
        sent: makes the responder that sends weights so.
        ways: what else is sent, in place of weights and in place of metadata.
    """
    honest = _honest(setup)
    noted = [Attrition() for _ in range(1 + 2 * len(ways))]
    scene = exchange_at(setup, sent(honest, noted[0]))
    meant = product(ways.values(), (is_for_weights, is_for_metadata))
    also = tuple(
        setup.mirror.mount(kept(by, honest, attrition, asked=asked)).url
        for (by, asked), attrition in zip(meant, noted[1:], strict=True)
    )
    return replace(scene, attritions=tuple(noted), also=also)


def exchange_at(setup: Setup, responder: Responder) -> Exchange:
    """Return the scene in which alice's release is looked for at the mirror."""
    mount = setup.mirror.mount(responder)
    return exchange_of(setup, mount, HONEST_NAME, pinned_key=setup.alice.public)


def exchange_of(
    setup: Setup, mount: Mount, name: ReleaseName, *, pinned_key: PublicKey | None
) -> Exchange:
    """Return the scene in which a release is looked for at ``mount``."""
    return Exchange(
        wanted=Wanted.of(name),
        url=mount.url,
        tls_url=mount.tls_url,
        authority=setup.authority,
        root=setup.root,
        oms_key=setup.oms_key,
        look=setup.look,
        pinned_key=pinned_key,
    )


def _honest(setup: Setup) -> Responder:
    """Return the mirror as it was before anybody touched it."""
    page = on_show(Wanted.of(HONEST_NAME), setup.clean, key=setup.alice.public)
    return overlaid(page, setup.upstream)


def _by_mallory(setup: Setup, name: ReleaseName, files: Path) -> Exchange:
    """Return a scene in which the zoo itself holds what mallory properly signed."""
    setup.zoo.publish(name, files, key=setup.mallory)
    setup.settle()
    mount = _shown(setup, name, files, key=setup.mallory.public)
    return exchange_of(setup, mount, name, pinned_key=None)


def _shown(setup: Setup, name: ReleaseName, files: Path, *, key: PublicKey) -> Mount:
    page = on_show(Wanted.of(name), files, key=key)
    return setup.mirror.mount(overlaid(page, setup.upstream))


def _misread(setup: Setup, publisher: str) -> Exchange:
    """Return the scene in which mallory's release is shown under another name."""
    exchange = typosquat(setup)
    wanted = replace(exchange.wanted, publisher=publisher)
    shown, real = wanted.path, exchange.wanted.path
    page = on_show(exchange.wanted, setup.badnet, key=setup.mallory.public)
    responder = renamed(shown, real, overlaid(page, setup.upstream))
    mount = setup.mirror.mount(responder)
    return replace(exchange, wanted=wanted, url=mount.url, tls_url=mount.tls_url)
