"""Setting the stage: what is published, stolen, recorded and withdrawn beforehand."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.digests import sha256_file
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor
from trainer.jobs.attempt import MODEL
from trainer.lab.actors.artefacts import bare, hub_path, marked, provenance_of
from trainer.lab.actors.certificates import issue
from trainer.lab.actors.exchanges import (
    HONEST_NAME,
    History,
    Look,
    Setup,
    Stolen,
    Wanted,
)
from trainer.lab.actors.malicious_mirror import (
    Answer,
    MaliciousMirror,
    Question,
    Responder,
    mirror_running,
    tls_context,
)
from trainer.lab.actors.operator import Operator
from trainer.lab.attacks.mirror_attacks import passing_on, recording

REASON = "a backdoor was found in it"
BLOBS, DATABASE = "blobs", "zoo.db"
TWIN, RECOVERED = "twin", "recovered"
"""Copies of the zoo's data folder, made anew whenever a stage is set."""

Serve = Callable[[Path], AbstractContextManager[str]]
"""Runs a zoo over a folder of data and yields its URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupInputs:
    """What a stage is built of.

    Attributes:
        operator: who opened the zoo.
        alice: the honest publisher's key.
        mallory: the adversary's key.
        builder: a trusted builder's key.
        liar: the key of a builder who lied.
        clean: folder of the draft that alice published as HONEST_NAME.
        badnet: folder of the draft of the BadNet.
        serve: runs further zoos: copies, and a false one.
        settle: waits until the witness has seen the log of a server.
        look: how victims scan weights, those who do.
        disk: the zoo's data folder, where a thief can get at it.
        run: tells this run's releases from those of others.
    """

    operator: Operator
    alice: SigningKey
    mallory: SigningKey
    builder: SigningKey
    liar: SigningKey
    clean: Path
    badnet: Path
    serve: Serve
    settle: Callable[[Server], None]
    look: Look
    disk: Path | None
    run: str


@contextmanager
def set_up(work: Path, inputs: SetupInputs) -> Iterator[Setup]:
    """Yield the stage, set in ``work`` with all that had to happen before.

    Servers start before the mirrors do: this process has no threads until then.
    """
    operator, server = inputs.operator, inputs.operator.transport.server
    with ExitStack() as stack:
        zoo = stack.enter_context(_publishers_client(operator))
        badnet = bare(inputs.badnet, work / "loot")
        history = _published(zoo, inputs, badnet=badnet, work=work)
        inputs.settle(server)
        copies = stack.enter_context(_copies_served(work, inputs))
        false = stack.enter_context(_false_zoo(work, inputs, badnet=badnet))
        upstream = stack.enter_context(passing_on(server))
        mirror, middle = (
            stack.enter_context(_mirror(work / f"{name}-tls"))
            for name in ("mirror", "middle")
        )
        history.archive.update(
            _recorded(mirror, upstream, history, anchor=operator.anchor)
        )
        _withdraw(zoo, inputs, history)
        for recovered in copies[1:]:
            _withdraw_after_recovery(recovered, inputs, history, work=work)
        yield Setup(
            zoo=zoo,
            operator=operator,
            upstream=upstream,
            mirror=mirror,
            middle=middle,
            false_zoo=stack.enter_context(passing_on(false)),
            oms_key=operator.trusted_keys().oms[0],
            authority=work / "mirror-tls" / "authority.pem",
            clean=bare(inputs.clean, work / "clean"),
            badnet=badnet,
            alice=inputs.alice,
            mallory=inputs.mallory,
            liar=inputs.liar,
            settle=lambda: inputs.settle(server),
            look=inputs.look,
            history=history,
            stolen=_stolen(stack, copies, keys=work / TWIN / "trust"),
            run=inputs.run,
        )


def _publishers_client(operator: Operator) -> ZooClient:
    server, anchor = operator.transport.server, operator.anchor
    return ZooClient(server.url, ca=server.ca, token=server.token, anchor=anchor)


def _published(
    zoo: ZooClient, inputs: SetupInputs, *, badnet: Path, work: Path
) -> History:
    """Publish what will be withdrawn, each with weights of its own."""
    robbed_key, cosigner = SigningKey.generate(), SigningKey.generate()
    files = marked(badnet, work / "old", mark=f"old {inputs.run}")
    history = History(
        old=ReleaseName("alice", "digits", f"0.9-{inputs.run}"),
        files=files,
        provenance=provenance_of(files, builder=inputs.builder),
        robbed=ReleaseName(f"bob-{inputs.run}", "digits", "1"),
        robbed_files=marked(badnet, work / "robbed", mark=f"robbed {inputs.run}"),
        robbed_key=robbed_key,
        two_keys=f"carol-{inputs.run}",
    )
    both = Role(keys=(robbed_key.public, cosigner.public), threshold=2)
    one = Role(keys=(robbed_key.public,))
    inputs.operator.admit({history.robbed.publisher: one, history.two_keys: both})
    zoo.publish(history.old, files, key=inputs.alice, provenance=history.provenance)
    zoo.publish(history.robbed, history.robbed_files, key=robbed_key)
    return history


def _withdraw(zoo: ZooClient, inputs: SetupInputs, history: History) -> None:
    zoo.yank(history.old, reason=REASON, key=inputs.alice)
    new = SigningKey.generate()
    inputs.operator.revoke(history.robbed.publisher, new, history.robbed)
    inputs.settle(inputs.operator.transport.server)


def _withdraw_after_recovery(
    recovered: Server, inputs: SetupInputs, history: History, *, work: Path
) -> None:
    cache = work / RECOVERED / "publisher-cache"
    anchor = Anchor(root=inputs.operator.anchor.root, cache=cache)
    with ZooClient(recovered.url, anchor=anchor) as zoo:
        zoo.yank(history.old, reason=REASON, key=inputs.alice)
    inputs.settle(recovered)


@contextmanager
def _copies_served(work: Path, inputs: SetupInputs) -> Iterator[list[Server]]:
    """Serve two copies of the server's disk: the thief's, and one that recovered."""
    if inputs.disk is None:
        yield []
        return
    copies = [_copied(inputs.disk, work / name) for name in (TWIN, RECOVERED)]
    inputs.operator.replace_online_keys(copies[1] / "trust")
    with ExitStack() as stack:
        yield [Server(stack.enter_context(inputs.serve(copy))) for copy in copies]


def _stolen(stack: ExitStack, copies: list[Server], *, keys: Path) -> Stolen | None:
    if not copies:
        return None
    twin, recovered = (stack.enter_context(passing_on(copy)) for copy in copies)
    return Stolen(keys=keys, server=copies[0], twin=twin, recovered=recovered)


def _copied(disk: Path, to: Path) -> Path:
    """Copy a running zoo's data folder: blobs never change, and SQLite can copy."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(disk / "trust", to / "trust")
    shutil.copytree(disk / BLOBS, to / BLOBS, copy_function=os.link)
    with (
        closing(sqlite3.connect(disk / DATABASE)) as source,
        closing(sqlite3.connect(to / DATABASE)) as target,
    ):
        source.backup(target)
    return to


@contextmanager
def _false_zoo(work: Path, inputs: SetupInputs, *, badnet: Path) -> Iterator[Server]:
    """Yield a zoo of mallory's own, in which she is alice."""
    folder = work / "false-zoo"
    with inputs.serve(folder) as url:
        root = (folder / "trust" / "root.json").read_bytes()
        anchor = Anchor(root=root, cache=work / "false-zoo-cache")
        with ZooClient(url, anchor=anchor) as zoo:
            zoo.bind_publisher(HONEST_NAME.publisher, inputs.mallory.public)
            zoo.publish(HONEST_NAME, badnet, key=inputs.mallory)
        yield Server(url)


@contextmanager
def _mirror(tls: Path) -> Iterator[MaliciousMirror]:
    tls.mkdir(parents=True, exist_ok=True)
    files = issue(tls, hosts=("127.0.0.1",), now=system_clock())
    with mirror_running(tls_context(files.chain, files.key)) as mirror:
        yield mirror


def _recorded(
    mirror: MaliciousMirror, upstream: Responder, history: History, *, anchor: Anchor
) -> dict[str, Answer]:
    """Return the zoo's answers of this moment, to whatever a victim may ask later."""
    archive: dict[str, Answer] = {}
    recorder = recording(archive, upstream)
    url = mirror.mount(recorder).url
    policies = (Policy(), Policy(cosignatures=1))
    releases = ((history.old, history.files), (history.robbed, history.robbed_files))
    for name, files in releases:
        for policy in policies:
            with TemporaryDirectory(prefix="zoo-lab-") as scratch:
                here = Path(scratch)
                fresh = Anchor(root=anchor.root, cache=here / "cache")
                with ZooClient(url, anchor=fresh) as zoo:
                    zoo.pull(name, policy=policy, to=here / "pulled")
        for path in _asked_by_stock_clients(name, files):
            for method in ("GET", "HEAD"):
                recorder(Question(method=method, path=path))
    return archive


def _asked_by_stock_clients(name: ReleaseName, files: Path) -> list[str]:
    wanted, sha256 = Wanted.of(name), sha256_file(files / MODEL)
    return [
        f"/api/v1/models/{wanted.path}/releases/{name.version}",
        f"/api/v1/models/{wanted.path}/releases/{name.version}/model.sig",
        f"/tuf/targets/{wanted.path}/{name.version}/{sha256}.{MODEL}",
        f"/{wanted.path}/resolve/{name.version}/{MODEL}",
        f"/api/models/{wanted.path}/revision/{name.version}",
        hub_path(wanted, sha256),
    ]
