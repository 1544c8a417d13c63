"""Opening pictures that users hand in, and masks beside them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from regionkit.core.errors import FeatureError, ImageError
from regionkit.core.files import is_folder

#: Decoders that are used, whatever a file is called: Pillow hands PostScript to Ghostscript, which would run it.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
#: The EXIF tag of the orientation, and its values for pictures that lie on their side.
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
#: File name endings that a folder is searched for.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def open_image(path: str | Path) -> Image.Image:
    """Open a picture as RGB, upright as its EXIF orientation says, with its text chunks in ``info``.

    Grey pictures of 16 bits are scaled to 8.

    Raises:
        ImageError: There is no such file, it is no picture that can be decoded completely, or its values have no known
            range.
    """
    return _in_colour(_upright(Path(path)), str(path))


def read_image(content: bytes, name: str) -> Image.Image:
    """Return a picture that stands in another file, as :func:`open_image` would; ``name`` is for messages.

    Raises:
        ImageError: As for :func:`open_image`.
    """
    return _in_colour(_decoded(io.BytesIO(content), name), name)


def _in_colour(upright: Image.Image, name: str) -> Image.Image:
    if upright.mode in ("I", "F"):
        raise ImageError(
            f"{name} holds numbers of 32 bits, whose range is not known",
            "scale them to 0..255 and save the picture with 8 bits a channel",
        )
    if upright.mode.startswith("I;16"):  # Pillow would cut everything above 255 off
        picture = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    else:
        picture = upright.convert("RGB")
    # A transparent colour of the palette means nothing in RGB, and would keep the picture from being saved.
    picture.info = {key: value for key, value in upright.info.items() if key != "transparency"}
    return picture


def open_mask(path: str | Path) -> NDArray[np.bool_]:
    """Open a mask as a boolean array (H, W): True where a pixel is neither black nor fully transparent.

    Raises:
        ImageError: There is no such file, or it is no picture that can be decoded completely.
    """
    upright = _upright(Path(path))
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):  # numbers of instances rather than colours
        return np.asarray(upright) > 0
    pixels = np.asarray(upright.convert("RGBA"))
    inside: NDArray[np.bool_] = pixels[..., :3].any(axis=-1) & (pixels[..., 3] > 0)
    return inside


def check_masks(images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> None:
    """Refuse masks that do not belong to pictures, for backbones that take both.

    Args:
        images: b pictures.
        masks: What should be b masks (height, width) of truth values, each of its picture's size.

    Raises:
        FeatureError: They are not as many, or one has other values or another size.
    """
    if len(images) != len(masks):
        raise FeatureError(f"{len(masks)} masks were given for {len(images)} pictures", "give one mask a picture")
    for image, mask in zip(images, masks, strict=True):
        if not isinstance(mask, np.ndarray):
            raise FeatureError(
                f"a mask is a {type(mask).__name__}, not an array of numpy", "write numpy.asarray(mask, dtype=bool)"
            )
        if mask.dtype != np.bool_:
            raise FeatureError(f"a mask holds {mask.dtype} and no truth values", "compare it with a threshold")
        if mask.shape != image.size[::-1]:
            shown = " x ".join(str(side) for side in mask.shape[::-1]) or "no"
            raise FeatureError(
                f"a mask of {shown} pixels does not fit its picture of {image.width} x {image.height}",
                "masks are given at the size of the original picture: resize it with nearest neighbour",
            )


def image_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a picture as :func:`open_image` would give it, reading no more than its head.

    Raises:
        ImageError: There is no such file, or it is no picture.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
            return (picture.height, picture.width) if turned else picture.size
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except Exception as error:  # as in _upright
        raise ImageError(f"{path}: its size cannot be read: {error}") from None


def _upright(path: Path) -> Image.Image:
    """Open a picture in its own mode and turn it as its EXIF orientation says; the orientation leaves its notes."""
    if is_folder(path):
        raise ImageError(f"{path} is a folder, not a picture")
    try:
        if path.exists() and not path.is_file():  # a pipe would wait for ever, and some devices never end
            raise ImageError(f"{path} is a pipe or a device, not a picture")
    except OSError as error:  # a name that is too long
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _decoded(path, str(path))


def _decoded(source: Path | io.BytesIO, path: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=_FORMATS) as picture:
                picture.load()
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path} is not a picture",
            f"pictures end in {', '.join(PICTURE_SUFFIXES)}; regions come as .jsonl",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels", "scale it down before captioning it"
        ) from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError and others on damaged files
        if isinstance(error, OSError) and error.strerror:  # what the system says, and not a decoder
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
        raise ImageError(
            f"{path}: the picture is damaged: {error}", "open and save it again with another program"
        ) from None


def find_pictures(folder: str | Path) -> list[Path]:
    """Return the pictures directly in a folder, sorted by name.

    Raises:
        ImageError: There is none.
    """
    folder = Path(folder)
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise ImageError(f"{folder}: no picture in this folder", f"looked for {', '.join(PICTURE_SUFFIXES)}")
    return found
