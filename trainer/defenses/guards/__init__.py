"""Guards: an image goes in at inference, a score comes out that says how odd it is."""

from trainer.defenses.guards.scale_up import scale_up
from trainer.defenses.guards.strip import strip
from trainer.defenses.guards.ted import ted
from trainer.defenses.guards.watch import Guard, Scores, Watch, watch

__all__ = ["GUARDS", "Guard", "Scores", "Watch", "watch"]

GUARDS: dict[str, Guard] = {"strip": strip, "scale-up": scale_up, "ted": ted}
