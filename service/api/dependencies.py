"""What every route is given."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from service.parts import Parts


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsHere = Annotated[Parts, Depends(_parts)]
