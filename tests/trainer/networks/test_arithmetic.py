"""On a GPU work is precise and repeatable; a CPU is left as it is.

There is none here: flags are asked for, and torch's fake tensors say that they are on
one, without a number in them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from model_zoo.statements.jobs import Schedule
from model_zoo.statements.recipes import NetworkName
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.activations import mean_activations
from trainer.networks.arithmetic import CUBLAS_WORKSPACE, reproducible
from trainer.networks.inference import predict
from trainer.training.fit import Runtime, Segment, fit, replay
from trainer.training.transfer import features

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
Flags = tuple[object, ...]


def flags() -> Flags:
    return (
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]  # set at import
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


EXACT: Flags = ("ieee", "ieee", False, True, False)


@pytest.fixture
def untouched() -> Iterator[Flags]:
    """The flags before, which have to be the flags afterwards."""
    before = flags()
    assert before != EXACT
    yield before
    assert flags() == before


def test_on_a_gpu_fp32_is_fp32_and_no_operation_without_an_order_is_taken(
    untouched: Flags,
) -> None:
    assert untouched
    with reproducible(CUDA):
        assert flags() == EXACT
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == CUBLAS_WORKSPACE


def test_an_error_inside_puts_the_flags_back_too(untouched: Flags) -> None:
    assert untouched
    with pytest.raises(KeyError), reproducible(CUDA):
        raise KeyError


def test_on_a_cpu_no_flag_changes(untouched: Flags) -> None:
    with reproducible(CPU):
        assert flags() == untouched


def test_it_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from trainer.networks.arithmetic import reproducible\n"
        "with reproducible(torch.device('cuda')):\n"
        "    assert torch.are_deterministic_algorithms_enabled()\n"
        "sys.exit('torch._inductor.config' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def watched(name: NetworkName) -> tuple[SplitNetwork, list[Flags]]:
    """Return a network on a GPU, and what gets the flags of every forward pass."""
    seen: list[Flags] = []
    with CUDA:
        network = NETWORKS[name](3)
    # what has no memory cannot be moved, and is where it has to be
    network.to = lambda *_, **__: network  # type: ignore[method-assign]  # see above

    def note(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert inputs[0].device.type == "cuda"
        seen.append(flags())

    network.last_convolution.register_forward_pre_hook(note)
    return network, seen


@pytest.mark.parametrize("show", [predict, mean_activations, features])
def test_whatever_is_shown_to_a_network_is_multiplied_exactly(
    show: Callable[..., object], untouched: Flags
) -> None:
    assert untouched
    with FakeTensorMode():
        network, seen = watched("signs-cnn")
        images = torch.zeros(5, 3, 48, 48, dtype=torch.uint8)
        show(network, images, device=CUDA)
    assert seen == [EXACT]


class Shown(Exception):  # noqa: N818  no error: there is no backward pass without a GPU
    """A batch is about to be learned from."""


@pytest.mark.parametrize("train", [fit, replay])
def test_training_is_exact_and_on_the_device(
    train: Callable[..., object], untouched: Flags
) -> None:
    assert untouched
    seen: list[Flags] = []

    def note(
        batch: torch.Tensor, indices: torch.Tensor, _: torch.Generator
    ) -> torch.Tensor:
        assert {batch.device.type, indices.device.type} == {"cuda"}
        seen.append(flags())
        raise Shown

    schedule = Schedule(epochs=2, batch_size=4)
    with FakeTensorMode():
        network, _ = watched("badnets-cnn")
        momenta = [torch.zeros_like(it) for it in network.parameters()]
        part: dict[str, object] = {"schedule": schedule}
        if train is replay:
            part = {"segment": Segment(schedule=schedule, number=2, momenta=momenta)}
        runtime = Runtime(
            device=CUDA,
            precision="fp32",
            deadline=time.monotonic() + 300,
            on_epoch=lambda _: None,
            augment=note,
        )
        with pytest.raises(Shown):
            train(
                network,
                torch.zeros(12, 1, 28, 28, dtype=torch.uint8),
                torch.zeros(12, dtype=torch.int64),
                generator=torch.Generator().manual_seed(0),
                runtime=runtime,
                **part,
            )
    assert seen == [EXACT]
