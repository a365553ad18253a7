"""The index of withdrawn files: small for each client, whatever was withdrawn."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from model_zoo.names import ReleaseName
from model_zoo.policy import TrustPolicy
from model_zoo.trust.releases import trusted_release
from model_zoo.trust.yanks import YankNotice
from service.trust.index import indexed
from service.trust.writing import commit
from tests.service.operator import stranger
from tests.service.zoo import JSON, Zoo, weights

NAME = "alice/digits@1"
FILES = {"model.safetensors": weights(1), "card.json": JSON}


def notices(count: int, files: int) -> Iterator[YankNotice]:
    for number in range(count):
        name = f"mallory/junk@{number}"
        yield YankNotice(
            release=name,
            withdrawn_by="publisher",
            reason="because I can",
            yanked_at="2026-11-22T13:00:00Z",
            files={
                f"{n}.safetensors": hashlib.sha256(f"{name}{n}".encode()).hexdigest()
                for n in range(files)
            },
        )


def test_many_withdrawals_stop_nobody(zoo: Zoo, tmp_path: Path) -> None:
    """117 releases of 256 files: one list of them was longer than clients read."""
    zoo.published(NAME, FILES)
    parts = zoo.app.state.parts
    with parts.database.writing() as session:
        commit(session, parts, indexed(session, parts, notices(117, 256)))

    view = stranger(zoo, tmp_path / "fresh")
    name = ReleaseName.parse(NAME)
    found = trusted_release(view, name, policy=TrustPolicy(), holders=lambda _: [])
    assert found.statement.release == name
    assert zoo.get("/readyz").status_code == 200
