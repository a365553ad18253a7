"""Releases by the names that clients of Git hubs give them: commits and ``main``.

ADR 15 and 19: ``main`` is the only release of a model, never the newest.
"""

import re

from sqlalchemy import select

from model_zoo.digests import sha256_bytes
from model_zoo.names import ModelName
from model_zoo.statements.dsse import Envelope
from service.context import Context
from service.database.tables import ReleaseRow

COMMIT_CHARACTERS = 40
MAIN = "main"
_COMMIT = re.compile(rf"[0-9a-f]{{{COMMIT_CHARACTERS}}}", re.ASCII)


def commit_of(envelope: object) -> str:
    """Return the commit of a release: the head of its statement's SHA-256, 40 digits.

    Whoever pins it pins names, lengths and digests of the files. 160 bits of SHA-256
    stand against a second statement of that commit, not against a publisher that
    looks for two of its own that share one.

    Args:
        envelope: the JSON values of the release statement's envelope.
    """
    payload = Envelope.from_object(envelope).unverified_payload
    return sha256_bytes(payload)[:COMMIT_CHARACTERS]


def has_model(context: Context, name: ModelName) -> bool:
    """Whether a release of the model was published."""
    return bool(_versions(context, name))


def version_of(context: Context, name: ModelName, *, revision: str) -> str | None:
    """Return the version that ``revision`` means, or None.

    Forty hexadecimal digits are a commit and never a version, so that nobody can
    name a version like the commit of another. ``main`` is the one release of a model
    that has one: which of several is the newest, nothing signed says.
    """
    versions = _versions(context, name)
    if revision == MAIN:
        return versions[0] if len(versions) == 1 else None
    if _COMMIT.fullmatch(revision):
        return _version_at(context, name, commit=revision)
    return revision if revision in versions else None


def _versions(context: Context, name: ModelName) -> list[str]:
    with context.database.reading() as session:
        return list(
            session.scalars(
                select(ReleaseRow.version).where(
                    ReleaseRow.publisher == name.publisher,
                    ReleaseRow.model == name.model,
                )
            )
        )


def _version_at(context: Context, name: ModelName, *, commit: str) -> str | None:
    with context.database.reading() as session:
        for version, envelope in session.execute(
            select(ReleaseRow.version, ReleaseRow.envelope).where(
                ReleaseRow.publisher == name.publisher,
                ReleaseRow.model == name.model,
            )
        ):
            # A model has few releases: a column for it would have to be kept in step.
            if commit_of(envelope) == commit:
                return str(version)
    return None
