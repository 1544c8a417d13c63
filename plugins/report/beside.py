"""Published numbers beside ours, as ``published.json`` of a run's folder has them; most runs have none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from regionkit.plugins.report.words import NOTHING

PUBLISHED = "published.json"
#: Headings of the table.
HEADER = ("data", "metric", "ours", "published", "difference", "printed in", "not compared")


def beside_published(folder: Path) -> list[list[str]]:
    """Return the rows of the table under :data:`HEADER`; none where the file is not there, or is none of ours.

    The file is an addition to the results: whatever is wrong with it, the rest of the page stands.
    """
    try:
        rows = json.loads((folder / PUBLISHED).read_text(encoding="utf-8"))["rows"]
        return [_cells(row) for row in rows]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []


def _cells(row: Any) -> list[str]:
    places = dict.fromkeys(f"table {one['table']}: {one['row']}" for one in row["printed_in"])
    return [
        str(row["data"]),
        str(row["column"]),
        _number(row["ours"], ".2f"),
        str(float(row["published"])),
        _number(row["difference"], "+.2f"),
        ", ".join(places),
        "; ".join(map(str, row["not_compared"])) or NOTHING,
    ]


def _number(value: Any, form: str) -> str:
    return NOTHING if value is None or not math.isfinite(value) else format(float(value), form)
