"""What keeps a published row from being run here: its weights, its data, a part that is not installed, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.errors import ConfigError, RegionkitError
from regionkit.registry.commands.data_files import folder_of, missing_of, states
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.published.matching import options_of
from regionkit.registry.published.tables import Asked, Row
from regionkit.registry.registry import get_registry

#: A row that is no pipeline of ours.
NOT_OURS = "not ours"
#: A row of which something could be run now.
RUNS = "runs here"


@dataclass(frozen=True)
class Status:
    """What a row waits for.

    Attributes:
        word: ``runs here``, ``awaits weights``, ``awaits data``, ``awaits weights and data``, ``awaits a part`` or
            ``not ours``.
        reason: More on it, where the word does not say all.
    """

    word: str
    reason: str = ""


class Statuses:
    """Says what rows wait for; each preset and each data set is looked at once."""

    def __init__(self) -> None:
        self._presets: dict[str, Status] = {}
        self._data: dict[str, bool] = {}

    def of(self, row: Row) -> Status:
        """Say what a row waits for: it runs where one of its presets has its weights, and one of its data sets."""
        if not row.presets:
            return Status(NOT_OURS, row.why)
        found = [(preset, self.preset(preset)) for preset in dict.fromkeys(row.presets.values())]
        broken = next((status for _, status in found if status.word not in (RUNS, "awaits weights")), None)
        if broken is not None:
            return broken
        ready = [preset for preset, status in found if status.word == RUNS]
        data = {value.data for value in row.values if row.preset(value.data.task) in (ready or row.presets.values())}
        here = any(self.data(asked) for asked in data)
        waits = [word for word, there in (("weights", bool(ready)), ("data", here)) if not there]
        return Status(f"awaits {' and '.join(waits)}" if waits else RUNS)

    def preset(self, name: str) -> Status:
        """Say what a preset waits for, whatever it is to be run on."""
        if name not in self._presets:
            self._presets[name] = _look(name)
        return self._presets[name]

    def data(self, asked: Asked) -> bool:
        """Say whether the files of some samples are here."""
        key = f"{asked.name}/{asked.split}"
        if key not in self._data:
            self._data[key] = _have(asked)
        return self._data[key]


def _look(name: str) -> Status:
    try:
        document = read_pipeline(name)
    except RegionkitError as error:
        return Status("awaits a part", error.message)
    try:
        plan_pipeline(document.data, document.line)
    except ConfigError as error:
        # What is wrong where all options are right is that nothing trained is there.
        lacks_part = options_of(document.data) is None
        return Status("awaits a part", error.problems[0].message) if lacks_part else Status("awaits weights")
    return Status(RUNS)


def _have(asked: Asked) -> bool:
    spec = next((one for one in get_registry().specs("dataset") if one.name == asked.name), None)
    if spec is None:
        return False
    held = states(spec, folder_of(spec))
    found = any(one.found for one in held if asked.split in (one.file.splits or (asked.split,)))
    return not held or (found and not missing_of(held, asked.split))
