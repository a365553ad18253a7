"""The people of the laboratory: their keys, their bindings, their programs."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_zoo.cli.options import token
from model_zoo.client.zoo import ZooClient
from model_zoo.documents import Document
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.updater import Anchor, read_root
from trainer.files import write_whole
from trainer.lab.actors.exchanges import HONEST_NAME, LOOKALIKE_NAME, TYPOSQUAT_NAME
from trainer.lab.actors.operator import Operator
from trainer.lab.actors.processes import running
from trainer.lab.actors.witnesses import witness_running

HONEST_TRAINER = "honest-trainer"
MALICIOUS_TRAINER = "malicious-trainer"
VICTIMS_TRAINER = "victims-trainer"
OWNER_ONLY = 0o600
LIES = "lies.json"

WORKERS = {
    HONEST_TRAINER: ("model_zoo", "worker"),
    MALICIOUS_TRAINER: ("trainer.lab.attacks.malicious_worker",),
    VICTIMS_TRAINER: ("model_zoo", "worker"),
}
"""Trainer -> the program it runs; one of them lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoo:
    """Where the zoo is, and what its operator hands to the people of the laboratory.

    Attributes:
        url: where it answers.
        root: the file of its root, to be pinned; never fetched from the zoo.
        safe: folder of the operator's offline keys: see ``Operator``.
        token_file: holds the zoo's token, if it asks for one.
        ca: the only authority to believe, if it shows a certificate.
        disk: its data folder, where a thief can get at it.
    """

    url: str
    root: Path
    safe: Path
    token_file: Path | None = None
    ca: Path | None = None
    disk: Path | None = None

    @property
    def server(self) -> Server:
        """How to reach it."""
        return Server(self.url, ca=self.ca, token=token(self.token_file))

    def anchor(self, cache: Path) -> Anchor:
        """Return its pinned root, for one who remembers in ``cache`` what he saw."""
        return Anchor(root=read_root(self.root), cache=cache)

    def client(self, cache: Path) -> ZooClient:
        """Return a client of it."""
        server, anchor = self.server, self.anchor(cache)
        return ZooClient(server.url, ca=server.ca, token=server.token, anchor=anchor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    """Who can sign what, and the operator who let them."""

    operator: Operator
    alice: SigningKey
    mallory: SigningKey
    witness: SigningKey
    builders: dict[str, SigningKey]


@contextmanager
def assemble(zoo: Zoo, *, folder: Path, lies: Document) -> Iterator[Actors]:
    """Give everybody a key, delegate names to keys, and run trainers and witness.

    Keys lie encrypted under ``folder`` and are the same after an interruption;
    ``lies`` are what the malicious trainer does in place of his orders.
    """
    write_whole(folder / LIES, lies.to_bytes())
    passphrase_file = folder / "passphrase"
    with ExitStack() as stack:
        actors = Actors(
            operator=Operator(
                transport=stack.enter_context(Transport(zoo.server)),
                anchor=zoo.anchor(folder / "operator-cache"),
                safe=zoo.safe,
            ),
            alice=_key(folder / "alice.pem", passphrase_file),
            mallory=_key(folder / "mallory.pem", passphrase_file),
            witness=_key(folder / "witness.pem", passphrase_file),
            builders={
                name: _key(folder / f"{name}.pem", passphrase_file) for name in WORKERS
            },
        )
        _let_in(zoo, actors, cache=folder / "operator-cache")
        log_key = folder / "log.pub.pem"
        log_key.write_text(actors.operator.trusted_keys().log[0])
        stack.enter_context(
            witness_running(
                zoo.server,
                key=folder / "witness.pem",
                passphrase_file=passphrase_file,
                log_key=log_key,
                # Keys outlive a run and its zoo; what a witness saw must not.
                folder=folder.parent / "witness",
            )
        )
        for name in WORKERS:
            stack.enter_context(_worker(zoo, name, folder=folder))
        yield actors


def _let_in(zoo: Zoo, actors: Actors, *, cache: Path) -> None:
    """Have the operator say who may publish, build and watch.

    Whoever trains here may submit drafts. Whose word counts for users is another
    matter: the malicious trainer's does not, once he was caught at his first job.
    """
    with zoo.client(cache) as client:
        for name, key in actors.builders.items():
            client.bind_trainer(name, key.public)
    honest = {
        name: key.public
        for name, key in actors.builders.items()
        if name != MALICIOUS_TRAINER
    }
    mallorys = Role(keys=(actors.mallory.public,))
    actors.operator.admit(
        {
            HONEST_NAME.publisher: Role(keys=(actors.alice.public,)),
            LOOKALIKE_NAME.publisher: mallorys,
            TYPOSQUAT_NAME.publisher: mallorys,
        }
    )
    actors.operator.trust(
        witnesses=[actors.witness.public],
        builders=list(honest.values()),
        no_builders=[actors.builders[MALICIOUS_TRAINER].public],
    )


def _worker(
    zoo: Zoo, name: str, *, folder: Path
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    arguments = [
        *WORKERS[name],
        f"--url={zoo.url}",
        f"--trainer={name}",
        f"--key={folder / f'{name}.pem'}",
        f"--passphrase-file={folder / 'passphrase'}",
        f"--scratch={folder / f'{name}-scratch'}",
        *([f"--lies={folder / LIES}"] if name == MALICIOUS_TRAINER else []),
        *([f"--token-file={zoo.token_file}"] if zoo.token_file else []),
        *([f"--ca={zoo.ca}"] if zoo.ca else []),
    ]
    return running(arguments, log=folder / f"{name}.log")


def _key(path: Path, passphrase_file: Path) -> SigningKey:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not passphrase_file.exists():
        write_whole(passphrase_file, secrets.token_hex(16).encode())
        passphrase_file.chmod(OWNER_ONLY)
    passphrase = passphrase_file.read_bytes()
    if not path.exists():
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        SigningKey.generate().save(unfinished, passphrase=passphrase)
        unfinished.rename(path)
    return SigningKey.load(path, passphrase=passphrase)
