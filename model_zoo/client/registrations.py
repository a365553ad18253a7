"""Names and the keys that the operator bound to them, once and for all."""

from typing import Literal

from model_zoo.errors import MalformedDocumentError
from model_zoo.http.responses import BoundKey, escaped
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import check_name


def bind(
    transport: Transport,
    noun: Literal["publisher", "trainer"],
    name: str,
    *,
    public_key: PublicKey,
) -> BoundKey:
    """Bind ``name`` to ``public_key``; binding it again to the same key is fine.

    Raises:
        ConflictError: the name is bound to another key.
        MalformedDocumentError: the zoo says it bound another name or key.
    """
    path = f"/{noun}s/{check_name(name, what=noun)}"
    body = {"public_key": public_key.to_pem()}
    bound = BoundKey.read(transport.send("PUT", path, body))
    if (bound.name, bound.keyid) != (name, public_key.keyid):
        msg = (
            f"{noun} {name}: the zoo says that it bound another name or key: "
            f"{escaped(bound.name)}, {bound.keyid}"
        )
        raise MalformedDocumentError(msg)
    return bound
