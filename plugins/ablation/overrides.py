"""``--set`` of ``toolkit run``: options of its data sets, tasks and metrics, beside those of its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regionkit.core.errors import ConfigError, Problem
from regionkit.registry.merging import apply_override

#: First keys of options that are for every data set, and for every task, of the command.
_OWN = ("data", "task")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for beside its pipeline, as an ablation file says it.

    Attributes:
        data: Entries of ``data:``.
        metrics: Entries of ``metrics:``.
        pipeline: What is left, for the pipeline.
    """

    data: list[Any]
    metrics: list[Any]
    pipeline: list[str]


def laid_over(overrides: Sequence[str], data: Sequence[str], metrics: Sequence[str]) -> Asked:
    """Lay ``data.option=value``, ``task.option=value`` and ``METRIC.option=value`` over what a command line names.

    Args:
        overrides: Values of ``--set``.
        data: ``TASK@NAME`` and ``TASK@NAME/SPLIT``.
        metrics: Names of metrics.

    Raises:
        ConfigError: One is of another form, or renames what another flag names.
    """
    held: dict[str, Any] = {**{word: {} for word in _OWN}, **{name: {} for name in metrics}}
    lines: dict[str, str] = {}
    pipeline, problems = [], []
    for text in overrides:
        first, _, rest = text.partition("=")[0].strip().partition(".")
        if first not in held:
            pipeline.append(text)
        elif rest in ("", "name", "task", "split"):
            flag = "--metrics" if first in metrics else "--data"
            hint = f"options are --set {first}.OPTION=VALUE"
            problems.append(Problem(f"--set {text}", "", f"{flag} says which {first} it is", (hint,)))
        else:
            held = apply_override(held, lines, text)
    if problems:
        raise ConfigError(problems)
    named = [{"name": name, **held[name]} if held[name] else name for name in metrics]
    return Asked([_entry(word, held["data"], held["task"]) for word in data], named, pipeline)


def _entry(word: str, data: Mapping[str, Any], task: Mapping[str, Any]) -> Any:
    """Return an entry of ``data:`` with options; a word that is none is told of as it stands."""
    name, at, place = word.partition("@")
    if not (data or task) or not at:
        return word
    source, slash, split = place.partition("/")
    return {
        "task": {"name": name, **task} if task else name,
        "name": source,
        **({"split": split} if slash else {}),
        **data,
    }
