"""Where the tokens of several regions stand in a prompt: one :data:`~regionkit.core.tasks.REGION_MARK` for each.

A sample that mentions regions brings the tokens of all of them, one region after the other and each as many; a prompt
says with marks where each belongs.
"""

from __future__ import annotations

from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens
from regionkit.core.tasks import REGION_MARK


def pieces_of(prompt: str) -> list[str]:
    """Return the text before, between and behind the marks of a prompt; one piece where it has none."""
    return prompt.split(REGION_MARK)


def shares_of(tokens: RegionTokens, places: int, who: str) -> list[RegionTokens]:
    """Share out the tokens (r, t, d) of each row among places, t / places for each, in their order.

    Raises:
        FeatureError: They cannot be shared out equally.
    """
    count = tokens.tokens.shape[1]
    if count % places:
        raise FeatureError(
            f"{who}: {count} tokens a region cannot be shared out among the {places} {REGION_MARK} of the prompt",
            f"write one {REGION_MARK} for each region that is asked about",
        )
    step = count // places
    parts = [slice(at * step, (at + 1) * step) for at in range(places)]
    return [RegionTokens(tokens.tokens[:, part], tokens.mask[:, part], tokens.space) for part in parts]
