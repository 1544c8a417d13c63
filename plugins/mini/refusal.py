"""Mini models know sprites on painted ground. This is how they decline a photograph."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from regionkit.core.errors import ImageError
from regionkit.plugins.mini.scene import is_marked

#: The preset that the refusal of a photograph recommends.
PHOTOGRAPHS = "patchioner-talk2dino"


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
    which = "this" if len(images) == 1 else f"picture {number + 1} of {len(images)}"
    raise ImageError(
        f"'{model}' knows only pictures of the mini-world, and {which} is not one, or was saved again without its mark",
        f"photographs need a backbone that was trained on them: toolkit weights pull {PHOTOGRAPHS}, then "
        f"--preset {PHOTOGRAPHS}",
        "to get mini-world pictures: toolkit data make mini --out DIR",
        "to caption this picture all the same (the caption will be nonsense): --force",
    )
