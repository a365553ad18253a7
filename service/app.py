"""The application: the only place where the rooms meet."""

import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import cache, partial

from fastapi import APIRouter, FastAPI

from model_zoo import __version__
from service.api import (
    attempts,
    health,
    hub,
    jobs,
    models,
    pending,
    registrations,
    transparency,
    trust,
    uploads,
)
from service.context import Context, open_context
from service.http import errors
from service.http.guards import Guards
from service.jobs.attempts import reap
from service.jobs.streams import EventStreams
from service.loops import Loop, running
from service.repository.commit import (
    commit,
    is_due,
    mark_served,
    refresh,
    seed,
    update_index,
)
from service.repository.expiry import expiring
from service.repository.importing import import_roles
from service.repository.index import index_after_loss
from service.repository.losses import take_over_losses
from service.settings import Settings
from service.uploads.housekeeping import sweep

log = logging.getLogger(__name__)

API = "/api/v1"
REAP_SECONDS = 1.0
"""How late a lost lease may be noticed while nobody asks for work."""
RENEW_SECONDS = 1.0
"""Between two looks whether timestamp or snapshot is due."""
WARN_SECONDS = 3600.0
"""Between two warnings of the same kind."""
ROUTERS = (
    models.router,
    models.attachments,
    registrations.router,
    uploads.router,
    jobs.router,
    attempts.router,
    trust.router,
    pending.router,
    transparency.router,
)
"""Below the API's prefix."""


def create_app(settings: Settings) -> FastAPI:
    """Return the service over ``settings.data_dir``, which it locks until shut down.

    Without a lifespan the caller closes ``app.state.context``.

    Raises:
        LocalError: the data folder cannot be used, another service uses it, or the
            keys are not those that root and targets list.
    """
    context = open_context(settings)
    with ExitStack() as undone:
        undone.callback(context.close)
        sweep(context)
        with context.database.writing() as session:
            # The order is the point: losses are known before anything is signed, there
            # is a repository before a root is imported into it, and what is signed for
            # the first time comes after the keys that sign it.
            is_older = take_over_losses(session, context)
            seed(session, context)
            update_index(session, context)
            import_roles(session, context)
            if is_older:
                commit(session, context, index_after_loss(session, context))
            refresh(session, context)
        mark_served(context)
        undone.pop_all()  # from here on the lifespan closes it
    app = FastAPI(
        title="Verified Model Zoo",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=errors.DESCRIPTION,
        lifespan=_lifespan,
    )
    app.state.context = context
    app.state.streams = EventStreams(context)
    app.state.loops = _loops(context)
    app.router.routes.extend(_all_routes().routes)
    app.add_middleware(Guards, settings=settings)
    errors.install(app)
    return app


@cache
def _all_routes() -> APIRouter:
    """Return every route. They hold nothing, and take FastAPI a while to read."""
    together = APIRouter(responses=errors.DESCRIPTION, redirect_slashes=False)
    for router in ROUTERS:
        together.include_router(router, prefix=API)
    together.include_router(trust.files)
    together.include_router(transparency.files)
    together.include_router(health.router)
    together.include_router(
        hub.router
    )  # last: its paths begin with any publisher's name
    return together


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    try:
        async with running(app.state.loops, clock=context.now):
            yield
    finally:
        context.close()


def _loops(context: Context) -> tuple[Loop, ...]:
    acts = (
        ("reap", reap, REAP_SECONDS),
        ("renew", _keep_fresh, RENEW_SECONDS),
        ("warn", _warn, WARN_SECONDS),
    )
    return tuple(
        Loop(name=name, act=partial(act, context), every_seconds=seconds)
        for name, act, seconds in acts
    )


def _warn(context: Context) -> None:
    """Log what clients will refuse before long."""
    for role in expiring(context):
        log.warning("%s", role)


def _keep_fresh(context: Context) -> None:
    """Sign timestamp and snapshot again long before clients would refuse them."""
    with context.database.reading() as session:
        if not is_due(session, context):
            return
    with context.database.writing() as session:
        refresh(session, context)
