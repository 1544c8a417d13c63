"""The weights that a metric with a model of its own judges with."""

from __future__ import annotations

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.weights import WeightFile


def weights_of(metric: str, option: str, context: BuildContext) -> WeightFile | None:
    """Return the weights that were chosen for a metric; None where it is to judge untrained.

    Args:
        metric: Name of the metric, for messages.
        option: Its option ``weights``.
        context: What it is built in.

    Raises:
        WeightsError: None were chosen: numbers of an untrained model must not pass for a score.
    """
    if context.weights is None and option != "none":
        raise WeightsError(
            f"{metric} judges with an encoder, and no weights were chosen for it",
            f"fetch the default one: toolkit weights pull {metric}",
            "or name the folder of another one: weights: file:DIR",
        )
    return context.weights if option != "none" else None
