"""Questions outside /api/v1, as clients of other hubs put them."""
# ruff: noqa: ANN401
# What is passed on to httpx is its to type.

import asyncio
from typing import Any

import httpx

from service.database.tables import WithdrawalRow
from tests.service.zoo import Zoo


def ask(zoo: Zoo, path: str, *, method: str = "GET", **kwargs: Any) -> httpx.Response:
    """Send one request, in process, to a path from the root."""
    transport = httpx.ASGITransport(app=zoo.app, raise_app_exceptions=False)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", trust_env=False
        ) as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(send())


def withdraw(zoo: Zoo, publisher: str, model: str, version: str) -> None:
    """Write down that the publisher withdrew a release, as ``zoo yank`` has it done."""
    context = zoo.app.state.context
    with context.database.writing() as session:
        session.add(
            WithdrawalRow(
                publisher=publisher,
                model=model,
                version=version,
                withdrawn_by="publisher",
                reason="a backdoor was found",
                withdrawn_at=context.now(),
            )
        )
