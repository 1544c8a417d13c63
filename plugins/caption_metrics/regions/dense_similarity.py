"""Dense captioning: what judges captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regionkit.core.errors import DataError
from regionkit.core.files import sha256_of
from regionkit.plugins.caption_metrics.regions.dense_configs import DenseMapConfig
from regionkit.plugins.caption_metrics.regions.dense_matching import Floats
from regionkit.plugins.caption_metrics.regions.dense_precision import Similarity
from regionkit.plugins.caption_metrics.regions.dense_records import load_json


@dataclass(frozen=True, slots=True)
class CaptionJudge:
    """A similarity of captions.

    Attributes:
        label: What signatures call it.
        similarity: The function; None where captions are not judged.
        start: Starts what takes long.
    """

    label: str
    similarity: Similarity | None = None
    start: Callable[[], None] | None = None


def judge_of(config: DenseMapConfig) -> CaptionJudge:
    """Return what the options name.

    Raises:
        MissingExtra: METEOR is asked for, and there is no Java or no jar.
        DataError: The table cannot be read.
    """
    if config.similarity == "meteor":
        return _meteor()
    if config.similarity == "table":
        return _recorded(Path(config.table).expanduser())
    return CaptionJudge("none")


def _meteor() -> CaptionJudge:
    # Imported here: whoever judges boxes alone, or by a table, has no use for Java.
    from regionkit.plugins.caption_metrics.java.jars import sha256
    from regionkit.plugins.caption_metrics.java.meteor import find_meteor, segment_scores

    program = find_meteor(who="metric 'dense-map'")

    def similarity(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        return segment_scores(captions, references, program)

    return CaptionJudge(f"meteor@{sha256(program.jar)[:12]}", similarity, program.start)


def _recorded(path: Path) -> CaptionJudge:
    rows = load_json(path)
    try:
        known = {(caption, tuple(references)): float(value) for caption, references, value in rows}
    except (TypeError, ValueError):
        raise DataError(f"{path}: a table of similarities is a list of [caption, [reference, ...], value]") from None

    def similarity(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        pairs = [(caption, tuple(texts)) for caption, texts in zip(captions, references, strict=True)]
        missing = [pair for pair in pairs if pair not in known]
        if missing:
            caption, texts = missing[0]
            raise DataError(
                f"{path}: {len(missing)} of {len(pairs)} captions are not in this table, such as '{caption:.60}'",
                f"against {len(texts)} references, the first of them '{texts[0]:.60}'",
            )
        return np.array([known[pair] for pair in pairs], np.float64)

    return CaptionJudge(f"table@{sha256_of(path)[:12]}", similarity)
