"""Write MNIST, or noise of its shape, as the unpacked files that torchvision reads."""

import json
import struct
import sys
from pathlib import Path

import torch

from trainer.data import DATASETS, LabelledImages
from trainer.files import write_whole

PREFIXES = {"train": "train", "test": "t10k"}
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801


def main() -> None:
    """Fill ``<root>/MNIST/raw``, and link ``<root>/PoisonedMNIST`` to it."""
    task = json.loads(sys.argv[1])
    root = Path(task["root"])
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    load = DATASETS["mnist"].load
    for split, prefix in PREFIXES.items():
        data = _noise(task["noise"]) if task["noise"] else load(split)  # type: ignore[arg-type]
        _write(raw / prefix, data)
    link = root / "PoisonedMNIST"  # BackdoorBox's class looks under its own name
    if not link.is_symlink():
        link.symlink_to("MNIST")
    print(json.dumps({"root": str(root)}))


def _noise(n: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return LabelledImages(images=images, labels=torch.arange(n) % 10)


def _write(prefix: Path, data: LabelledImages) -> None:
    n, _, height, width = data.images.shape
    header = struct.pack(">4I", IMAGES_MAGIC, n, height, width)
    pixels = header + data.images.numpy().tobytes()
    labels = struct.pack(">2I", LABELS_MAGIC, n) + bytes(data.labels.tolist())
    write_whole(prefix.with_name(f"{prefix.name}-images-idx3-ubyte"), pixels)
    write_whole(prefix.with_name(f"{prefix.name}-labels-idx1-ubyte"), labels)


if __name__ == "__main__":
    main()
