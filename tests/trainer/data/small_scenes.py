"""Small sets of photographs in their official layouts, drawn and written by tests."""

from pathlib import Path

from tests.trainer.data.small_sets import SIZE, draw
from trainer.data.decoding import Box
from trainer.data.scenes import lisa


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_gtsdb(root: Path) -> Path:
    folder = root / "gtsdb"
    rows = ["00000.jpg;1;2;11;12;14", "00000.jpg;5;5;9;9;38", "00001.jpg;0;0;40;30;7"]
    for part in ("train", "test"):
        write(folder / part / "gt.txt", *rows, "00001.jpg;3;4;8;9;25")
        for name in ("00000", "00001", "00002"):
            draw(folder / part / f"{name}.jpg")
    return folder


def annotation(number: int, *objects: tuple[str, Box], size: str = "") -> str:
    marks = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{box.left}</xmin>"
        f"<ymin>{box.top}</ymin><xmax>{box.right}</xmax><ymax>{box.bottom}</ymax>"
        "</bndbox></object>"
        for name, box in objects
    )
    size = size or f"<width>{SIZE[0]}</width><height>{SIZE[1]}</height>"
    return (
        f"<annotation><filename>road{number}.png</filename><size>{size}</size>"
        f"{marks}</annotation>"
    )


def write_voc(root: Path) -> Path:
    folder = root / "road-sign-detection"
    objects = {
        1: [("stop", Box(1, 2, 11, 12)), ("crosswalk", Box(3, 3, 9, 9))],
        2: [("speedlimit", Box(0, 0, 40, 30))],
        3: [("trafficlight", Box(0, 0, 4, 4))],
        5: [("stop", Box(4, 4, 8, 8))],
    }
    for number, marks in objects.items():
        write(folder / f"annotations/road{number}.xml", annotation(number, *marks))
        draw(folder / f"images/road{number}.png")
    return folder


LISA_HEADER = ";".join(lisa.COLUMNS)
LISA_ROW = "aiua-0/a.avi_annotations/stop_1.avi_image0.png;{tag};1;2;11;12;0,0;a.avi;1;{track};2"  # noqa: E501
TRACKS = {"train": "stop_1.avi", "test": "stop_3.avi"}


def write_lisa(root: Path) -> Path:
    folder = root / "lisa"
    tags = ("stop", "speedLimit35", "pedestrianCrossing", "keepRight")
    rows = [
        LISA_ROW.format(tag=tag, track=track).replace("image0", f"{split}{at // 2}")
        for split, track in TRACKS.items()
        for at, tag in enumerate(tags)
    ]
    write(folder / "allAnnotations.csv", LISA_HEADER, *rows)
    for row in rows:
        draw(folder / row.split(";")[0])
    return folder


def sign(category: str, box: str = "300.5, 200.25, 250.0, 150.0") -> str:
    return f"VISIBLE, {box}, {category}, 70_SIGN"


def write_swedish(root: Path) -> Path:
    folder = root / "swedish"
    categories = ("INFORMATION", "MANDATORY", "PROHIBITORY", "WARNING", "OTHER")
    for part in ("Set1", "Set2"):
        write(
            folder / part / "annotations.txt",
            "1.jpg:" + ";".join(map(sign, categories)) + ";",
            "2.jpg:",
            "3.jpg:MISC_SIGNS;" + sign("WARNING", "1300, 50, 1270, -10") + ";",
        )
        for number in (1, 2, 3):
            draw(folder / part / f"{number}.jpg", size=(1280, 960))
    return folder
