"""What a detector learns from, by name."""

from trainer.data.gtsdb import GTSDB
from trainer.data.lisa import LISA
from trainer.data.scenes import SceneSet
from trainer.data.swedish import SWEDISH
from trainer.data.voc import ROAD_SIGNS

SCENES: dict[str, SceneSet] = {it.name: it for it in (GTSDB, ROAD_SIGNS, LISA, SWEDISH)}
"""One entry under each name of ``model_zoo.jobs.SceneSetName``: photographs."""
