"""Small data sets in their official layouts, drawn and written by tests."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

from trainer.data.belgiumtsc import CLASSES as BELGIAN
from trainer.data.gtsrb import CLASSES as GERMAN
from trainer.data.gtsrb import COLUMNS

SIZE = (40, 30)
BOX = (10, 6, 30, 24)
HEADER = ";".join(COLUMNS)


def draw(path: Path, *, size: tuple[int, int] = SIZE, shade: int = 0) -> None:
    """A white box on a dark ground of one shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (shade, shade, shade))
    left, top, right, bottom = BOX
    ImageDraw.Draw(picture).rectangle(
        (left, top, right - 1, bottom - 1), fill=(255, 255, 255)
    )
    picture.save(path)


def write_list(path: Path, lines: Iterable[str], *, header: str = HEADER) -> None:
    """As the benchmark's own lists end their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\r\n" for line in [header, *lines]).encode())


def line(name: str, class_: int, box: tuple[int, int, int, int] = BOX) -> str:
    return ";".join(map(str, [name, *SIZE, *box, class_]))


def write_class(folder: Path, class_: int, *, tracks: int, suffix: str) -> None:
    """One folder of a class, two frames a track."""
    names = [
        f"{track:05d}_{frame:05d}.{suffix}"
        for track in range(tracks)
        for frame in range(2)
    ]
    for name in names:
        draw(folder / name, shade=class_)
    write_list(folder / f"GT-{class_:05d}.csv", [line(name, class_) for name in names])


def write_gtsrb(root: Path, *, tracks: int = 2) -> Path:
    """43 classes, each with ``tracks`` tracks of two frames and one test image."""
    folder = root / "gtsrb"
    for class_ in range(GERMAN):
        write_class(
            folder / f"GTSRB/Training/{class_:05d}", class_, tracks=tracks, suffix="ppm"
        )
        draw(folder / f"GTSRB/Final_Test/Images/{class_:05d}.ppm", shade=class_)
    write_list(
        folder / "GT-final_test.csv",
        [line(f"{class_:05d}.ppm", class_) for class_ in range(GERMAN)],
    )
    return folder


def write_belgiumtsc(root: Path) -> Path:
    folder = root / "belgiumtsc"
    for class_ in range(BELGIAN):
        for part, tracks in (("Training", 2), ("Testing", class_ % 3)):
            write_class(
                folder / f"{part}/{class_:05d}", class_, tracks=tracks, suffix="ppm"
            )
    return folder
