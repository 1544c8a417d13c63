"""Write a large set of made-up captions, for measuring: ``python large_set.py FOLDER CAPTIONS``."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path


def write_set(folder: Path, number: int, references: int = 5) -> None:
    """Write ``predictions.json`` and ``references.json``; words are as unevenly frequent as in language."""
    drawn = random.Random(0)
    syllables = [consonant + vowel for consonant in "bcdfglmnprst" for vowel in "aeiou"]
    words = ["a", "the", "in", "on", "of", "with"]
    words += ["".join(drawn.choices(syllables, k=2)) + ("" if at % 3 else "ing") for at in range(8000)]
    weights = [1 / (at + 1) for at in range(len(words))]

    def caption() -> str:
        return " ".join(drawn.choices(words, weights, k=drawn.randint(8, 14))).capitalize() + "."

    predictions = {str(at): caption() for at in range(number)}
    truth = {name: [caption() for _ in range(references)] for name in predictions}
    (folder / "predictions.json").write_text(json.dumps(predictions))
    (folder / "references.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    write_set(Path(sys.argv[1]), int(sys.argv[2]))
