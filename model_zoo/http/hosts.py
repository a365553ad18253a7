"""Hosts: which machine a URL leads to, however its host is spelled.

``127.1``, ``0x7f000001``, ``2130706433``, ``localhost.``, ``::ffff:127.0.0.1`` and
``64:ff9b::7f00:1`` are all this machine to some resolver. So a host is read as the
system reads it, and what a name leads to is judged before it is connected to.

ADR 8.

Source:
    inet_aton(3); RFC 6761, section 6.3 (localhost); RFC 6052 (NAT64); RFC 3056
    (6to4); IANA IPv6 Address Space.
"""

import ipaddress
import socket
from contextlib import suppress

from model_zoo.errors import InvalidSpecError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out; other ranges translate to who knows what."""
_IPV4_BITS = 0xFFFFFFFF


def is_loopback(host: str) -> bool:
    """Whether ``host`` is spelled as this machine and no other, in the usual way."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(host: str) -> bool:
    """Whether ``host`` is a name, or an address outside of inner networks.

    A name may still lead inside: see ``require_public_peer``.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or not name.isascii():
        return False
    address = _address(name)
    return address is None or _is_public(address)


def require_public_peer(address: str, *, host: str) -> None:
    """Accept the ``address`` that ``host`` led to if it is outside of inner networks.

    Raises:
        InvalidSpecError: it is inside.
    """
    read = _address(address)
    if read is None or not _is_public(read):
        msg = f"{host}: leads to {address}, inside this network: not fetched"
        raise InvalidSpecError(msg)


def _address(text: str) -> Address | None:
    """Return the address that ``text`` spells for any resolver; None for a name."""
    bare = text.partition("%")[0]  # without the zone
    with suppress(ValueError):
        return ipaddress.ip_address(bare)
    with suppress(OSError, ValueError):
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & _IPV4_BITS)
        if inner is not None:
            return _is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast
