"""What a detector learns from, by name."""

from trainer.data.scenes.dataset import SceneSet
from trainer.data.scenes.gtsdb import GTSDB
from trainer.data.scenes.lisa import LISA
from trainer.data.scenes.swedish import SWEDISH
from trainer.data.scenes.voc import ROAD_SIGNS

SCENES: dict[str, SceneSet] = {it.name: it for it in (GTSDB, ROAD_SIGNS, LISA, SWEDISH)}
"""One entry under each name of ``model_zoo.statements.jobs.SceneSetName``."""
