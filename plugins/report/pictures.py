"""Pictures of samples with the region drawn, small enough to stand in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RegionkitError
from regionkit.core.regions import MaskTrack, WholeImage

if TYPE_CHECKING:
    from PIL import Image

    from regionkit.core.contracts import Sample
    from regionkit.core.regions import Region
    from regionkit.registry.recorded import RecordedData

#: Longest side of a picture in pixels, and quality of its compression.
SIDE, QUALITY = 240, 82
#: Bytes of all pictures of a page together.
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the page holds it.

    Attributes:
        uri: The picture itself, as ``data:image/webp;base64,...``; empty where there is none.
        width: In pixels.
        height: In pixels.
        absent: Why there is none.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    absent: str = ""


class Album:
    """Makes pictures until they have taken up all bytes that a page has for them."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self.taken = most, 0

    def picture(self, data: RecordedData, sample: Sample) -> Picture:
        """Return the picture of a sample with its region; one that cannot be had says why."""
        if self.taken >= self._most:
            return Picture(absent="pictures of this page have taken up their room")
        try:
            image, region = _seen(data, sample)
            drawn = draw(image, region)
        except (RegionkitError, OSError, ValueError) as error:
            return Picture(absent=str(error).partition("\n")[0])
        content = _packed(drawn)
        if self.taken + len(content) > self._most:
            return Picture(absent="pictures of this page have taken up their room")
        self.taken += len(content)
        return Picture(f"data:image/webp;base64,{content.decode('ascii')}", *drawn.size)


def draw(image: Image.Image, region: Region) -> Image.Image:
    """Return a picture, reduced or enlarged, with a region in pixels of the original drawn on it."""
    from PIL import Image as Pictures

    from regionkit.core.drawing import COLOURS, draw_region

    scale = SIDE / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    picture = image.convert("RGB").resize(size, Pictures.Resampling.LANCZOS)
    return draw_region(picture, region, scale, COLOURS[0], "")


def _seen(data: RecordedData, sample: Sample) -> tuple[Image.Image, Region]:
    """Return the picture and region of a sample; of a clip the first frame in which the thing is seen."""
    if isinstance(sample.region, MaskTrack):
        at, mask = next((at, mask) for at, mask in enumerate(sample.region.masks) if mask is not None)
        return data.dataset.clip(sample.image_id)[at], mask
    return data.dataset.image(sample.image_id), sample.region


def _packed(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=4)
    return base64.b64encode(stream.getvalue())


def recorded(config: Mapping[str, Any]) -> tuple[RecordedData | None, str]:
    """Return the samples of a trial, or why there are none here: the data are gone, or not the same any more."""
    from regionkit.registry.recorded import recorded_data

    try:
        found = recorded_data(config)
        stored = config["data"]
        now = found.dataset.fingerprint(stored["task"]["name"], found.split, found.seed, stored["limit"])
    except (RegionkitError, OSError, KeyError) as error:
        return None, str(error).partition("\n")[0] or type(error).__name__
    if now != found.fingerprint:
        return None, "the data have changed since this run"
    return found, ""


def region_words(region: Region) -> str:
    """Return what is drawn, for those who do not see it."""
    return "the whole picture" if isinstance(region, WholeImage) else region.kind
