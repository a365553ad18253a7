from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.digests import is_sha256, sha256_bytes, sha256_file
from model_zoo.statements.manifest import MAX_FILE_BYTES, FileEntry, Manifest

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
files = st.builds(
    FileEntry,
    name=names,
    size_bytes=st.integers(0, MAX_FILE_BYTES),
    sha256=st.binary(max_size=8).map(sha256_bytes),
)
manifests = st.lists(
    files, min_size=1, max_size=5, unique_by=lambda file: file.name
).map(lambda found: Manifest(files=tuple(found)))


@given(manifests)
def test_a_manifest_written_and_read_is_the_same_manifest(manifest: Manifest) -> None:
    assert Manifest.from_bytes(manifest.to_bytes(), limit_bytes=9999) == manifest


@given(
    st.lists(files, min_size=1, max_size=5, unique_by=lambda f: f.name), st.randoms()
)
def test_the_order_of_files_does_not_matter(
    found: list[FileEntry], random: Random
) -> None:
    shuffled = random.sample(found, len(found))
    first, second = Manifest(files=tuple(found)), Manifest(files=tuple(shuffled))
    assert first.digest() == second.digest()
    assert first.size_bytes == sum(file.size_bytes for file in found)
    assert all(first.entry(file.name) == file for file in found)
    assert first.entry("not there") is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["files", "name", "size_bytes", "sha256"]), inner
            )
        ),
    )
)
def test_any_json_is_a_manifest_or_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"document|files|JSON"):
        Manifest.from_object(value)


@pytest.mark.parametrize(
    "change",
    [
        {"size_bytes": -1},
        {"size_bytes": MAX_FILE_BYTES + 1},
        {"size_bytes": 1.5},
        {"size_bytes": True},
        {"size_bytes": "1"},
        {"sha256": "0" * 63},
        {"sha256": "A" * 64},
        {"sha256": "0" * 64 + "\n"},
        {"sha256": None},
        {"note": "an unknown field"},
    ],
)
def test_a_field_out_of_its_range_is_refused_by_name(change: dict[str, object]) -> None:
    entry = {"name": "a.json", "size_bytes": 2, "sha256": "0" * 64}
    FileEntry.from_object(entry)
    with pytest.raises(ValueError, match=next(iter(change))):
        FileEntry.from_object(entry | change)


@pytest.mark.parametrize("count", [0, 257])
def test_a_manifest_of_no_file_or_too_many_is_refused(count: int) -> None:
    entries = [
        {"name": f"{number}", "size_bytes": 0, "sha256": "0" * 64}
        for number in range(count)
    ]
    with pytest.raises(ValueError, match="files"):
        Manifest.from_object({"files": entries})


def test_a_digest_is_lowercase_hexadecimal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "file") == sha256_bytes(b"abc") == known
    assert is_sha256(known)
    assert not any(map(is_sha256, (known.upper(), known[:-1], known + "\n", "")))
