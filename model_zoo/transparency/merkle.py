"""The Merkle tree of a log: hashes, and proofs that a tree holds or extends another.

A node (level, index) is the hash of a complete subtree: of the 2**level leaves from
index * 2**level on. Complete subtrees never change when the log grows, and every root
and proof is made of O(log n) of them, so whoever can look nodes up (in a database, in
tiles) can make proofs, and nobody who checks one needs to trust him.

Source:
    RFC 6962, section 2.1; the proofs follow its recursive definitions.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from model_zoo.errors import VerificationError

HASH_BYTES = 32
MAX_TREE_SIZE = (1 << 63) - 1
EMPTY_ROOT = hashlib.sha256().digest()

Position = tuple[int, int]
"""A node's level and its index within the level."""
NodeSource = Callable[[Position], bytes]
"""Returns the hash of a complete subtree; raises what its storage raises."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry; no node has the same, whatever its children."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node from those of its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks(size: int) -> list[Position]:
    """Return the complete subtrees, the largest first, that a tree consists of."""
    found: list[Position] = []
    begin = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, begin >> level))
            begin += 1 << level
    return found


def appended(
    size: int, leaves: Iterable[bytes], nodes: NodeSource
) -> dict[Position, bytes]:
    """Return the nodes that come to a tree of ``size`` leaves with ``leaves``.

    Args:
        size: of the tree so far.
        leaves: leaf hashes, in order.
        nodes: asked for ``peaks(size)`` only.
    """
    made: dict[Position, bytes] = {}
    for leaf in leaves:
        level, index, value = 0, size, leaf
        made[level, index] = value
        while index % 2:
            left = (level, index - 1)
            value = node_hash(made.get(left) or nodes(left), value)
            level, index = level + 1, index // 2
            made[level, index] = value
        size += 1
    return made


def root_hash(size: int, nodes: NodeSource) -> bytes:
    """Return the root of the tree's first ``size`` leaves."""
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: NodeSource) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of ``size`` leaves.

    Raises:
        ValueError: it cannot be.
    """
    if not 0 <= index < size:
        msg = f"leaf {index} is not in a tree of {size}"
        raise ValueError(msg)
    siblings = (_range_hash(*sibling, nodes) for sibling in _leaf_path(index, size))
    return list(siblings)[::-1]


def consistency_proof(old: int, new: int, nodes: NodeSource) -> list[bytes]:
    """Return the proof that the tree of ``new`` leaves extends that of ``old``.

    Raises:
        ValueError: ``old`` is not between 1 and ``new``.
    """
    if not 1 <= old <= new:
        msg = f"a tree of {new} leaves extends none of {old}"
        raise ValueError(msg)
    siblings, begin = _prefix_path(old, new)
    proof = [_range_hash(*sibling, nodes) for sibling in siblings]
    if begin:
        proof.append(_range_hash(begin, old, nodes))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes
) -> None:
    """Accept that ``leaf`` is at ``index`` of the tree with this size and root.

    Args:
        leaf: a leaf hash.
        proof: hashes from the leaf's sibling up to the root's child; from anyone.
        index: where the leaf is said to be.
        size: of the tree, as its log signed it.
        root: of the tree, as its log signed it.

    Raises:
        VerificationError: the proof does not show it.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        msg = f"entry {index} cannot be in a log of {size} entries"
        raise VerificationError(msg)
    siblings = _leaf_path(index, size)[::-1]
    _require_hashes([*proof, leaf], len(siblings) + 1)
    value = leaf
    for hashed, (begin, _) in zip(proof, siblings, strict=True):
        value = node_hash(value, hashed) if begin > index else node_hash(hashed, value)
    if value != root:
        msg = f"entry {index} is not in the log: its proof leads to another root"
        raise VerificationError(msg)


def verify_consistency(
    proof: Sequence[bytes], *, old: int, new: int, old_root: bytes, new_root: bytes
) -> None:
    """Accept that the tree of ``new`` leaves extends, or is, that of ``old``.

    An empty tree, which every other extends, has no proof and is refused.

    Args:
        proof: hashes from where the old tree ends up to the root's child; from anyone.
        old: size of the smaller tree.
        new: size of the larger one.
        old_root: its root, as the log signed it.
        new_root: its root, as the log signed it.

    Raises:
        VerificationError: the proof does not show it.
    """
    if not 1 <= old <= new <= MAX_TREE_SIZE:
        msg = f"a log of {new} entries does not extend one of {old}"
        raise VerificationError(msg)
    siblings, begin = _prefix_path(old, new)
    _require_hashes(proof, len(siblings) + (1 if begin else 0))
    rest = list(proof)
    first = second = rest.pop(0) if begin else old_root
    for hashed, (start, _) in zip(rest, siblings[::-1], strict=True):
        if start < old:
            first, second = node_hash(hashed, first), node_hash(hashed, second)
        else:
            second = node_hash(second, hashed)
    if (first, second) != (old_root, new_root):
        msg = f"the log's {new} entries do not begin with the {old} of before"
        raise VerificationError(msg)


def _leaf_path(index: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges beside the way from the root down to leaf ``index``."""
    siblings, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((begin, middle))
            begin = middle
    return siblings


def _prefix_path(old: int, new: int) -> tuple[list[tuple[int, int]], int]:
    """Return the ranges beside the way down to where the old tree ends.

    The second value is where the last, complete subtree of the old tree begins: 0
    means that it is the whole old tree, whose root the reader has.
    """
    siblings, begin, end = [], 0, new
    while end != old:
        middle = begin + _left_size(end - begin)
        if old <= middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((begin, middle))
            begin = middle
    return siblings, begin


def _range_hash(begin: int, end: int, nodes: NodeSource) -> bytes:
    """Return the hash over leaves of a range that some tree splits off."""
    hashes = []
    for level, index in peaks(end - begin):
        hashes.append(nodes((level, index + (begin >> level))))
    value = hashes.pop()
    while hashes:
        value = node_hash(hashes.pop(), value)
    return value


def _left_size(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _require_hashes(hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count or any(len(item) != HASH_BYTES for item in hashes):
        msg = f"expected a proof of {count} hashes of {HASH_BYTES} bytes"
        raise VerificationError(msg)
