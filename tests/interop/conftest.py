"""One zoo with releases, on a socket, for every stock client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.keys.p256 import P256Key
from model_zoo.statements.dsse import Envelope
from model_zoo.tuf.updater import Anchor
from tests.interop.serving import FILES, Served
from tests.model_zoo.servers import open_zoo
from tests.service.zoo import ALICE, BUILDER, built, weights

TRAINED = {"model.safetensors": weights(3)}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A zoo on a socket: digits and trained have one release, two has two, gone none.

    Its clock is the machine's: stock clients take no other.
    """
    folder = tmp_path_factory.mktemp("served")
    trust = folder / "zoo" / "trust"
    with open_zoo(folder / "zoo") as url:
        anchor = Anchor(root=(trust / "root.json").read_bytes(), cache=folder / "cache")
        with ZooClient(url, anchor=anchor) as client:
            client.bind_publisher("alice", ALICE.public)
            client.bind_trainer("lab", BUILDER.public)
            publish(client, "digits@1", FILES, folder=folder)
            for version in ("1", "2"):
                files = {"model.safetensors": weights(int(version))}
                publish(client, f"two@{version}", files, folder=folder)
            publish(client, "trained@1", TRAINED, folder=folder, provenance=trained())
            publish(client, "gone@1", {"model.safetensors": weights(9)}, folder=folder)
            client.yank("alice/gone@1", reason="a backdoor was found", key=ALICE)
            passphrase = (trust / "passphrase").read_bytes().strip()
            yield Served(
                url=url,
                client=client,
                root=anchor.root,
                oms_key=P256Key.load(trust / "oms.pem", passphrase=passphrase),
            )


def publish(
    client: ZooClient,
    name: str,
    files: dict[str, bytes],
    *,
    folder: Path,
    provenance: Envelope | None = None,
) -> None:
    """Publish ``files`` as alice's."""
    source = folder / name
    source.mkdir()
    for file, data in files.items():
        (source / file).write_bytes(data)
    client.publish(f"alice/{name}", source, key=ALICE, provenance=provenance)


def trained() -> Envelope:
    """Return a builder's word that TRAINED was fine-tuned from a parent."""
    provenance = built(
        TRAINED,
        {},
        kind="fine-tune",
        spec={"network": "badnets-cnn", "parent": "c" * 64, "seed": 7},
        inputs={"mnist": "d" * 64, "parent": "c" * 64},
    )
    return Envelope.from_object(provenance)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interop: stock clients; run by `make interop`")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if "interop" not in config.getoption("markexpr").replace("not interop", ""):
        items[:] = [item for item in items if not item.get_closest_marker("interop")]
