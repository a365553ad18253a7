"""Images a second that networks learn from and look at, each way of running them.

A step is a forward and a backward pass and a descent on images that lie on the device.
What jobs do today is ``fit``; the others say what it could gain.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from benchmarks.accelerator.inputs import CLASSES, Place, fitted, fresh, noise
from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Precision, Schedule
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, predict
from trainer.object_detection.evaluation import detect
from trainer.object_detection.network import Detector
from trainer.training.fit import seeded_globals

BATCHES = (128, 1024)
TOGETHER = 90
"""Networks at once: as many as a population of one architecture has."""
SECONDS = 1.0
"""At least, of each figure."""
WARM_UP_STEPS = 3  # cuDNN chooses, and a graph needs what was allocated before
RATE = 0.01
EPOCH_IMAGES, QUICK_IMAGES = 60_000, 8
PHOTOGRAPH = (3, 800, 1360)
"""As those of GTSDB."""

Step = Callable[[], object]
Task = Callable[[], JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a step is run; the first six are tried with every batch."""

    bf16: bool = False
    channels_last: bool = True
    exact: bool = True
    compiled: bool = False
    graph: bool = False


WAYS = {
    "fp32": Way(channels_last=False),
    "fp32, channels_last": Way(),
    "TF32, channels_last, any order": Way(exact=False),
    "bf16": Way(bf16=True, channels_last=False),
    "bf16, channels_last": Way(bf16=True),
    "bf16, channels_last, CUDA graph": Way(bf16=True, graph=True),
    "fp32, channels_last, CUDA graph": Way(graph=True),
    "bf16, channels_last, torch.compile": Way(bf16=True, compiled=True),
}


def rates(place: Place) -> dict[str, Task]:
    """Return name -> what measures it; those that take longest to begin come last."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    batches = (QUICK_IMAGES,) if place.quick else BATCHES
    networks = tuple(CLASSES)
    ordered = sorted(WAYS.items(), key=lambda it: it[1].compiled)
    return {
        **{
            f"{network}, fit, {it}": partial(_fit_rate, place, network, it)
            for network in networks
            for it in precisions
        },
        **{
            f"{network}, predict": partial(_predict_rate, place, network)
            for network in networks
        },
        **{
            f"detector, {kind}, {how}": partial(rate, place, bf16=how == "bf16")
            for kind, rate in (("learn", _lesson_rate), ("detect", _detect_rate))
            for how in ("fp32", "bf16")
        },
        f"{TOGETHER} x badnets-cnn, torch.func": partial(_together_rate, place),
        **{
            f"{network}, step of {batch}, {name}": partial(
                _step_rate, place, network, batch, way
            )
            for name, way in ordered
            for network in networks
            for batch in batches
        },
    }


def _timed(step: Step, place: Place, *, images: int) -> JsonObject:
    """Return images a second of a step that takes that many."""
    for _ in range(1 if place.quick else WARM_UP_STEPS):
        step()
    place.wait()
    steps, began = 0, time.perf_counter()
    while not steps or (not place.quick and time.perf_counter() - began < SECONDS):
        for _ in range(
            1 if place.quick else 10
        ):  # the device is waited for now and then
            step()
            steps += 1
        place.wait()
    seconds = time.perf_counter() - began
    return {"images_per_second": round(images * steps / seconds), "steps": steps}


def _fit_rate(place: Place, network: str, precision: Precision) -> JsonObject:
    data = noise(network, QUICK_IMAGES if place.quick else EPOCH_IMAGES)
    learner = fresh(network)
    schedule = Schedule(epochs=1, batch_size=128, peak_learning_rate=RATE)
    step = partial(
        fitted,
        learner,
        data.images.to(place.device),
        data.labels.to(place.device),
        schedule=schedule,
        device=place.device,
        precision=precision,
    )
    step()
    place.wait()
    began = time.perf_counter()
    step()
    place.wait()
    return {"images_per_second": round(len(data) / (time.perf_counter() - began))}


def _predict_rate(place: Place, network: str) -> JsonObject:
    images = noise(network, QUICK_IMAGES if place.quick else 10_000).images
    shown, learner = images.to(place.device), fresh(network)
    step = partial(predict, learner, shown, device=place.device)
    return _timed(step, place, images=len(images))


@contextmanager
def _arithmetic(place: Place, *, exact: bool) -> Iterator[None]:
    if exact:
        with reproducible(place.device):
            yield
    else:
        yield


def _step_rate(place: Place, network: str, batch: int, way: Way) -> JsonObject:
    if way.graph and place.device.type != "cuda":
        return {"skipped": "needs CUDA"}
    learner = fresh(network).to(place.device).train()
    if way.channels_last:
        learner.to(memory_format=torch.channels_last)
    data = noise(network, batch)
    images, labels = data.images.to(place.device), data.labels.to(place.device)
    shown: nn.Module = learner
    if way.compiled:
        # nothing is gained on the few images of a quick run, and a compiler is needed
        backend = "eager" if place.quick else "inductor"
        shown = torch.compile(learner, backend=backend)  # type: ignore[assignment]  # a module in, one out
    with _arithmetic(place, exact=way.exact):
        step = partial(_step, shown, images, labels, bf16=way.bf16)
        return _timed(_captured(step) if way.graph else step, place, images=batch)


def _step(network: nn.Module, images: Tensor, labels: Tensor, *, bf16: bool) -> None:
    """Train ``network`` in place on one batch."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        logits = network(as_floats(images)).float()
    torch.autograd.backward(functional.cross_entropy(logits, labels))
    weights: list[Tensor] = list(network.parameters())
    slopes = [it.grad for it in weights if it.grad is not None]  # each has one
    with torch.no_grad():
        torch._foreach_add_(weights, slopes, alpha=-RATE)
    for weight in weights:
        weight.grad = None


def _captured(step: Step) -> Step:
    """Return what launches everything that ``step`` launches at once."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _together_rate(place: Place) -> JsonObject:
    """Return how many images networks of their own weights learn from together."""
    count, batch = (3, 8) if place.quick else (TOGETHER, 128)
    networks = [fresh("badnets-cnn").to(place.device).train() for _ in range(count)]
    weights, buffers = stack_module_state(networks)
    skeleton = copy.deepcopy(networks[0]).to("meta")
    data = noise("badnets-cnn", batch)
    inputs = as_floats(data.images.to(place.device))
    labels = data.labels.to(place.device)

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits = functional_call(skeleton, (weights, buffers), (inputs,))
        return functional.cross_entropy(logits, labels)

    slope = vmap(grad(loss))

    def step() -> None:
        slopes = slope(weights, buffers)
        with torch.no_grad():
            torch._foreach_add_(
                list(weights.values()), [slopes[name] for name in weights], alpha=-RATE
            )

    with reproducible(place.device):
        return {"networks": count, **_timed(step, place, images=count * batch)}


def _detector(place: Place) -> Detector:
    with seeded_globals(0):
        return Detector(3).to(place.device)


def _photograph(place: Place) -> Tensor:
    shape = (3, 64, 64) if place.quick else PHOTOGRAPH
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return pixels.to(place.device)


def _lesson_rate(place: Place, *, bf16: bool) -> JsonObject:
    network = _detector(place).train()
    boxes = torch.tensor([[10.0, 10.0, 60.0, 60.0]], device=place.device)
    labels = torch.tensor([1], device=place.device)
    photograph = as_floats(_photograph(place))
    lesson = network.lesson(photograph, boxes, labels, side=64 if place.quick else 512)

    def step() -> None:
        with torch.autocast(place.device.type, torch.bfloat16, enabled=bf16):
            loss = network.losses(lesson)
        torch.autograd.backward(loss)
        network.zero_grad()

    with seeded_globals(0, place.device), reproducible(place.device):
        return _timed(step, place, images=1)


def _detect_rate(place: Place, *, bf16: bool) -> JsonObject:
    network, pixels = _detector(place), _photograph(place)

    def step() -> None:
        with torch.autocast(place.device.type, torch.bfloat16, enabled=bf16):
            detect(network, pixels)

    return _timed(step, place, images=1)
