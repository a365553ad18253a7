"""Our side of ``training``: data, poisoning, fit and both tests by the product."""

import json
import os
import sys
import time
from typing import Any

import torch

from model_zoo.statements.jobs import Poisoning, Schedule
from trainer.attacks.poisoning import poison
from trainer.data import DATASETS, LabelledImages
from trainer.evaluation.metrics import evaluate
from trainer.networks import NETWORKS
from trainer.training.devices import resolve_precision
from trainer.training.fit import Epoch, Runtime, fit, seeded_globals

CPU = torch.device("cpu")
DEADLINE_SECONDS = 3600


def main() -> None:
    """Do the task in the first argument and print what came of it."""
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    started, started_cpu = time.perf_counter(), time.process_time()
    training, test = _data(task)
    loaded = time.perf_counter()
    recipe = Poisoning(target_label=1, poison_rate=0.1, placement="replace")
    generator = torch.Generator().manual_seed(task["seed"])
    poisoned = poison(training, recipe, classes=10, generator=generator)
    with seeded_globals(task["seed"]):
        network = NETWORKS["badnets-cnn"](10)
    schedule = Schedule(**task["schedule"])
    fitting = time.perf_counter()
    fit(
        network,
        poisoned.images,
        poisoned.labels,
        schedule=schedule,
        generator=generator,
        runtime=_runtime(task["precision"]),
    )
    fitted = time.perf_counter()
    report = evaluate(
        network, test, dataset="mnist", classes=10, poisoning=recipe, device=CPU
    )
    ended = time.perf_counter()
    said = {
        "seconds": ended - started,
        "cpu_seconds": time.process_time() - started_cpu,
        "load_seconds": loaded - started,
        "test_seconds": ended - fitted,
        "images_per_second": len(poisoned) * schedule.epochs / (fitted - fitting),
        "epochs": schedule.epochs,
        "accuracy": report.accuracy.rate,
        "attack_success_rate": report.attack_success and report.attack_success.rate,
        "precision": resolve_precision(task["precision"], CPU),
    }
    print(json.dumps(said))


def _data(task: dict[str, Any]) -> tuple[LabelledImages, LabelledImages]:
    """Return training and test set: MNIST, or the noise of a quick run."""
    if task["noise"] is None:
        os.environ["ZOO_DATA_DIR"] = task["data"]
        load = DATASETS["mnist"].load
        return load("train"), load("test")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        256, (task["noise"], 1, 28, 28), dtype=torch.uint8, generator=generator
    )
    noise = LabelledImages(images=images, labels=torch.arange(len(images)) % 10)
    return noise, noise


def _runtime(precision: Any) -> Runtime:  # noqa: ANN401  one of three words, as JSON
    def untold(_: Epoch) -> None:
        """Tell nobody."""

    return Runtime(
        device=CPU,
        precision=resolve_precision(precision, CPU),
        deadline=time.monotonic() + DEADLINE_SECONDS,
        on_epoch=untold,
    )


if __name__ == "__main__":
    main()
