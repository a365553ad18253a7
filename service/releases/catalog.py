"""Which releases there are, by name."""

from sqlalchemy import select

from model_zoo.errors import NotFoundError
from model_zoo.names import ModelName, ReleaseName
from service.context import Context
from service.database.tables import ReleaseRow


def find_release(context: Context, name: ReleaseName) -> ReleaseRow | None:
    """Return the release, or None."""
    key = (name.publisher, name.model, name.version)
    with context.database.reading() as session:
        return session.get(ReleaseRow, key)


def require_release(context: Context, name: ReleaseName) -> ReleaseRow:
    """Return the release.

    Raises:
        NotFoundError: there is none of that name.
    """
    release = find_release(context, name)
    if release is None:
        msg = f"no release {name}"
        raise NotFoundError(msg)
    return release


def releases_of(context: Context, name: ModelName) -> list[ReleaseRow]:
    """Return the model's releases, the oldest first.

    Raises:
        NotFoundError: it has none.
    """
    with context.database.reading() as session:
        releases = list(
            session.scalars(
                select(ReleaseRow)
                .where(
                    ReleaseRow.publisher == name.publisher,
                    ReleaseRow.model == name.model,
                )
                .order_by(ReleaseRow.published_at, ReleaseRow.version)
            )
        )
    if not releases:
        msg = f"no model {name}"
        raise NotFoundError(msg)
    return releases


def models(context: Context) -> dict[ModelName, list[str]]:
    """Return every model that has a release, with its versions, the oldest first."""
    found: dict[ModelName, list[str]] = {}
    with context.database.reading() as session:
        for publisher, model, version in session.execute(
            select(ReleaseRow.publisher, ReleaseRow.model, ReleaseRow.version).order_by(
                ReleaseRow.publisher,
                ReleaseRow.model,
                ReleaseRow.published_at,
                ReleaseRow.version,
            )
        ):
            found.setdefault(ModelName(publisher, model), []).append(version)
    return found
