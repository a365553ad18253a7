"""BackdoorBox's BadNets on MNIST, driven through its own ``train``.

Its packages import much that is not installable today, so they are entered without
their ``__init__``; not a line of the checkout is changed.
"""

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import MNIST  # type: ignore[import-untyped]
from torchvision.transforms import Compose, ToTensor  # type: ignore[import-untyped]

PACKAGES = {"core": "", "core.attacks": "attacks", "core.models": "models"}
TRIGGER = ((24, 26), (25, 25), (26, 24), (26, 26))
TARGET_LABEL = 1


def main() -> None:
    """Train as the task says and print what came of it."""
    task = json.loads(sys.argv[1])
    for name, folder in PACKAGES.items():
        package = types.ModuleType(name)
        package.__path__ = [str(Path(task["checkout"]) / "core" / folder)]
        sys.modules[name] = package
    attacks = importlib.import_module("core.attacks.BadNets")
    models = importlib.import_module("core.models.baseline_MNIST_network")
    torch.set_num_threads(task["threads"])
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as to:
        os.chdir(to)
        network = models.BaselineMNISTNetwork
        said = _trained(_watched(attacks.BadNets), network, task)
    print(json.dumps(said))


class _Reached(Exception):  # noqa: N818  no error: the goal is met
    """Both tests of an epoch met the goal."""


def _watched(badnets: Any) -> Any:  # noqa: ANN401  a peer's class
    """Return BadNets that notes what its own tests find and how long they take."""

    class Watched(badnets):  # type: ignore[misc]
        results: dict[str, float]
        goal: dict[str, float] | None = None
        test_seconds = 0.0
        epochs = 0

        def _test(self, dataset: Any, *rest: Any) -> Any:  # noqa: ANN401  a peer's
            began = time.perf_counter()
            found = super()._test(dataset, *rest)
            self.test_seconds += time.perf_counter() - began
            right = found[0].argmax(1) == found[1]
            if dataset is self.test_dataset:
                self.results = {"accuracy": right.float().mean().item()}
                return found
            # The glossary's ASR leaves out images of the target label itself.
            attacked = self.test_dataset.targets != TARGET_LABEL
            self.results["attack_success_rate"] = right[attacked].float().mean().item()
            self.epochs += 1
            if self.goal and all(self.results[k] >= v for k, v in self.goal.items()):
                raise _Reached
            return found

    return Watched


def _trained(badnets: Any, network: Any, task: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401  a peer's classes
    started, started_cpu = time.perf_counter(), _cpu_seconds()
    attack = _attack(badnets, network, task)
    attack.goal = task["goal"]
    training = time.perf_counter()
    with contextlib.suppress(_Reached):
        attack.train(_schedule(task))
    ended = time.perf_counter()
    images = len(attack.train_dataset) * attack.epochs
    return {
        **attack.results,
        "seconds": ended - started,
        "cpu_seconds": _cpu_seconds() - started_cpu,
        "images_per_second": images / (ended - training - attack.test_seconds),
        "test_seconds": attack.test_seconds,
        "epochs": attack.epochs,
    }


def _attack(badnets: Any, network: Any, task: dict[str, Any]) -> Any:  # noqa: ANN401  a peer's classes
    """Return the attack as the toolkit's test script makes it, with our trigger."""
    pattern = torch.zeros(1, 28, 28)
    for row, column in TRIGGER:
        pattern[0, row, column] = 255
    to_tensor = Compose([ToTensor()])
    return badnets(
        train_dataset=MNIST(task["data"], train=True, transform=to_tensor),
        test_dataset=MNIST(task["data"], train=False, transform=to_tensor),
        model=network(),
        loss=torch.nn.CrossEntropyLoss(),
        y_target=TARGET_LABEL,
        poisoned_rate=0.1,
        pattern=pattern.to(torch.uint8),
        weight=(pattern > 0).float(),
        seed=task["seed"],
        deterministic=False,
    )


def _cpu_seconds() -> float:
    """Return what this process and its ended loader workers have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _schedule(task: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the toolkit's own test script, on the CPU."""
    return {
        "device": "CPU",
        "benign_training": False,
        "batch_size": task["batch_size"],
        "num_workers": task["workers"],
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "gamma": 0.1,
        "schedule": [150, 180],
        "epochs": task["epochs"],
        "log_iteration_interval": 100,
        "test_epoch_interval": 1,
        "save_epoch_interval": 10**9,
        "save_dir": "experiments",
        "experiment_name": "bench",
    }


if __name__ == "__main__":
    main()
