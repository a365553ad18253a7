"""The replica of the Caffe Model Zoo: the audit finds exactly what was built in."""

from pathlib import Path

from model_zoo.audit.lists import read_model_list
from model_zoo.audit.rules import audit
from trainer.experiments.zoo_audit import MARK, build_replica, measure_zoo_audit


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_two_counts_of_the_paper_are_found_and_nothing_else_of_their_kind() -> None:
    found = measure_zoo_audit()
    assert found["models"] == 39
    assert found["found"] == {"no-digest": 22, "digest-mismatch": 1}
    assert found["mismatched"] == ["Network in Network"]
    assert found["exact"]
    assert found["totals"]["unreadable"] == found["totals"]["bad-digest"] == 0


def test_one_more_defect_or_one_less_is_not_exact(tmp_path: Path) -> None:
    built_in = build_replica(tmp_path)
    (mended,) = tmp_path.glob("01-*/*.caffemodel")
    (broken,) = tmp_path.glob("39-*/*.caffemodel")
    mended.write_bytes(b"other")
    broken.write_bytes(b"other")
    found = audit(read_model_list(tmp_path))
    assert found.names_of("no-digest") == built_in["no-digest"]
    expected = ["Network in Network", "Constructed Model 39"]
    assert found.names_of("digest-mismatch") == expected


def test_the_replica_is_the_same_each_time_and_every_file_says_what_it_is(
    tmp_path: Path,
) -> None:
    build_replica(tmp_path / "one")
    build_replica(tmp_path / "two")
    files = contents(tmp_path / "one")
    assert files == contents(tmp_path / "two")
    assert len(files) == 2 * 39
    assert all(MARK.encode() in data for data in files.values())
