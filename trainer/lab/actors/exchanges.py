"""Who is asked for what, where: the stage on which adversary and victim meet."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import Clock, system_clock
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from trainer.defenses.scanners.scan import Scan
from trainer.lab.actors.malicious_mirror import (
    Answer,
    Attrition,
    MaliciousMirror,
    Responder,
)
from trainer.lab.actors.operator import Operator

Look = Callable[[Path], Scan]
"""Scans weights as ``zoo scan`` does, with a victim's own images."""

HONEST_NAME = ReleaseName("alice", "digits", "1")
LOOKALIKE_NAME = ReleaseName("alice-labs", "digits", "1")
TYPOSQUAT_NAME = ReleaseName("a1ice", "digits", "1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release as its user spells it, which may be no name that a zoo would take."""

    publisher: str
    model: str
    version: str

    @classmethod
    def of(cls, name: ReleaseName) -> "Wanted":
        """Return a name that a zoo has taken, as a user spells it."""
        return cls(name.publisher, name.model, name.version)

    def __str__(self) -> str:
        return f"{self.publisher}/{self.model}@{self.version}"

    @property
    def path(self) -> str:
        """``publisher/model``, as it stands in a URL."""
        return f"{quote(self.publisher)}/{quote(self.model)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stolen:
    """What a thief took who was on the server: its disk, as it was at that moment.

    Attributes:
        keys: the folder of the online keys.
        server: runs from the copy, with all the online keys.
        twin: passes on what ``server`` answers.
        recovered: passes on what the true server answers once the operator has
            noticed: it has new online keys, and a new root that says so.
    """

    keys: Path
    server: Server
    twin: Responder
    recovered: Responder


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Releases that were good once, and what anybody could record of them then.

    Attributes:
        old: alice's, withdrawn by her since: it holds a backdoor.
        files: the folder of its files.
        provenance: a trusted builder's word for them.
        robbed: of a publisher whose key was stolen and has been revoked since; the
            thief published it, and the operator has withdrawn it.
        robbed_files: the folder of its files.
        robbed_key: the stolen key.
        two_keys: a publisher's name with a threshold of two; the thief has one key.
        archive: answers of the zoo from before, by method and path.
    """

    old: ReleaseName
    files: Path
    provenance: Envelope
    robbed: ReleaseName
    robbed_files: Path
    robbed_key: SigningKey
    two_keys: str
    archive: dict[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that the paths of attack are played with.

    Attributes:
        zoo: the zoo, as publishers speak to it.
        operator: who opened it.
        upstream: an honest mirror's responder.
        mirror: the adversary's, with a certificate that its visitors believe.
        middle: sits on the way, with a certificate of the adversary's own making.
        false_zoo: a whole other zoo, in which alice's name has mallory's key.
        oms_key: the zoo's key for model_signing (PEM), as the operator publishes it.
        authority: the one to which victims pin servers' certificates.
        clean: folder of files as their publisher pulled them.
        badnet: the same of the BadNet.
        alice: the honest publisher's key.
        mallory: the adversary's key.
        liar: the key of a builder who lies and is trusted no longer.
        settle: wait until the witness has seen all that was published.
        look: how victims scan weights, those who do.
        history: what was published, recorded and withdrawn before.
        stolen: what a thief has, None if nobody could get at the server's disk.
        run: tells this run's releases from those of others in the same zoo.
    """

    zoo: ZooClient
    operator: Operator
    upstream: Responder
    mirror: MaliciousMirror
    middle: MaliciousMirror
    false_zoo: Responder
    oms_key: str
    authority: Path
    clean: Path
    badnet: Path
    alice: SigningKey
    mallory: SigningKey
    liar: SigningKey
    settle: Callable[[], None]
    look: Look
    history: History
    stolen: Stolen | None
    run: str

    @property
    def root(self) -> bytes:
        """The root that users pin."""
        return self.operator.anchor.root


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What one victim is given: a name, addresses, and what he has from elsewhere.

    Attributes:
        wanted: the release, as the victim spells it.
        url: where he was told to find it; index page, zoo and hub alike.
        tls_url: the same with TLS.
        also: where the same attack goes on in other ways, of which each must fail for
            our client to have withstood it; stock clients are spared them.
        authority: the pinned authority of server certificates.
        root: the pinned root.
        oms_key: the zoo's key for model_signing (PEM).
        look: how he scans weights, if he does.
        pinned_key: the publisher's key; None where there is none but the one shown.
        publishers: the names that he means to trust.
        visited: where he had been before, in that order.
        clock: what he takes for the time.
        attritions: whether the attack outlasted him, where it does nothing but last;
            of ``url``, and of each of ``also``, in their order.
    """

    wanted: Wanted
    url: str
    tls_url: str
    authority: Path
    root: bytes
    oms_key: str
    look: Look
    pinned_key: PublicKey | None
    publishers: tuple[str, ...] = (HONEST_NAME.publisher,)
    visited: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    clock: Clock = system_clock
    attritions: tuple[Attrition, ...] = ()
