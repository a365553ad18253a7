"""How a GPU multiplies and adds: as precisely as is claimed, in one order.

Left alone, it rounds what a convolution in float32 is given to the 10 bits of TF32, and
adds up in the order in which its blocks happen to finish.

Decision: docs/adr/0039-the-gpu.md

Source:
    https://docs.pytorch.org/docs/stable/notes/randomness.html and
    https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic

CUBLAS_WORKSPACE = ":4096:8"
"""Of the two that cuBLAS is deterministic with, the faster."""

_EXACT: tuple[tuple[Any, str, object], ...] = (
    (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
    (torch.backends.cudnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]  # set at import
    (torch.backends.cudnn, "benchmark", False),  # it would choose by a stopwatch
    # nothing here reads what it did not write; to fill it costs each result twice
    (deterministic, "fill_uninitialized_memory", False),
)
"""Holder, name and value of each flag."""


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Have equal work on ``device`` give equal bits, and fp32 be fp32, in the block.

    A CPU adds in one order anyway and its flags stay as they are. On CUDA the flags of
    the whole process are set, and put back; torch raises RuntimeError for an operation
    that has no deterministic algorithm.

    Args:
        device: where the block computes.
    """
    if device.type != "cuda":
        yield
        return
    # read when the process first multiplies on a GPU: too late to put back
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in _EXACT]
    mode = torch.get_deterministic_debug_mode()
    try:
        for holder, name, value in _EXACT:
            setattr(holder, name, value)
        # use_deterministic_algorithms does the same, after importing torch's compiler
        torch.set_deterministic_debug_mode("error")
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        for holder, name, value in before:
            setattr(holder, name, value)
