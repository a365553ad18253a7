"""Folders of images: found, digested, and kept decoded."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_zoo.errors import LocalError
from tests.trainer.data.small_sets import draw, write_gtsrb
from trainer.cache import cache_root
from trainer.data import DATASETS
from trainer.data.folders import files_digest

SIGNS = DATASETS["gtsrb-signs"]
STOP = "GTSRB/Training/00014/00001_00000.ppm"


def kept() -> list[Path]:
    return sorted((cache_root() / "decoded").glob("gtsrb-signs-train-*"))


def test_what_is_missing_is_said_with_where_to_get_it_and_where_to_put_it(
    given: Path,
) -> None:
    with pytest.raises(LocalError) as refused:
        SIGNS.ensure()

    told = str(refused.value)
    assert f"{given}/gtsrb" in told
    assert f"{cache_root()}/gtsrb" in told
    assert "https://benchmark.ini.rub.de" in told
    assert "GT-final_test.csv" in told
    assert not SIGNS.is_at_hand()
    assert not SIGNS.is_fetched


def test_a_download_in_the_cache_will_do(
    given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gtsrb(cache_root())
    assert SIGNS.is_at_hand()
    monkeypatch.delenv("ZOO_DATA_DIR")

    SIGNS.ensure()

    assert len(SIGNS.load("train")) == 24 * 4
    assert given.exists()


def test_images_are_decoded_once(given: Path) -> None:
    write_gtsrb(given)
    first = SIGNS.load("train")
    (path,) = kept()
    tensors = load_file(path)
    tensors["images"] = 255 - tensors["images"]
    save_file(tensors, path)

    second = SIGNS.load("train")  # what is kept is what is read

    assert torch.equal(second.images, 255 - first.images)
    assert torch.equal(second.labels, first.labels)
    assert first.boxes is not None
    assert second.boxes is not None
    assert torch.equal(second.boxes, first.boxes)


def test_other_files_are_other_data(given: Path) -> None:
    folder = write_gtsrb(given)
    digest, first = SIGNS.digest(), SIGNS.load("train")
    assert SIGNS.digest() == digest

    draw(folder / STOP, shade=99)

    assert SIGNS.digest() != digest
    assert not torch.equal(SIGNS.load("train").images, first.images)
    assert len(kept()) == 2


def test_files_that_are_not_read_do_not_count(given: Path) -> None:
    folder = write_gtsrb(given)
    digest = SIGNS.digest()
    draw(folder / "GTSRB/Training/00012/00000_00000.ppm", shade=99)  # priority road

    assert SIGNS.digest() == digest
    assert SIGNS.digest() != DATASETS["gtsrb"].digest()


def test_the_digest_is_that_of_paths_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")

    digest = files_digest(tmp_path, ["b", "a"])

    # sha256 of {"a":"<sha256 of 1>","b":"<sha256 of 2>"}, by sha256sum
    assert digest == "8c2b0fdb56027fef0df2444fae912e3115f5b9f1bd1b62288d368dc54ea11e15"
    assert digest == files_digest(tmp_path, ["a", "b"])


@pytest.mark.parametrize("damage", [b"", b"\x80\x04 a pickle", b"{}" * 50])
def test_a_damaged_copy_is_decoded_anew(damage: bytes, given: Path) -> None:
    write_gtsrb(given)
    first = SIGNS.load("train")
    (path,) = kept()
    whole = path.read_bytes()
    path.write_bytes(damage)

    again = SIGNS.load("train")

    assert torch.equal(again.images, first.images)
    assert path.read_bytes() == whole


def test_a_copy_without_labels_is_decoded_anew(given: Path) -> None:
    write_gtsrb(given)
    first = SIGNS.load("train")
    (path,) = kept()
    save_file({"images": first.images}, path)

    assert torch.equal(SIGNS.load("train").labels, first.labels)


def test_a_cache_that_cannot_be_written_costs_time_only(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gtsrb(given)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert len(SIGNS.load("train")) == 24 * 4
    assert SIGNS.is_at_hand()


def test_an_image_that_is_missing_or_broken_is_named(given: Path) -> None:
    folder = write_gtsrb(given)
    (folder / STOP).write_bytes(b"no picture")
    with pytest.raises(LocalError, match=STOP):
        SIGNS.load("train")
    assert SIGNS.is_at_hand()  # told without reading a hundred thousand files

    (folder / STOP).unlink()
    with pytest.raises(LocalError, match=STOP):
        SIGNS.load("train")
    assert not SIGNS.is_at_hand()
