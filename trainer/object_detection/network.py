"""The detector: Faster R-CNN on the frozen features of a pretrained backbone.

Its parts are torchvision's. The backbone never learns, so its features of a training
scene are computed once; what learns is what proposes regions and what names them. A
sticker is a few pixels wide, therefore a region is pooled from the features at every
stride, the finest twice as densely.

Source:
    Ren, He, Girshick, Sun, "Faster R-CNN", NeurIPS 2015; pooling from several strides:
    Kong et al., "HyperNet", CVPR 2016, section 3.2.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import (  # type: ignore[import-untyped]  # it has none
    anchor_utils,
    faster_rcnn,
    generalized_rcnn,
    image_list,
    roi_heads,
    rpn,
    transform,
)
from torchvision.ops import roi_align  # type: ignore[import-untyped]  # it has none

from trainer.networks.efficientnet_lite0 import efficientnet_lite0
from trainer.object_detection.showing import SIDE

STRIDES = {"fine": 4, "middle": 8, "coarse": 16}
CHANNELS = {"fine": 24, "middle": 40, "coarse": 112}
LAST_BLOCK = {"fine": "block3", "middle": "block5", "coarse": "block11"}

ANCHORS = (24, 34, 48, 68, 96, 136, 192, 272, 384)
"""Sides of the squares that are tried at every place; a sign is as wide as high."""
PROPOSAL_CHANNELS = 96
BINS = 7
"""Of a region, both ways; as in the paper's network but for one."""
REGION_CHANNELS, REGION_FEATURES = 128, 256

Features = dict[str, Tensor]
"""Names of STRIDES -> (1, C, h, w) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A photograph as a detector learns from it.

    Attributes:
        features: of the frozen backbone, float16: half the memory, and its error is
            far below what separates signs.
        size: height and width of the photograph that the features are of.
        boxes: (K, 4) float32, in pixels of that.
        labels: (K,) int64, kinds of signs.
    """

    features: Features
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor


class Detector(nn.Module):
    """Finds signs in photographs of any size; to be called with one or several.

    Inside, label 0 is background and a kind's label is one more than outside.
    """

    def __init__(self, kinds: int) -> None:
        """Draw random weights from torch's global generator.

        Args:
            kinds: of signs.
        """
        super().__init__()
        self.kinds = kinds
        self.network = generalized_rcnn.GeneralizedRCNN(
            backbone=Backbone(),
            rpn=_Proposals(),
            roi_heads=_regions(kinds + 1),
            transform=_resized_to(SIDE),
        )
        self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and what it is shown has to be."""
        return next(self.parameters()).device

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return boxes, labels and scores of what is found, the best first.

        Args:
            images: (3, H, W) float32 in [0, 1] each.
        """
        found: list[dict[str, Tensor]] = self.network(images)
        return [{**it, "labels": it["labels"] - 1} for it in found]

    def lesson(
        self, image: Tensor, boxes: Tensor, labels: Tensor, *, side: int
    ) -> Lesson:
        """Return what is to be learnt from a photograph.

        Args:
            image: (3, H, W) float32 in [0, 1].
            boxes: (K, 4) float32, of its signs.
            labels: (K,) int64, their kinds.
            side: the longer side of the photograph as it is shown, in pixels.
        """
        target = {"boxes": boxes, "labels": labels}
        images, (seen,) = _resized_to(side)([image], [target])
        features = self.network.backbone(images.tensors)
        return Lesson(
            features={name: it.half() for name, it in features.items()},
            size=images.image_sizes[0],
            boxes=seen["boxes"],
            labels=seen["labels"],
        )

    def losses(self, lesson: Lesson) -> Tensor:
        """Return the four losses of Faster R-CNN, summed: float32."""
        features = {name: it.float() for name, it in lesson.features.items()}
        targets = [{"boxes": lesson.boxes, "labels": lesson.labels + 1}]
        # the anchors want to know the shape of a batch, and nothing else of it
        batch = torch.empty(1, 3, *lesson.size, device=lesson.boxes.device)
        images = image_list.ImageList(batch, [lesson.size])
        proposals, proposing = self.network.rpn(images, features, targets)
        _, naming = self.network.roi_heads(features, proposals, [lesson.size], targets)
        parts: list[Tensor] = [*proposing.values(), *naming.values()]
        return torch.stack(parts).sum()


class Backbone(nn.Module):
    """EfficientNet-Lite0 up to stride 16; it stays as it was pretrained."""

    def __init__(self) -> None:
        super().__init__()
        parts = list(efficientnet_lite0(1).convolutions.named_children())
        names = [name for name, _ in parts]
        start = 0
        self.stages = nn.ModuleDict()
        for stage, last in LAST_BLOCK.items():
            end = names.index(last) + 1
            self.stages[stage] = nn.Sequential(OrderedDict(parts[start:end]))
            start = end
        self.requires_grad_(requires_grad=False)
        self.train()

    def train(self, mode: bool = True) -> "Backbone":  # noqa: FBT001, FBT002  torch's
        """Do nothing: batch norm uses what ImageNet taught it, always."""
        del mode
        return super().train(mode=False)

    def forward(self, images: Tensor) -> Features:
        """Return the features of (N, 3, H, W) float32 images in [0, 1]."""
        found = {}
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            for name, stage in self.stages.items():
                images = stage(images)
                found[name] = images
        return found


class _Proposals(nn.Module):
    """Proposes regions from the two coarser maps, laid on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.proposing = rpn.RegionProposalNetwork(
            anchor_utils.AnchorGenerator(sizes=(ANCHORS,), aspect_ratios=((1.0,),)),
            _ProposalHead(),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 1000, "testing": 500},
            post_nms_top_n={"training": 500, "testing": 100},
            nms_thresh=0.7,
        )

    def forward(
        self,
        images: image_list.ImageList,
        features: Features,
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals of each image, and in training the losses."""
        middle = features["middle"]
        coarse = functional.interpolate(features["coarse"], middle.shape[-2:])
        both = torch.cat([middle, coarse], dim=1)
        joined = {"joined": both.contiguous(memory_format=torch.channels_last)}
        found: tuple[list[Tensor], dict[str, Tensor]]
        found = self.proposing(images, joined, targets)
        return found


class _ProposalHead(nn.Module):
    """Says of every anchor whether a sign is there, and how to shift it."""

    def __init__(self) -> None:
        super().__init__()
        wide = PROPOSAL_CHANNELS
        self.shared = nn.Sequential(
            nn.Conv2d(CHANNELS["middle"] + CHANNELS["coarse"], wide, 1),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.ReLU(),
        )
        self.scores = nn.Conv2d(wide, len(ANCHORS), 1)
        self.shifts = nn.Conv2d(wide, 4 * len(ANCHORS), 1)
        for layer in (self.scores, self.shifts):
            nn.init.normal_(layer.weight, std=0.01)  # as in the paper of Faster R-CNN

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return scores and shifts for the anchors of each map."""
        shared = [self.shared(it) for it in maps]
        return [self.scores(it) for it in shared], [self.shifts(it) for it in shared]


class _Pooled(nn.Module):
    """Cuts regions out of the features at every stride: (R, channels, BINS, BINS)."""

    channels = 4 * CHANNELS["fine"] + CHANNELS["middle"] + CHANNELS["coarse"]

    def forward(
        self, features: Features, boxes: list[Tensor], _: list[tuple[int, int]]
    ) -> Tensor:
        """Return what the features of each image have in its boxes."""
        cut = {
            name: roi_align(
                features[name],
                boxes,
                2 * BINS if name == "fine" else BINS,
                spatial_scale=1 / stride,
                sampling_ratio=2,
                aligned=True,
            )
            for name, stride in STRIDES.items()
        }
        # as pixel_unshuffle has it, which leaves no regions at all as they are
        fine = cut["fine"].unflatten(3, (BINS, 2)).unflatten(2, (BINS, 2))
        fine = fine.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        return torch.cat([fine, cut["middle"], cut["coarse"]], dim=1)


def _resized_to(side: int) -> transform.GeneralizedRCNNTransform:
    """Return what brings the longer side of photographs to ``side`` pixels."""
    return transform.GeneralizedRCNNTransform(
        min_size=side, max_size=side, image_mean=[0.0] * 3, image_std=[1.0] * 3
    )


def _regions(classes: int) -> roi_heads.RoIHeads:
    head = nn.Sequential(
        nn.Conv2d(_Pooled.channels, REGION_CHANNELS, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(REGION_CHANNELS * BINS * BINS, REGION_FEATURES),
        nn.ReLU(),
        nn.Linear(REGION_FEATURES, REGION_FEATURES),
        nn.ReLU(),
    )
    return roi_heads.RoIHeads(
        _Pooled(),
        head,
        faster_rcnn.FastRCNNPredictor(REGION_FEATURES, classes),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=64,
        positive_fraction=0.5,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=50,
    )
