"""Where tensors live, how precisely they are multiplied, and what was installed."""

import ctypes
import functools
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.statements.jobs import Precision

DEVICE_NAMES = ("auto", "cuda", "mps", "cpu")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``. Source: glibc, malloc/malloc.h."""
_KEPT_BYTES = 1 << 30

_DRIVER = Path("/proc/driver/nvidia/version")
_DRIVER_VERSION = re.compile(r"Kernel Module.*?(\d+\.\d+(?:\.\d+)?)")
CONTEXT_MIB = 1024
"""Of GPU memory that each process takes before its first tensor: CUDA's context, the
kernels of cuBLAS and cuDNN, and the workspace of ``networks.arithmetic``."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` takes the first of cuda, mps, cpu.

    Raises:
        InvalidSpecError: no such name.
        LocalError: this machine does not have it.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in present.items() if there)
    if name not in present:
        msg = f"device {name[:40]!a}: expected one of {', '.join(DEVICE_NAMES)}"
        raise InvalidSpecError(msg)
    if not present[name]:
        msg = f"device {name}: not on this machine"
        raise LocalError(msg)
    return torch.device(name)


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return ``bf16`` or ``fp32``; ``auto`` takes bf16 where it is the faster one.

    On a CPU that means matrix tiles (AMX): AVX512-BF16 alone multiplies at half the
    speed of fp32 (measured: 84 against 163 GFLOPS in a 1024-cubed product).
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has_tiles = device.type == "cpu" and torch.cpu._is_amx_tile_supported()  # noqa: SLF001  no public name in torch 2.9
    return "bf16" if has_tiles else "fp32"


@functools.cache
def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors; does nothing off glibc.

    By default glibc gives each large block back to the kernel, and every training
    step pays a page fault for each 4 KiB of each activation again: more than half of
    the time of the ReLU layers here. The process keeps up to 1 GiB instead.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def most_processes(mib: int, device: torch.device) -> int:
    """Return how many processes fit this machine: one a core, as memory allows.

    On a GPU both memories have to hold them, and of its own what is free just now.

    Args:
        mib: of memory that each may need, on the device where it computes.
        device: where that is.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    fitting = [os.cpu_count() or 1, memory // mib]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        fitting.append((free >> 20) // (mib + CONTEXT_MIB))
    return max(1, min(fitting))


def environment(device: torch.device, precision: Precision) -> dict[str, str | int]:
    """Return what, beside spec and seed, decides the bits of the weights.

    What a model is kept under has to name the device and the precision in it, too.
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": _device_name(device),
        "cpu_model": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "precision": resolve_precision(precision, device),
        **(_cuda_versions() if device.type == "cuda" else {}),
    }


def recorded_device(environment: Mapping[str, str | int]) -> str:
    """Return the name for ``choose_device`` of where somebody's bits were computed.

    Args:
        environment: as ``environment`` returns it; of what names no device, a CPU.
    """
    return str(environment.get("device", "cpu")).partition(":")[0]


def _cuda_versions() -> dict[str, str | int]:
    """Return the versions of what chooses and runs the kernels of a GPU."""
    try:
        text = _DRIVER.read_text(encoding="utf-8")
    except OSError:
        text = ""
    driver = _DRIVER_VERSION.search(text)
    return {
        "cuda": str(torch.version.cuda),
        "cudnn": torch.backends.cudnn.version() or 0,  # type: ignore[no-untyped-call]  # torch's
        "driver": driver[1] if driver else "unknown",
    }


def _cpu_model() -> str:
    """Return the processor's name, or its family where the system tells no more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return next(names, platform.processor() or platform.machine())


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return device.type
