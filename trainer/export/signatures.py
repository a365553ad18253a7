"""What our exports look like without their weights: ``model_zoo/formats/exports``.

A file of ONNX is compared with these where torch is not installed. Run it when a
network, or what torch makes of one, changes: ``python -m trainer.export.signatures``.
ADR 45.
"""

import io
import json
from pathlib import Path

import model_zoo.formats
from model_zoo.canonical import JsonObject
from model_zoo.formats.onnx_graph import graph_in
from model_zoo.formats.own_exports import CLASSES, signature
from trainer.export.onnx import to_onnx
from trainer.files import write_whole
from trainer.networks import NETWORKS
from trainer.training.fit import seeded_globals

FOLDER = Path(model_zoo.formats.__file__).parent / "exports"
FEW, MANY = 7, 11
"""Numbers of labels that are no other size in our networks."""


def signature_of(network: str) -> JsonObject:
    """Return the signature of our export of a network, for any number of labels.

    Raises:
        LocalError: the onnx extra is not installed.
        ValueError: more depends on the number of labels than shapes of tensors.
    """
    few, many = (_exported(network, classes) for classes in (FEW, MANY))
    for name, (_, shape) in few["tensors"].items():
        others = many["tensors"][name][1]
        few["tensors"][name][1] = many["tensors"][name][1] = [
            CLASSES if (one, other) == (FEW, MANY) else one
            for one, other in zip(shape, others, strict=True)
        ]
    if few != many:
        msg = f"{network}: the graph depends on the number of labels"
        raise ValueError(msg)
    return few


def _exported(network: str, classes: int) -> JsonObject:
    with seeded_globals(0):
        made = NETWORKS[network](classes)
    data = to_onnx(made, made.image_shape)
    return signature(graph_in(io.BytesIO(data), size_bytes=len(data)))


def main() -> None:
    """Write the signature of every network of ours."""
    for network in NETWORKS:
        text = json.dumps(signature_of(network), sort_keys=True)
        write_whole(FOLDER / f"{network}.json", f"{text}\n".encode())


if __name__ == "__main__":
    main()
