"""What an explanation of a caption says in JSON and in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regionkit.core.explanations import Explanation

#: Patches, texts and tokens that are told of in words; JSON has all of them.
_SHOWN = 3
#: Texts with less of the weight are not told of in words.
_LEAST_WEIGHT = 0.0005
#: Influences that are smaller are not told of in words.
_LEAST = 0.05
#: Digits of weights and of influences in JSON.
_DIGITS = 5


def record(found: Explanation, top: int = 10) -> dict[str, Any]:
    """Return an explanation in plain values; docs/explain.md says what each key means.

    Args:
        found: The explanation.
        top: Patches that are listed one by one, the most influential first.
    """
    from regionkit.core.region_io import to_record

    return {
        "region": to_record(found.region),
        "explained": found.text,
        "log_probability": _number(found.log_probability),
        "patches": _patches(found, top),
        "texts": _texts(found),
        "tokens": _tokens(found),
        "notes": dict(found.notes),
    }


def _patches(found: Explanation, top: int) -> dict[str, Any]:
    patches = found.patches
    return {
        "grid": [*patches.frame.grid],
        "inside": None if patches.inside is None else _number(patches.inside),
        "area": _number(patches.area),
        "weights": _table(patches.weights),
        "left_out": patches.how or None,
        "cells": int(patches.cells.max()) + 1,
        "influence": _table(patches.influence_map()),
        "region": None if patches.of_region is None else _number(patches.of_region),
        "top": [_cell(found, cell) for cell in _ranked(found)[:top]],
    }


def _cell(found: Explanation, cell: int) -> dict[str, Any]:
    """Return what is known of a cell: the patch in its corner, its box in pixels of the picture, what it weighs."""
    patches = found.patches
    held = patches.cells == cell
    row, column = _corner(found, cell)
    boxes = patches.frame.cells()[held]
    box = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
    return {
        "row": row,
        "column": column,
        "box": [round(float(value), 2) for value in box],
        "inside": bool(patches.touched[held].any()),
        "weight": None if patches.weights is None else _number(patches.weights[held].sum()),
        "influence": None if patches.influence is None else _number(patches.influence[cell]),
    }


def _corner(found: Explanation, cell: int) -> tuple[int, int]:
    """Return row and column of the first patch of a cell."""
    import numpy as np

    return divmod(int(np.flatnonzero(found.patches.cells == cell)[0]), found.patches.cells.shape[1])


def _ranked(found: Explanation) -> list[int]:
    """Return the cells, those that count most first: by influence, without it and among equals by weight."""
    import numpy as np

    patches = found.patches
    count = int(patches.cells.max()) + 1
    held = None if patches.weights is None else patches.weights.ravel()
    weight = np.bincount(patches.cells.ravel(), held, count) if held is not None else np.zeros(count)
    if patches.influence is None and held is None:
        return []
    by = np.zeros(count) if patches.influence is None else np.abs(patches.influence)
    return [int(cell) for cell in np.lexsort((-weight, -by))]


def _texts(found: Explanation) -> list[dict[str, Any]]:
    losses = found.texts_influence
    return [
        {
            "text": text.text,
            "weight": _number(text.weight),
            "rows": [*text.rows],
            "influence": None if losses is None else _number(losses[at]),
        }
        for at, text in enumerate(found.texts)
    ]


def _tokens(found: Explanation) -> list[dict[str, Any]]:
    patches, by_text = found.patches, found.tokens_by_text
    told = []
    for at, token in enumerate(found.tokens):
        region = patches.region_of_tokens
        told.append(
            {
                "text": token.text,
                "id": token.id,
                "log_probability": _number(token.log_probability),
                "alternatives": [
                    {"text": one.text, "id": one.id, "log_probability": _number(one.log_probability)}
                    for one in token.alternatives
                ],
                "region": None if region is None else _number(region[at]),
                "texts": None if by_text is None else [_number(value) for value in by_text[at]],
                "patch": _strongest(found, at),
            }
        )
    return told


def _strongest(found: Explanation, token: int) -> dict[str, Any] | None:
    """Return the cell that a token depends on most: where it begins, and what the token loses without it."""
    import numpy as np

    patches = found.patches
    if patches.of_tokens is None:
        return None
    cell = int(np.abs(patches.of_tokens[token]).argmax())
    row, column = _corner(found, cell)
    return {"row": row, "column": column, "influence": _number(patches.of_tokens[token, cell])}


def sentences(found: Explanation) -> list[str]:
    """Return a few lines that say the most of it."""
    return [line for line in (_said_patches(found), _said_texts(found), *_said_tokens(found)) if line] + [
        f"note: {note}" for note in dict.fromkeys(found.notes.values())
    ]


def _said_patches(found: Explanation) -> str:
    patches, words = found.patches, []
    if patches.inside is not None:
        words.append(
            f"{patches.inside:.0%} of the weight inside the region, which is {patches.area:.0%} of the patches"
        )
    if patches.of_region is not None:
        words.append(f"without the region the caption loses {_rounded(patches.of_region):.2f} nats")
    if patches.influence is not None:
        ranked = [cell for cell in _ranked(found)[:_SHOWN] if abs(patches.influence[cell]) >= _LEAST]
        places = [(*_corner(found, cell), patches.influence[cell]) for cell in ranked]
        told = [f"row {row}, column {column} ({lost:+.2f})" for row, column, lost in places]
        what = "square of the picture" if patches.how == "picture" else "patch"
        words.append(f"{what} that counts most: {', '.join(told)}" if told else f"no single {what} counts")
    return f"patches: {'; '.join(words)}" if words else ""


def _said_texts(found: Explanation) -> str:
    losses = found.texts_influence
    told = [
        f"{text.weight:.1%} '{text.label}'" + ("" if losses is None else f" ({_signed(losses[at])})")
        for at, text in enumerate(found.texts[:_SHOWN])
        if text.weight >= _LEAST_WEIGHT or not at
    ]
    held = min(sum(text.weight for text in found.texts), 1.0)
    return f"texts: {', '.join(told)}; {len(found.texts)} texts hold {held:.1%} of the weight" if told else ""


def _said_tokens(found: Explanation) -> list[str]:
    if not found.tokens:
        return []
    chances = [f"{one.text} {math.exp(one.log_probability):.0%}" for one in found.tokens]
    lines = [f"tokens: {', '.join(chances)}"]
    for head, losses in _columns(found):
        named = [f"{found.tokens[at].text} ({losses[at]:+.2f})" for at in _largest(losses)]
        lines += [f"  without {head}: {', '.join(named)}"] if named else []
    return lines


def _columns(found: Explanation) -> list[tuple[str, NDArray[np.float64]]]:
    region, by_text = found.patches.region_of_tokens, found.tokens_by_text
    columns = [] if region is None else [("the region", region)]
    texts = found.texts[:_SHOWN] if by_text is not None else ()
    return columns + [(f"'{text.label}'", by_text[:, at]) for at, text in enumerate(texts) if by_text is not None]


def _largest(losses: NDArray[np.float64]) -> list[int]:
    order = sorted(range(len(losses)), key=lambda at: -abs(float(losses[at])))
    return [at for at in order[:_SHOWN] if abs(losses[at]) >= _LEAST]


def _signed(value: float) -> str:
    return "nothing is left without it" if math.isnan(value) else f"{_rounded(value):+.2f}"


def _rounded(value: float) -> float:
    """Return a number of two decimals, of which zero has no sign: it would say a direction, and there is none."""
    return round(float(value), 2) + 0.0


def _table(values: NDArray[np.float64] | None) -> list[list[float | None]] | None:
    return None if values is None else [[_number(value) for value in row] for row in values]


def _number(value: float) -> float | None:
    """Return a number that JSON has: it knows no NaN."""
    number = round(float(value), _DIGITS)
    return number + 0.0 if math.isfinite(number) else None
