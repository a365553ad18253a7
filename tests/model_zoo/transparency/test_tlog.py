"""The tree, its proofs and its tiles, held against RFC 6962 and a log of others."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo.errors import InvalidSpecError, MalformedDocumentError, VerificationError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.merkle import (
    EMPTY_ROOT,
    Position,
    appended,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    peaks,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from model_zoo.transparency.notes import VerifierKey
from model_zoo.transparency.tlog import (
    Checkpoint,
    LogEntry,
    SignedCheckpoint,
    Tile,
    TileNodes,
    from_bundle,
    to_bundle,
)

VECTORS = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> Any:  # noqa: ANN401  JSON of others
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


LOG = vectors("tessera-log/log.json")
LOG_KEY = VerifierKey.from_text(LOG["verifier_key"])
FILES = {path: base64.b64decode(text) for path, text in LOG["files"].items()}
PATHS = vectors("tile-paths/tessera.json")
SIZES = range(1, 67)


def reference_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    left, right = reference_root(leaves[:k]), reference_root(leaves[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaves_of(size: int, tag: bytes = b"") -> list[bytes]:
    return [leaf_hash(tag + b"%d" % number) for number in range(size)]


def nodes_of(leaves: list[bytes]) -> dict[Position, bytes]:
    def none(position: Position) -> bytes:
        raise AssertionError(position)

    return appended(0, leaves, none)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (
            EMPTY_ROOT,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            leaf_hash(b""),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            leaf_hash(b"L123456"),
            "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
        ),
        (
            node_hash(b"N123", b"N456"),
            "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb",
        ),
    ],
)
def test_hashes_are_rfc_6962_s(found: bytes, wanted: str) -> None:
    assert found.hex() == wanted


def decoded(texts: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in texts or []]


@pytest.mark.parametrize(
    "case", vectors("merkle/inclusion.json"), ids=lambda case: str(case["file"])
)
def test_inclusion_is_judged_as_others_judge_it(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_inclusion(
            base64.b64decode(case["leafHash"] or ""),
            decoded(case["proof"]),
            index=case["leafIdx"],
            size=case["treeSize"],
            root=base64.b64decode(case["root"] or ""),
        )

    if case["wantErr"]:
        with pytest.raises(VerificationError):
            verify()
    else:
        verify()


@pytest.mark.parametrize(
    "case", vectors("merkle/consistency.json"), ids=lambda case: str(case["file"])
)
def test_consistency_is_judged_as_others_judge_it(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_consistency(
            decoded(case["proof"]),
            old=case["size1"],
            new=case["size2"],
            old_root=base64.b64decode(case["root1"] or ""),
            new_root=base64.b64decode(case["root2"] or ""),
        )

    if case["wantErr"]:
        with pytest.raises(VerificationError):
            verify()
    else:
        verify()


def test_roots_are_those_of_the_definition() -> None:
    leaves = leaves_of(max(SIZES))
    nodes = nodes_of(leaves)
    for size in SIZES:
        assert root_hash(size, nodes.__getitem__) == reference_root(leaves[:size])


def test_appending_asks_for_the_peaks_only_and_makes_the_same_tree() -> None:
    leaves = leaves_of(100)
    whole = nodes_of(leaves)
    nodes: dict[Position, bytes] = {}
    size = 0
    for count in (1, 1, 5, 1, 8, 17, 31, 36):
        known = {position: nodes[position] for position in peaks(size)}
        assert len(known) == size.bit_count()
        nodes |= appended(size, leaves[size : size + count], known.__getitem__)
        size += count
    assert nodes == whole


def test_every_leaf_of_every_tree_has_a_proof_and_nobody_else_s() -> None:
    leaves = leaves_of(33)
    nodes = nodes_of(leaves)
    for size in range(1, 34):
        root = root_hash(size, nodes.__getitem__)
        for index in range(size):
            proof = inclusion_proof(index, size, nodes.__getitem__)
            verify_inclusion(leaves[index], proof, index=index, size=size, root=root)
            other = (index + 1) % size
            if other != index:
                with pytest.raises(VerificationError):
                    verify_inclusion(
                        leaves[index], proof, index=other, size=size, root=root
                    )


def test_every_tree_extends_every_smaller_one() -> None:
    leaves = leaves_of(33)
    nodes = nodes_of(leaves)
    roots = [root_hash(size, nodes.__getitem__) for size in range(34)]
    for new in range(1, 34):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, nodes.__getitem__)
            verify_consistency(
                proof, old=old, new=new, old_root=roots[old], new_root=roots[new]
            )
            with pytest.raises(VerificationError):
                verify_consistency(
                    proof, old=old, new=new, old_root=EMPTY_ROOT, new_root=roots[new]
                )


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_proof_is_made_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        inclusion_proof(index, size, nodes_of(leaves_of(5)).__getitem__)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5)])
def test_no_proof_is_made_that_a_tree_extends_none_or_a_larger(
    old: int, new: int
) -> None:
    with pytest.raises(ValueError, match="extends none"):
        consistency_proof(old, new, nodes_of(leaves_of(5)).__getitem__)


def entries_of_the_log() -> list[bytes]:
    return from_bundle(FILES["tile/entries/000.p/15"], width=15)


def test_every_checkpoint_of_another_s_log_is_signed_and_of_its_entries() -> None:
    leaves = [leaf_hash(entry) for entry in entries_of_the_log()]
    for size, note in enumerate(LOG["checkpoints"]):
        signed = SignedCheckpoint.open(note.encode(), [LOG_KEY.key])
        assert signed.checkpoint.origin == LOG_KEY.name
        assert signed.checkpoint.size == size
        assert signed.checkpoint.root == reference_root(leaves[:size])
        assert signed.checkpoint.to_text() == signed.note.text


def test_we_make_the_tiles_and_bundles_that_others_make() -> None:
    entries = entries_of_the_log()
    for width in range(1, 16):
        tile = b"".join(map(leaf_hash, entries[:width]))
        assert FILES[Tile(0, 0, width).path] == tile
        assert FILES[Tile(None, 0, width).path] == to_bundle(entries[:width])


def test_proofs_out_of_another_s_tiles_lead_to_its_roots() -> None:
    checkpoints = [
        SignedCheckpoint.open(note.encode(), [LOG_KEY.key]).checkpoint
        for note in LOG["checkpoints"]
    ]
    entries = entries_of_the_log()
    for new in range(1, 16):
        nodes = TileNodes(new, FILES.__getitem__)
        root = checkpoints[new].root
        for index in range(new):
            proof = inclusion_proof(index, new, nodes)
            leaf = leaf_hash(entries[index])
            verify_inclusion(leaf, proof, index=index, size=new, root=root)
        for old in range(1, new):
            verify_consistency(
                consistency_proof(old, new, nodes),
                old=old,
                new=new,
                old_root=checkpoints[old].root,
                new_root=root,
            )


def tiles_of(leaves: list[bytes]) -> dict[str, bytes]:
    """Return the tiles that a log of these leaves serves, by path."""
    nodes = nodes_of(leaves)
    tiles = {}
    level, count = 0, len(leaves)
    while count:
        for begin in range(0, count, 256):
            width = min(256, count - begin)
            hashes = [nodes[level * 8, begin + i] for i in range(width)]
            tiles[Tile(level, begin // 256, width).path] = b"".join(hashes)
        level, count = level + 1, count // 256
    return tiles


def test_a_log_of_several_levels_of_tiles_proves_all_it_says() -> None:
    leaves = leaves_of(256 * 256 + 300)
    size = len(leaves)
    tiles, nodes = tiles_of(leaves), nodes_of(leaves)
    assert {path for path in tiles if path.startswith(("tile/1", "tile/2"))} == {
        "tile/1/000",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
    }
    root = root_hash(size, nodes.__getitem__)
    read: list[str] = []

    def fetch(path: str) -> bytes:
        read.append(path)
        return tiles[path]

    served = TileNodes(size, fetch)
    for index in (0, 255, 256, 65535, 65536, size - 1):
        proof = inclusion_proof(index, size, served)
        assert proof == inclusion_proof(index, size, nodes.__getitem__)
        verify_inclusion(leaves[index], proof, index=index, size=size, root=root)
    for old in (1, 255, 256, 257, 65536, 65537, size - 1):
        proof = consistency_proof(old, size, served)
        assert proof == consistency_proof(old, size, nodes.__getitem__)
    assert len(read) == len(set(read)), "a tile is fetched once"


def test_a_tile_of_the_wrong_length_is_refused() -> None:
    nodes = TileNodes(15, lambda path: FILES[path] + b"\0")
    with pytest.raises(VerificationError, match="expected 15 hashes"):
        inclusion_proof(3, 15, nodes)


def test_a_subtree_outside_the_log_is_refused() -> None:
    nodes = TileNodes(15, FILES.__getitem__)
    with pytest.raises(VerificationError, match="no subtree"):
        nodes((4, 0))
    with pytest.raises(VerificationError, match="no subtree"):
        nodes((8, 0))


@pytest.mark.parametrize(("path", "level", "index", "width"), PATHS["paths"])
def test_tiles_have_the_paths_that_others_give_them(
    path: str, level: int | None, index: int, width: int
) -> None:
    assert Tile(level, index, width).path == path
    assert Tile.parse(path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [*PATHS["malformed"], "tile/0/x000/001", "tile/00/000", "tile/0/000.p/0", "", "/"],
)
def test_a_path_that_no_tile_has_is_refused(path: str) -> None:
    with pytest.raises(MalformedDocumentError):
        Tile.parse(path)


ROOT = "TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0="


def test_a_checkpoint_reads_and_writes() -> None:
    text = f"go.sum database tree\n123456789012\n{ROOT}\n"
    checkpoint = Checkpoint.parse(text)
    assert checkpoint.size == 123456789012
    assert checkpoint.root == leaf_hash(b"hello world")
    assert checkpoint.to_text() == text
    assert Checkpoint.parse(text + "an extension line\n") == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"a\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"a\n\n{ROOT}\n",
        f"a\n01\n{ROOT}\n",
        f"a\n-1\n{ROOT}\n",
        f"a\n+1\n{ROOT}\n",
        f"a\n1_0\n{ROOT}\n",
        f"a\n\u0661\n{ROOT}\n",
        f"a\n9223372036854775808\n{ROOT}\n",
        f"a\n0xabc\n{ROOT}\n",
        f"a\n1\n{ROOT[:-4]}\n",
        "a\n1\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBTOOBIG=\n",
        f"a\n1\n{ROOT}\n\nextension\n",
        f"a\n1\n{ROOT}\n\n",
    ],
)
def test_a_checkpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocumentError, match="not a checkpoint"):
        Checkpoint.parse(text)


def test_a_checkpoint_signed_by_another_key_or_under_another_name_is_refused() -> None:
    key = SigningKey.generate()
    data = Checkpoint("log.example", 1, EMPTY_ROOT).signed(key).to_bytes()
    assert SignedCheckpoint.open(data, [key.public]).checkpoint.size == 1
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        SignedCheckpoint.open(data, [SigningKey.generate().public])
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        SignedCheckpoint.open(data, [])
    renamed = data.replace(b"log.example\n1", b"log2.example\n1")
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        SignedCheckpoint.open(renamed, [key.public])


def test_a_log_with_a_name_that_no_key_may_have_signs_nothing() -> None:
    with pytest.raises(InvalidSpecError, match="origin"):
        Checkpoint("two words", 0, EMPTY_ROOT).signed(SigningKey.generate())


@pytest.mark.parametrize(
    ("data", "width"),
    [(b"\0", 1), (b"\0\1", 1), (b"\0\1aa", 1), (b"\0\1a", 2), (b"\0\0\0\0", 1)],
)
def test_a_bundle_that_is_cut_or_too_long_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(MalformedDocumentError, match="not a bundle"):
        from_bundle(data, width=width)


def test_an_entry_has_one_spelling_and_one_leaf_hash() -> None:
    entry = LogEntry(kind="metadata", name="alice", version=3, sha256="0" * 64)
    spelled = b'{"kind":"metadata","name":"alice","sha256":"%s","version":3}'
    assert entry.to_bytes() == spelled % (b"0" * 64)
    assert entry.leaf_hash() == leaf_hash(entry.to_bytes())
