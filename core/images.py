"""Opening pictures that users hand in."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from regionkit.core.errors import ImageError

#: File name endings that a folder is searched for.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def open_image(path: str | Path) -> Image.Image:
    """Open a picture as RGB, upright as its EXIF orientation says, with its text chunks in ``info``.

    Raises:
        ImageError: There is no such file, or it is no picture that can be decoded completely.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                info = dict(picture.info)
                upright = ImageOps.exif_transpose(picture).convert("RGB")
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
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's plugins raise all three on damaged files
        raise ImageError(
            f"{path}: the picture is damaged: {error}", "open and save it again with another program"
        ) from None
    upright.info.update(info)
    return upright


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
