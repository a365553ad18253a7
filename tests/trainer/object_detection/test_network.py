"""What the network does with regions, and without any."""

import pytest
import torch
from torch.nn import functional

from trainer.object_detection.evaluation import detect
from trainer.object_detection.network import BINS, CHANNELS, STRIDES, Detector, _Pooled


@pytest.fixture(scope="module")
def network() -> Detector:
    with torch.random.fork_rng(devices=[]):
        return Detector(3)


def test_where_no_region_is_proposed_nothing_is_found(network: Detector) -> None:
    network.network.rpn.proposing.min_size = 1e6
    found = detect(network, torch.zeros(3, 40, 60, dtype=torch.uint8))
    assert (len(found.labels), found.boxes.shape) == (0, (0, 4))


def test_a_region_is_pooled_from_every_stride_the_finest_twice_as_densely() -> None:
    generator = torch.Generator().manual_seed(0)
    features = {
        name: torch.rand(
            1, CHANNELS[name], 64 // stride, 64 // stride, generator=generator
        )
        for name, stride in STRIDES.items()
    }
    whole = torch.tensor([[0.0, 0.0, 64.0, 64.0], [8.0, 8.0, 24.0, 40.0]])
    pooled = _Pooled()(features, [whole], [(64, 64)])
    assert pooled.shape == (2, _Pooled.channels, BINS, BINS)
    # what a sticker changes is seen in the channels of its own, where it lies
    fine = features["fine"].clone()
    fine[0, 5, 13, 13] += 100
    stuck = _Pooled()({**features, "fine": fine}, [whole], [(64, 64)])
    change = (stuck - pooled)[0]
    assert set(change.flatten(1).any(1).nonzero()[:, 0].tolist()) <= set(range(20, 24))
    assert divmod(int(change.sum(0).argmax()), BINS) == (5, 5)  # 13.5 / 16 of 7


def test_the_finest_bins_lie_as_pixel_unshuffle_lays_them() -> None:
    features = {
        name: torch.zeros(1, CHANNELS[name], 64 // stride, 64 // stride)
        for name, stride in STRIDES.items()
    }
    features["fine"] = torch.rand(1, 24, 16, 16, generator=torch.Generator())
    box = torch.tensor([[0.0, 0.0, 56.0, 56.0]])
    pooled = _Pooled()(features, [box], [(64, 64)])[:, : 4 * 24]
    back = functional.pixel_shuffle(pooled, 2)
    assert back.shape == (1, 24, 2 * BINS, 2 * BINS)
    # bins of one cell each: the mean of its four samples is near the cell itself
    near = functional.avg_pool2d(features["fine"], 3, 1, padding=1)[..., 1:13, 1:13]
    error = (back[..., 1:13, 1:13] - near).abs().mean()
    assert error < (back.roll(1, 2)[..., 1:13, 1:13] - near).abs().mean()


def test_the_backbone_never_learns(network: Detector) -> None:
    network.train()
    assert not network.network.backbone.training
    assert not any(it.requires_grad for it in network.network.backbone.parameters())
    assert all(it.requires_grad for it in network.network.roi_heads.parameters())
    network.eval()


def test_a_sign_that_is_seen_twice_is_told_once_and_an_unsure_one_not_at_all(
    network: Detector,
) -> None:
    seen = {
        (0.0, 0.0, 20.0, 20.0): 0.9,
        (0.0, 0.0, 20.0, 11.0): 0.8,  # 55 % of the first: the same sign
        (0.0, 0.0, 20.0, 9.0): 0.7,  # 45 %: another
        (30.0, 30.0, 50.0, 50.0): 0.06,
        (30.0, 0.0, 50.0, 20.0): 0.04,
    }
    shares = torch.tensor([[1 - it, it, 1e-6, 1e-6] for it in seen.values()])

    boxes, scores, labels = network.network.roi_heads.postprocess_detections(
        shares.log(), torch.zeros(5, 16), [torch.tensor(list(seen))], [(60, 60)]
    )

    assert scores[0].tolist() == pytest.approx([0.9, 0.7, 0.06], abs=1e-4)
    assert labels[0].tolist() == [1, 1, 1]
    assert boxes[0].tolist() == [
        pytest.approx(it) for it, share in seen.items() if share in {0.9, 0.7, 0.06}
    ]


def test_a_lesson_has_its_boxes_where_the_signs_are_at_its_side(
    network: Detector,
) -> None:
    boxes, labels = torch.tensor([[8.0, 4.0, 24.0, 20.0]]), torch.tensor([2])

    lesson = network.lesson(torch.zeros(3, 32, 64), boxes, labels, side=128)

    assert lesson.size == (64, 128)
    assert lesson.boxes.tolist() == [[16, 8, 48, 40]]
    assert lesson.labels.tolist() == [2]
    for name, stride in STRIDES.items():
        assert lesson.features[name].shape[2:] == (64 // stride, 128 // stride)
