"""Mini models know sprites on painted ground. This is how they decline a photograph."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from regionkit.core.errors import ImageError
from regionkit.plugins.mini.scene import is_marked


def refuse_strangers(images: Sequence[Image.Image], model: str, *, force: bool = False) -> None:
    """Check that all pictures carry the mark of the mini-world.

    Args:
        images: The pictures.
        model: Name of the model, for the message.
        force: Accept everything.

    Raises:
        ImageError: One is a stranger; the message says which preset to use instead.
    """
    if force or all(is_marked(image) for image in images):
        return
    number = next(at for at, image in enumerate(images) if not is_marked(image))
    raise ImageError(
        f"'{model}' knows only pictures of the mini-world, and picture {number + 1} of {len(images)} is not one",
        "photographs need a backbone that was trained on them: toolkit list-components --kind backbone, "
        "then --preset PIPELINE.yaml",
        "to get mini-world pictures: toolkit data make mini --out DIR",
        "to caption this picture all the same (the caption will be nonsense): --force",
    )
