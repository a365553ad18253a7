"""Who is asked for what, where: the stage on which adversary and victim meet."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_zoo.client import ZooClient
from model_zoo.keys import PublicKey, SigningKey
from model_zoo.names import ReleaseName

HONEST_NAME = ReleaseName("alice", "digits", "1")
STOLEN_NAME = ReleaseName("alice", "digits", "2")
LOOKALIKE_NAME = ReleaseName("alice-labs", "digits", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that the paths of attack are played with.

    ``clean`` and ``badnet`` are folders of files as their publishers pulled them;
    the adversary may write ``mirror_root`` and never the zoo's own storage.
    """

    zoo: ZooClient
    open_zoo: Callable[[], ZooClient]
    mirror_root: Path
    mirror_url: str
    mirror_tls_url: str
    authority: Path
    clean: Path
    badnet: Path
    proxy_url: str
    proxy_tls_url: str
    alice: SigningKey
    mallory: SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one victim is given: a name, addresses, and perhaps a key to pin.

    ``pinned_key`` is the key the victim has from elsewhere; None where there is none
    but the one shown on the page. ``open_zoo`` connects the verifying client.
    """

    name: ReleaseName
    index_url: str
    index_tls_url: str
    open_zoo: Callable[[], ZooClient]
    authority: Path
    pinned_key: PublicKey | None
