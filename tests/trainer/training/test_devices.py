"""Devices: forced or chosen, and told to provenance."""

import os
from pathlib import Path

import psutil
import pytest
import torch

from model_zoo.errors import InvalidSpecError, LocalError
from trainer.training import devices
from trainer.training.devices import (
    CONTEXT_MIB,
    choose_device,
    environment,
    most_processes,
    recorded_device,
    resolve_precision,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_auto_takes_a_device_that_is_there() -> None:
    device = choose_device()

    assert torch.zeros(1, device=device).device.type == device.type


def test_the_cpu_can_be_forced() -> None:
    assert choose_device("cpu") == CPU


def test_an_unknown_device_and_an_absent_one_are_told_apart() -> None:
    with pytest.raises(InvalidSpecError, match="expected one of auto, cuda, mps, cpu"):
        choose_device("tpu")
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(LocalError, match="not on this machine"):
        choose_device(absent)


def test_a_precision_that_was_asked_for_is_not_changed() -> None:
    assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("auto", CPU) in {"bf16", "fp32"}
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


def test_provenance_hears_what_else_decides_the_bits() -> None:
    told = environment(CPU, "auto")

    assert told["torch"] == torch.__version__
    assert told["device"] == "cpu"
    assert told["threads"] == torch.get_num_threads()
    assert told["precision"] == resolve_precision("auto", CPU)
    assert {"python", "torchvision", "cpu_capability", "platform"} <= told.keys()
    assert told["cpu_model"]


def test_of_a_gpu_provenance_hears_what_runs_its_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "version"
    told.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release\n"
        "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2)\n"
    )
    monkeypatch.setattr(devices, "_DRIVER", told)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91300)

    found = environment(CUDA, "bf16")

    assert found["device"] == "cuda: NVIDIA H200"
    assert (found["cuda"], found["cudnn"]) == ("13.0", 91300)
    assert found["driver"] == "580.159.04"
    told.unlink()
    assert environment(CUDA, "bf16")["driver"] == "unknown"
    assert not {"cuda", "cudnn", "driver"} & environment(CPU, "auto").keys()


@pytest.mark.parametrize(
    ("device", "name"),
    [("cuda: NVIDIA H200", "cuda"), ("cpu", "cpu"), ("mps", "mps"), (None, "cpu")],
)
def test_a_record_says_where_to_compute_again(device: str | None, name: str) -> None:
    assert recorded_device({} if device is None else {"device": device}) == name


def test_there_are_no_more_processes_than_cores_or_than_fit_into_memory() -> None:
    cores, mib = os.cpu_count(), psutil.virtual_memory().total // 1024**2
    assert most_processes(1, CPU) == cores
    assert most_processes(mib + 1, CPU) == 1
    assert most_processes(mib // 2, CPU) == min(2, cores or 1)


def test_processes_are_counted_by_the_memory_of_the_gpu_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 10 * (1000 + CONTEXT_MIB)
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda _: (free << 20, 1000 * free << 20)
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    sizes = {"SC_PHYS_PAGES": 40_000 << 8, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", lambda name: sizes[name])

    assert most_processes(1000, CPU) == 40
    assert most_processes(1000, CUDA) == 10
    assert most_processes(2 * free, CUDA) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert most_processes(1000, CUDA) == most_processes(1000, CPU) == 4
