"""Labelled images: keeping classes, holding out the end."""

from dataclasses import replace

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from trainer.data import LabelledImages


def numbered(*labels: int) -> LabelledImages:
    """One image a label; image i is filled with the value i."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return LabelledImages(images=images.repeat(1, 1, 2, 2), labels=torch.tensor(labels))


def boxed(data: LabelledImages, *, groups: list[int]) -> LabelledImages:
    """The same with groups, and boxes that tell an image's number."""
    boxes = torch.arange(len(data), dtype=torch.float32)[:, None].expand(-1, 4)
    return replace(data, boxes=boxes, groups=torch.tensor(groups))


def box_numbers(data: LabelledImages) -> list[float]:
    assert data.boxes is not None
    return data.boxes[:, 0].tolist()


def identities(data: LabelledImages) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


def test_kept_classes_are_renumbered_in_the_order_given() -> None:
    kept = numbered(5, 7, 9, 5, 7).keep_classes((7, 5))

    assert identities(kept) == [0, 1, 3, 4]
    assert kept.labels.tolist() == [1, 0, 1, 0]


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"\[42\]"):
        numbered(0, 1).keep_classes((0, 42))


def test_the_held_out_images_are_the_last_and_are_not_trained_on() -> None:
    data = numbered(0, 1, 2, 3, 4)

    assert identities(data.without_last(2)) == [0, 1, 2]
    assert identities(data.last(2)) == [3, 4]
    assert identities(data.without_last(0)) == identities(data)


@pytest.mark.parametrize("n", [5, 6])
def test_holding_out_everything_leaves_nothing_to_train_on(n: int) -> None:
    with pytest.raises(InvalidSpecError, match="held_out"):
        numbered(0, 1, 2, 3, 4).without_last(n)


@pytest.mark.parametrize("n", [0, 6])
def test_a_validation_set_has_at_least_one_image_and_at_most_all(n: int) -> None:
    with pytest.raises(InvalidSpecError, match="held_out"):
        numbered(0, 1, 2, 3, 4).last(n)


def test_images_that_are_not_bytes_and_labels_of_another_length_are_refused() -> None:
    images = torch.zeros(3, 1, 2, 2)
    with pytest.raises(ValueError, match="uint8"):
        LabelledImages(images=images, labels=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(3,\) int64"):
        LabelledImages(
            images=images.to(torch.uint8), labels=torch.zeros(2, dtype=torch.int64)
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [("boxes", torch.zeros(3, 3)), ("boxes", torch.zeros(2, 4)), ("groups", [0, 1])],
)
def test_boxes_and_groups_of_another_shape_are_refused(
    field: str, value: torch.Tensor | list[int]
) -> None:
    with pytest.raises(ValueError, match=f"{field}: expected "):
        replace(numbered(0, 1, 2), **{field: torch.as_tensor(value)})


def test_boxes_and_groups_go_with_their_images() -> None:
    data = boxed(numbered(5, 7, 5, 9), groups=[0, 0, 1, 2])

    for found, left in (
        (data.select(torch.tensor([3, 0, 0])), [3, 0, 0]),
        (data.keep_classes((9, 5)), [0, 2, 3]),
        (data.last(2), [2, 3]),
        (data.relabelled(data.labels + 1), [0, 1, 2, 3]),
    ):
        assert identities(found) == box_numbers(found) == left
        assert found.groups is not None
        assert found.groups.tolist() == [[0, 0, 1, 2][i] for i in left]


def test_other_images_are_painted_under_the_same_labels_and_boxes() -> None:
    data = boxed(numbered(5, 7), groups=[0, 1])

    found = data.repainted(data.images.flip(0))

    assert identities(found) == [1, 0]
    assert found.labels.tolist() == [5, 7]
    assert box_numbers(found) == [0, 1]


def test_no_image_of_a_held_out_group_is_trained_on() -> None:
    data = boxed(numbered(0, 1, 2, 3, 4), groups=[7, 8, 7, 9, 8])

    assert identities(data.without_last(1)) == [0, 2, 3]
    assert identities(data.without_last(2)) == [0, 2]
    assert identities(data.without_last(0)) == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidSpecError, match="no group of images is left"):
        data.without_last(3)
