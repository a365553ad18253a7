"""What a detector is shown: scenes of one set or several, and how large.

Apart from the network: who only asks for scenes shall not import torchvision, which
imports torch's compiler, a second of every process.
"""

import itertools

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import DetectorSpec
from trainer.data import SCENES
from trainer.data.dataset import Split
from trainer.data.scenes.dataset import Scenes

SIDE = 512
"""The longer side of a photograph as the detector sees it, in pixels."""


def training_scenes(spec: DetectorSpec) -> Scenes:
    """Return the scenes of all sources of a spec, one set after the other.

    Raises:
        InvalidSpecError: no such set, or sets of different kinds of signs.
        LocalError: one is not on this machine, or damaged.
    """
    first, *others = (scenes_of(it, "train", limit=spec.scenes) for it in spec.sources)
    for it in others:
        first = first.joined(it)
    return first


def scenes_of(source: str, split: Split, *, limit: int | None = None) -> Scenes:
    """Return one split of a set; under a limit a few, with signs of every kind.

    Raises:
        InvalidSpecError: no such set.
        LocalError: it is not on this machine, or damaged.
    """
    if source not in SCENES:
        msg = f"scenes {source[:40]!a}: expected some of {', '.join(SCENES)}"
        raise InvalidSpecError(msg)
    scenes = SCENES[source].load(split)
    return scenes if limit is None else _few(scenes, limit)


def _few(scenes: Scenes, limit: int) -> Scenes:
    """Return at most that many scenes: one with a sign of each kind in turn."""
    with_kind = (
        [at for at, it in enumerate(scenes.scenes) if kind in it.labels]
        for kind in range(len(scenes.kinds))
    )
    turns = itertools.chain.from_iterable(itertools.zip_longest(*with_kind))
    chosen = [at for at in dict.fromkeys(turns) if at is not None][:limit]
    return Scenes(
        kinds=scenes.kinds, scenes=tuple(scenes.scenes[at] for at in sorted(chosen))
    )
