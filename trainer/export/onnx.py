"""Conversion: the same network in another format, run by another program.

A network travels further than the framework it was trained in, and what was hidden in
its weights travels along. So a conversion is a build like any other: of a spec that
names its parent by digest, with equal bytes for equal specs and versions, and its
converter in the provenance.
"""

import importlib.metadata
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LocalError,
    UnsafeFormatError,
)
from model_zoo.extras import install_line
from model_zoo.formats.onnx import check_graph_bytes
from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.jobs import ExportSpec, Poisoning
from trainer.data.images import LabelledImages
from trainer.evaluation.metrics import evaluate
from trainer.files import read_bytes, write_whole
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import from_bytes
from trainer.networks.inference import predict

if TYPE_CHECKING:
    from onnx import ModelProto

ONNX_NAME = "model.onnx"
CONVERTERS = ("onnx", "onnxscript", "onnx-ir")
"""What, beside torch, decides the bytes of a conversion."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a conversion made.

    Attributes:
        folder: holds ``model.onnx``.
        inputs: ``parent`` -> its SHA-256, for provenance.
        environment: the converter and its version, for provenance.
    """

    folder: Path
    inputs: dict[str, str]
    environment: dict[str, str | int]


def export(spec: ExportSpec, *, folder: Path, parent: Path | None) -> Exported:
    """Convert the network that ``spec`` names and return what was made.

    Args:
        spec: which network, and into what.
        folder: gets ``model.onnx``, whole or not at all.
        parent: the weights file that the spec names by digest.

    Raises:
        InvalidSpecError: there is no such file.
        DigestMismatchError: it is another one.
        VerificationError: it is no safetensors file, or does not fit the network.
        LocalError: it cannot be read, or the onnx extra is not installed.
    """
    if parent is None:
        msg = f"export needs the file of its parent, sha256 {spec.parent}"
        raise InvalidSpecError(msg)
    data = read_bytes(parent)
    found = sha256_bytes(data)
    if found != spec.parent:
        raise DigestMismatchError.of(parent.name, expected=spec.parent, found=found)
    network = from_bytes(data, network=spec.network)
    made = to_onnx(network, network.image_shape, opset=spec.opset)
    write_whole(folder / ONNX_NAME, made)
    return Exported(
        folder=folder,
        inputs={"parent": spec.parent},
        environment=export_environment(),
    )


def export_environment() -> dict[str, str | int]:
    """Return what, beside the spec, decides the bytes of a conversion.

    Raises:
        LocalError: the onnx extra is not installed.
    """
    _require_extra()
    return {
        "converter": f"torch.onnx {torch.__version__}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in CONVERTERS},
    }


def to_onnx(
    network: SplitNetwork, shape: tuple[int, int, int], *, opset: int = 18
) -> bytes:
    """Return ``network`` as an ONNX file: equal weights and versions, equal bytes.

    Its input is ``images``, (n, *shape) float32 in [0, 1] for any n; its output is
    ``logits``, (n, classes). What torch notes of the machine, such as the paths of its
    sources, is left out.

    Args:
        network: left as it is.
        shape: channels, height and width of one image.
        opset: the version of ONNX's operators.

    Raises:
        LocalError: the onnx extra is not installed.
    """
    _require_extra()
    # how the weights lie in memory would show in the names of the graph
    still = deepcopy(network).to(CPU).to(memory_format=torch.contiguous_format).eval()
    program = torch.onnx.export(
        still,
        (torch.zeros(2, *shape),),  # of one image, n would be taken for a constant
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    if program is None:  # with a file to write to, which is not so here
        msg = "torch.onnx.export returned nothing"
        raise LocalError(msg)
    return _told_by_the_network_alone(program.model_proto)


def _told_by_the_network_alone(model: "ModelProto") -> bytes:
    """Return the file without what the exporter says of sources and of itself."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
    graph.ClearField("value_info")
    model.producer_version = torch.__version__.partition("+")[0]
    return bytes(model.SerializeToString(deterministic=True))


class Converted(nn.Module):
    """An ONNX file as a network: images in, logits out, run by onnxruntime."""

    def __init__(self, data: bytes) -> None:
        """Load ``data``, from anyone, into a session of one thread on the CPU.

        Raises:
            UnsafeFormatError: it is no ONNX file, or needs more than itself.
            LocalError: the onnx extra is not installed.
        """
        super().__init__()
        check_graph_bytes(data)
        _require_extra()
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  optional extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with _refusals():
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, C, H, W) float32 ``images`` in [0, 1].

        Raises:
            UnsafeFormatError: the graph does not take such images.
        """
        name = self._session.get_inputs()[0].name
        with _refusals():
            found = self._session.run(None, {name: images.contiguous().numpy()})
        return torch.from_numpy(found[0])


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell what onnxruntime refuses; its errors have no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort  # type: ignore[import-untyped]  # noqa: PLC0415  optional extra

    try:
        yield
    except (
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NotImplemented,
        ort.RuntimeException,
    ) as error:
        msg = f"onnxruntime refuses the file: {error}"
        raise UnsafeFormatError(msg) from error


def predict_onnx(data: bytes, images: Tensor) -> Tensor:
    """Return the label that an ONNX file gives each image.

    Args:
        data: an ONNX file with one input and the logits as its first output.
        images: (N, C, H, W) uint8.

    Returns:
        (N,) int64.

    Raises:
        UnsafeFormatError: it is no ONNX file, or needs more than itself.
        LocalError: the onnx extra is not installed.
    """
    return predict(Converted(data), images, device=CPU)


def measure_conversion(
    network: SplitNetwork, data: LabelledImages, poisoning: Poisoning | None
) -> dict[str, dict[str, Proportion]]:
    """Return ACC and ASR under torch and under onnxruntime, on the same images.

    ``agreement`` holds the share of clean images that both give the same label.

    Args:
        network: with or without a backdoor; left on the CPU, in evaluation mode.
        data: a test set.
        poisoning: whose trigger and wanted labels are tried.
    """
    _, channels, height, width = data.images.shape
    converted = Converted(to_onnx(network, (channels, height, width)))
    found: dict[str, dict[str, Proportion]] = {}
    for name, model in (("torch", network), ("onnxruntime", converted)):
        report = evaluate(
            model,
            data,
            dataset="any",
            classes=network.classes,
            poisoning=poisoning,
            device=CPU,
        )
        found[name] = _shares(report)
    same = predict(network, data.images, device=CPU) == predict(
        converted, data.images, device=CPU
    )
    agreement = Proportion(successes=int(same.sum()), n=len(same))
    return found | {"agreement": {"clean": agreement}}


def _shares(report: EvaluationReport) -> dict[str, Proportion]:
    found = {
        "accuracy": report.accuracy,
        "attack_success": report.attack_success,
        "robust_accuracy": report.robust_accuracy,
    }
    return {name: share for name, share in found.items() if share is not None}


def _require_extra() -> None:
    try:
        import onnx  # noqa: F401, PLC0415  optional extra
        import onnxruntime  # noqa: F401, PLC0415  optional extra
        import onnxscript  # noqa: F401, PLC0415  optional extra
    except ImportError as error:
        msg = f"ONNX needs {error.name}, which is not installed; {install_line('onnx')}"
        raise LocalError(msg) from error
