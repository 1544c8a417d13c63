"""What stages have cost on this machine: seconds and bytes a picture or region, for the estimates of a plan.

They are learned from runs and kept in the toolkit's cache folder. They decide nothing: a file that is lost, damaged or
written by two runs at once makes an estimate worse, and no result different.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from regionkit.core.cache import cache_folder
from regionkit.core.files import write_text
from regionkit.core.spec import PARTS, Space
from regionkit.plugins.ablation.clock import StageClock
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.weights.index import files_of

#: The weight of the newest run in a running mean.
_NEWEST = 0.5
#: Guesses: bytes a number, tokens of a picture and of a caption, products a second, seconds of anything at all.
_BYTES, _TOKENS, _RATE, _LEAST = 4, {"backbone": 257, "decoder": 20}, {"cpu": 5e10, "cuda": 2e13}, 1e-4
_SPACE = re.compile(r"[^\[\]]+\[\d+\]")
#: Parts of the file; further ones push out the oldest.
_MOST = 4000


class Cost(NamedTuple):
    """What one picture (backbone) or one region (all other stages) costs."""

    seconds: float
    nbytes: float


@dataclass
class Costs:
    """Costs by device and part.

    Attributes:
        path: Where they are kept.
        known: ``DEVICE KIND KEY`` -> cost, by the part with all its options, and by its name alone.
    """

    path: Path
    known: dict[str, Cost] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Self:
        """Read what earlier runs have learned."""
        path = cache_folder() / "stage-costs.json"
        found = cls(path)
        with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
            stored: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            found.known = dict(_numbers(stored["costs"]))
        return found

    def write(self) -> None:
        """Keep them, if they can be kept; those that other runs have learned in the meantime stay."""
        merged = {**type(self).read().known, **self.known}
        newest = dict(list(merged.items())[-_MOST:])
        with suppress(OSError):
            write_text(self.path, json.dumps({"version": 1, "costs": newest}))

    def add(self, plan: PipelinePlan, device: str, clock: StageClock) -> None:
        """Learn from a trial: stages that were read from a cache have taken no time and teach nothing."""
        for kind in PARTS:
            spent, units = clock.seconds.get(kind, 0.0), clock.units.get(kind, 0)
            if not (spent and units):
                continue
            seen = Cost(spent / units, clock.bytes.get(kind, 0) / units)
            for key in _keys(plan, kind, device):
                held = self.known.pop(key, seen)
                self.known[key] = Cost(
                    *(_NEWEST * new + (1 - _NEWEST) * old for new, old in zip(seen, held, strict=True))
                )

    def of(self, plan: PipelinePlan, kind: str, device: str) -> Cost | None:
        """Return the cost of one picture or region; None where nothing like it has run here."""
        return next((self.known[key] for key in _keys(plan, kind, device) if key in self.known), None)

    @staticmethod
    def guess(plan: PipelinePlan, kind: str, device: str) -> Cost:
        """Guess the cost of what has never run here, from the size of its weights: it may be wrong by ten times.

        A network works about twice its number of weights for each of its tokens: those of a picture, or those that are
        written. What has no weights takes next to no time.
        """
        size = weight_bytes(plan, kind)
        space = plan.ports[kind][1]
        width = Space.parse(space).dim if _SPACE.fullmatch(space) else 0
        tokens = _TOKENS.get(kind, 0)
        seconds = 2 * size / _BYTES * tokens / _RATE.get(device, _RATE["cpu"]) + _LEAST
        return Cost(seconds, _BYTES * width * (tokens if kind == "backbone" else 1))


def weight_bytes(plan: PipelinePlan, kind: str) -> int:
    """Return the bytes of a part's weights on disk, those of a folder together; 0 without any, or if they are gone."""
    file = plan.weights[kind]
    if file is None:
        return 0
    size = 0
    for named in file.files.values() or [file.path]:
        with suppress(OSError):  # building says in better words that they are gone
            size += sum(one.stat().st_size for one in files_of(named))
    return size


def _numbers(stored: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    for key, (seconds, nbytes) in stored.items():
        if math.isfinite(seconds) and math.isfinite(nbytes) and seconds >= 0 and nbytes >= 0:
            yield str(key), Cost(float(seconds), float(nbytes))


def _keys(plan: PipelinePlan, kind: str, device: str) -> tuple[str, str]:
    return f"{device} {kind} {plan.key(kind)}", f"{device} {kind} {plan.parts[kind].name}"
