"""A running zoo in which alice's role needs two keys: her own and a scanner's."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.metadata import Targets

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.client.cosign import CosignedChange, cosign
from model_zoo.client.operate import change_targets, delegate_to
from model_zoo.client.publish import Renewal, Signer, renew
from model_zoo.client.zoo import ZooClient
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.publisher_roles import sign_roles, target_file
from model_zoo.tuf.roles import parse
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, write_files
from tests.model_zoo.servers import anchor_of, open_zoo

SCANNER = SigningKey.generate()
NAME, SECOND = "alice/digits@1", "alice/digits@2"
REASON = "it has a backdoor"
PENDING = "/publishers/alice/pending"
STRAY = "alice/digits/0/model.safetensors"
STOWAWAY = {STRAY: target_file(STRAY, size_bytes=1, sha256="0" * 64)}


@dataclass(frozen=True, slots=True)
class TwoKeys:
    """The zoo, and what its two publishers do."""

    folder: Path
    files: Path
    anchor: Anchor
    zoo: ZooClient
    transport: Transport

    def author(self, key: SigningKey) -> Signer:
        return Signer(key=key, anchor=self.anchor)

    def cosign(self, key: SigningKey = SCANNER) -> CosignedChange:
        return cosign(self.transport, "alice", self.author(key))

    def renew(self, key: SigningKey = ALICE) -> Renewal:
        return renew(self.transport, "alice", signer=self.author(key))

    def publish(self, *names: str, files: Path | None = None) -> None:
        """Publish releases with both keys."""
        for name in names:
            self.zoo.publish(name, files or self.files, key=ALICE)
            self.cosign()

    def waiting(self) -> JsonObject:
        """Return the request that waits.

        Raises:
            NotFoundError: none does.
        """
        request: JsonObject = self.transport.get(PENDING)["request"]
        return request

    def take_back(self) -> None:
        self.transport.send("DELETE", PENDING, {})

    def delegate(self, keys: Role, resigned: dict[str, bytes]) -> None:
        """Give alice's name other keys, as the operator."""
        trust = self.folder / "trust"
        passphrase = (trust / "passphrase").read_bytes()
        change_targets(
            self.transport,
            anchor=self.anchor,
            keys=[SigningKey.load(trust / "targets.pem", passphrase=passphrase)],
            edit=delegate_to("alice", keys, re_signed=resigned),
        )

    def version(self) -> int:
        """Return the version of alice's role that a client believes."""
        with self.anchor.refreshed(self.transport.server) as view:
            role = view.publisher("alice").role
        assert role is not None
        return role.signed.version

    def twist(self, edit: Callable[[Any], None]) -> None:
        """Change what waits in the database, as its operator could; alice signs it."""
        with closing(sqlite3.connect(self.folder / "zoo.db")) as database, database:
            ((text,),) = database.execute("SELECT request FROM pending_roles")
            request = json.loads(text)
            edit(request)
            roles = {
                name: parse(canonical_json(it), Targets)
                for name, it in request["body"]["roles"].items()
            }
            request["body"]["roles"] = as_json(sign_roles(roles, ALICE))
            database.execute(
                "UPDATE pending_roles SET request = ?", [json.dumps(request)]
            )


@contextmanager
def open_two_keys(folder: Path) -> Iterator[TwoKeys]:
    """Yield such a zoo over ``folder``."""
    with open_zoo(folder / "zoo") as url, Transport(Server(url)) as transport:
        anchor = anchor_of(folder / "zoo")
        files = write_files(folder / "files")
        with ZooClient(url, anchor=anchor) as zoo:
            it = TwoKeys(folder / "zoo", files, anchor, zoo, transport)
            it.delegate(Role(keys=(ALICE.public, SCANNER.public), threshold=2), {})
            yield it


def as_json(roles: dict[str, bytes]) -> JsonObject:
    return {name: json.loads(data) for name, data in roles.items()}
