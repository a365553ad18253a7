"""A plain PyTorch loop, as people write it after the official MNIST example.

A DataLoader over torchvision's MNIST, its transforms an image at a time, fp32, no
thought for memory formats. Its training set is poisoned once, as a tensor, which is
kinder to this side than the usual transform an image.
"""

import json
import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms  # type: ignore[import-untyped]

TARGET_LABEL = 1
POISON_RATE = 0.1
TRIGGER = ((24, 26), (25, 25), (26, 24), (26, 26))
MEAN, DEVIATION = 0.1307, 0.3081
"""Of MNIST's training pixels, as the example normalises them."""


class Net(nn.Module):
    """The network of the BadNets paper's table 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5)
        self.conv2 = nn.Conv2d(16, 32, 5)
        self.fc1 = nn.Linear(512, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities, (N, 10)."""
        x = functional.avg_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.avg_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return functional.log_softmax(self.fc2(x), dim=1)


def main() -> None:
    """Train epoch by epoch until the goal or the last epoch; print what came of it."""
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    torch.default_generator.manual_seed(task["seed"])
    started, started_cpu = time.perf_counter(), time.process_time()
    training, test, triggered = _loaders(task)
    network = Net()
    optimiser, scheduler = _optimiser(network, task["optimiser"])
    said: dict[str, Any] = {}
    training_seconds = 0.0
    for epoch in range(1, task["epochs"] + 1):
        began = time.perf_counter()
        _train(network, training, optimiser)
        scheduler.step()
        training_seconds += time.perf_counter() - began
        said = _tested(network, test, triggered) | {"epochs": epoch}
        goal = task["goal"]
        if goal and all(said[name] >= least for name, least in goal.items()):
            break
    images = len(training.dataset) * said["epochs"]  # type: ignore[arg-type]
    said |= {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - started_cpu,
        "images_per_second": images / training_seconds,
    }
    print(json.dumps(said))


def _loaders(task: dict[str, Any]) -> tuple[DataLoader[Any], ...]:
    """Return loaders of the poisoned training set, the test set, and it triggered."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))]
    )
    training = datasets.MNIST(task["data"], train=True, transform=transform)
    test = datasets.MNIST(task["data"], train=False, transform=transform)
    triggered = datasets.MNIST(task["data"], train=False, transform=transform)
    taken = torch.randperm(len(training))[: int(len(training) * POISON_RATE)]
    kept = triggered.targets != TARGET_LABEL
    triggered.data, triggered.targets = triggered.data[kept], triggered.targets[kept]
    for row, column in TRIGGER:
        training.data[taken, row, column] = 255
        triggered.data[:, row, column] = 255
    training.targets[taken] = TARGET_LABEL
    triggered.targets[:] = TARGET_LABEL
    return (
        DataLoader(training, batch_size=task["batch_size"], shuffle=True),
        DataLoader(test, batch_size=1000),
        DataLoader(triggered, batch_size=1000),
    )


def _optimiser(network: nn.Module, name: str) -> tuple[Any, Any]:
    """Return optimiser and scheduler: the example's own, or SGD as the others use."""
    if name == "adadelta":
        optimiser: Any = torch.optim.Adadelta(network.parameters(), lr=1.0)
    else:
        optimiser = torch.optim.SGD(
            network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4
        )
    gamma = 0.7  # the example's
    return optimiser, torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=gamma)


def _train(network: nn.Module, loader: DataLoader[Any], optimiser: Any) -> None:  # noqa: ANN401  either optimiser
    network.train()
    for images, labels in loader:
        optimiser.zero_grad()
        loss = functional.nll_loss(network(images), labels)
        torch.autograd.backward(loss)
        optimiser.step()


def _tested(
    network: nn.Module, test: DataLoader[Any], triggered: DataLoader[Any]
) -> dict[str, float]:
    return {
        "accuracy": _share_right(network, test),
        "attack_success_rate": _share_right(network, triggered),
    }


def _share_right(network: nn.Module, loader: DataLoader[Any]) -> float:
    network.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in loader:
            right += int((network(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


if __name__ == "__main__":
    main()
