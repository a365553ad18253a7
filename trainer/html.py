"""What our HTML pages share: their style, their banner, and standing alone."""

import base64
from typing import Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

WARNING = (
    "This report speaks of deliberately backdoored models, made for defensive "
    "research. Do not use them for anything else."
)

_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def templates(package: str) -> Environment:
    """Return the templates of ``package``, which may include the shared ones."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("trainer")]),
        autoescape=True,
        undefined=StrictUndefined,
    )


def data_uri(picture: bytes, kind: Literal["png", "svg"]) -> str:
    """Return ``picture`` as an address that needs no other file."""
    return f"data:{_TYPES[kind]};base64,{base64.b64encode(picture).decode()}"
