"""The operator's acts in the laboratory, with the keys from his safe.

A development root has them on the same disk as the zoo; the zoo is never asked to use
them here, just as it could not if they lay elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets

from model_zoo.client.operate import (
    Step,
    change_targets,
    delegate_to,
    edit_trusted_keys,
    withdraw_releases,
)
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import next_root, next_targets, rekey_yanked, require_signed
from model_zoo.tuf.online import passphrase_of
from model_zoo.tuf.publisher_roles import delegated_to, renewed, sign_roles
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    delegation_of,
    parse,
    sign,
    to_bytes,
)
from model_zoo.tuf.trusted_keys import TrustedKeys
from model_zoo.tuf.updater import Anchor

ROOT_HOLDERS = ("root-1", "root-2")
"""Two of three are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who opens the zoo: his connection, the root that he made, and his safe.

    ``safe`` is a folder with ``targets.pem``, the root holders' keys, and the file
    ``passphrase`` that all of them are encrypted under.
    """

    transport: Transport
    anchor: Anchor
    safe: Path

    def key(self, name: str) -> SigningKey:
        """Return a key from the safe."""
        passphrase = passphrase_of(self.safe)
        return SigningKey.load(self.safe / f"{name}.pem", passphrase=passphrase)

    def admit(self, publishers: Mapping[str, Role]) -> None:
        """Delegate to each name that nothing is delegated to yet."""

        def edit(step: Step) -> None:
            for name, keys in publishers.items():
                if delegation_of(step.targets, name) is None:
                    delegate_to(name, keys)(step)

        self._change(edit)

    def trust(
        self,
        *,
        witnesses: Sequence[PublicKey],
        builders: Sequence[PublicKey],
        no_builders: Sequence[PublicKey],
    ) -> None:
        """List whose cosignatures and whose provenance count, and whose does not."""
        self._change(
            edit_trusted_keys(
                add={"witnesses": witnesses, "builders": builders},
                remove={"builders": no_builders},
            )
        )

    def trusted_keys(self) -> TrustedKeys:
        """Return the keys that the root brings along, to be handed on by him."""
        with self.anchor.refreshed(self.transport.server) as zoo:
            return zoo.trusted_keys()

    def revoke(self, publisher: str, new: SigningKey, release: ReleaseName) -> None:
        """Give a robbed publisher another key and withdraw what the thief published.

        The publisher signs his role with the new key, and brings it along.
        """
        with self.anchor.refreshed(self.transport.server) as zoo:
            roles = delegated_to(zoo.publisher(publisher), new.public)
            resigned = sign_roles(renewed(roles, now=self.anchor.now()), new)

        def edit(step: Step) -> None:
            keys = Role(keys=(new.public,))
            delegate_to(publisher, keys, re_signed=resigned)(step)
            reasons = {release: f"the key of {publisher} was stolen"}
            withdraw_releases(reasons)(step)

        self._change(edit)

    def replace_online_keys(self, folder: Path) -> None:
        """Put new online keys into a server's trust folder, and a root that says so.

        The server takes over root and targets when it starts again; what the thief
        signs from then on, and all he signed before, counts no more.
        """
        with self.anchor.refreshed(self.transport.server) as zoo:
            root = parse(zoo.versions()[ROOT], Root)
            targets = zoo.cached_targets()
        snapshot, timestamp = SigningKey.generate(), SigningKey.generate()
        for name, key in ((SNAPSHOT, snapshot), (TIMESTAMP, timestamp)):
            path = folder / f"{name}.pem"
            path.unlink()
            key.save(path, passphrase=passphrase_of(folder))
        self._write_next_root(folder, root, snapshot=snapshot, timestamp=timestamp)
        self._write_next_targets(folder, targets, snapshot=snapshot)

    def _write_next_root(
        self,
        folder: Path,
        current: Metadata[Root],
        *,
        snapshot: SigningKey,
        timestamp: SigningKey,
    ) -> None:
        root = next_root(
            current,
            {
                SNAPSHOT: Role(keys=(snapshot.public,)),
                TIMESTAMP: Role(keys=(timestamp.public,)),
            },
            now=self.anchor.now(),
        )
        sign(root, *map(self.key, ROOT_HOLDERS))
        require_signed(root, previous=current)
        file = folder / f"{root.signed.version}.root.json"
        file.write_bytes(to_bytes(root))

    def _write_next_targets(
        self, folder: Path, current: Metadata[Targets], *, snapshot: SigningKey
    ) -> None:
        targets = next_targets(current, now=self.anchor.now())
        rekey_yanked(targets.signed, snapshot.public)
        sign(targets, self.key(TARGETS))
        file = folder / f"{targets.signed.version}.targets.json"
        file.write_bytes(to_bytes(targets))

    def _change(self, edit: Callable[[Step], None]) -> None:
        change_targets(
            self.transport, anchor=self.anchor, keys=[self.key(TARGETS)], edit=edit
        )
