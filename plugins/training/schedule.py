"""The learning rate as a function of the step alone, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from regionkit.core.contracts import TrainSettings
from regionkit.core.errors import RegionkitError

SCHEDULES: tuple[str, ...] = ("linear", "cosine", "constant")


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Return the learning rate of a step (0-based).

    It rises linearly over the warm-up and has its peak at the first step after it; ``linear`` and ``cosine`` then fall
    and would reach zero at step ``settings.steps``.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    if settings.schedule == "linear":
        return settings.learning_rate * (1 - done)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return settings.learning_rate


def check_settings(settings: TrainSettings) -> None:
    """Check what a recipe asks of the loop.

    Raises:
        RegionkitError: A value makes no sense.
    """
    if settings.schedule not in SCHEDULES:
        raise RegionkitError(
            f"recipe.schedule: no schedule named '{settings.schedule}'", f"schedules are: {', '.join(SCHEDULES)}"
        )
    if settings.steps < 1:
        raise RegionkitError(f"recipe.steps: {settings.steps} steps train nothing", "give 1 or more")
    if not (math.isfinite(settings.learning_rate) and settings.learning_rate > 0):
        raise RegionkitError(f"recipe.learning_rate: {settings.learning_rate} is not a positive number")
    if settings.warmup < 0 or settings.clip < 0:
        raise RegionkitError("recipe.warmup and recipe.clip are 0 or more")
