"""Devices: forced or chosen, and told to provenance."""

import pytest
import torch

from model_zoo.errors import InvalidSpecError, LocalError
from trainer.training.devices import choose_device, environment, resolve_precision

CPU = torch.device("cpu")


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
