"""The people of the laboratory: their keys, their bindings, their workers."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_zoo.cli.options import connect
from model_zoo.client import ZooClient
from model_zoo.keys import SigningKey
from trainer.files import write_whole
from trainer.lab.processes import running
from trainer.lab.scenes import HONEST_NAME, LOOKALIKE_NAME

HONEST_TRAINER = "honest-trainer"
MALICIOUS_TRAINER = "malicious-trainer"
VICTIMS_TRAINER = "victims-trainer"
OWNER_ONLY = 0o600

WORKERS = {
    HONEST_TRAINER: ("model_zoo", "worker"),
    MALICIOUS_TRAINER: ("trainer.lab.malicious_worker",),
    VICTIMS_TRAINER: ("model_zoo", "worker"),
}
"""Trainer -> the program it runs; one of them lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoo:
    """Where the zoo is and what it takes to be let in."""

    url: str
    token_file: Path | None = None
    ca: Path | None = None

    def client(self) -> ZooClient:
        """Return a client of it."""
        return connect(self.url, ca=self.ca, token_file=self.token_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Publishers and builders: who can sign what."""

    alice: SigningKey
    mallory: SigningKey
    builders: dict[str, SigningKey]


@contextmanager
def assembled(zoo: Zoo, *, folder: Path) -> Iterator[Cast]:
    """Give everybody a key, bind names to keys, and run the trainers' workers.

    Keys lie encrypted under ``folder`` and are the same after an interruption.
    """
    passphrase_file = folder / "passphrase"
    cast = Cast(
        alice=_key(folder / "alice.pem", passphrase_file),
        mallory=_key(folder / "mallory.pem", passphrase_file),
        builders={
            name: _key(folder / f"{name}.pem", passphrase_file) for name in WORKERS
        },
    )
    with zoo.client() as operator:
        operator.bind_publisher(HONEST_NAME.publisher, cast.alice.public)
        operator.bind_publisher(LOOKALIKE_NAME.publisher, cast.mallory.public)
        for name, key in cast.builders.items():
            operator.bind_trainer(name, key.public)
    with ExitStack() as stack:
        for name, program in WORKERS.items():
            arguments = [
                *program,
                f"--url={zoo.url}",
                f"--trainer={name}",
                f"--key={folder / f'{name}.pem'}",
                f"--passphrase-file={passphrase_file}",
                f"--scratch={folder / f'{name}-scratch'}",
                *([f"--token-file={zoo.token_file}"] if zoo.token_file else []),
                *([f"--ca={zoo.ca}"] if zoo.ca else []),
            ]
            stack.enter_context(running(arguments, log=folder / f"{name}.log"))
        yield cast


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
