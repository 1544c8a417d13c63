"""Checking whole files of any kind: the command that reads such files says what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.errors import ConfigError, Problem, RegionkitError, RunFailed
from regionkit.registry.document import Document, read_document
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import by_line


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is known of a file.

    Attributes:
        problems: Every mistake, in the order of the lines.
        summary: What a good file holds, on one line; empty where there are mistakes.
        notes: What whoever reads results of a good pipeline has to know.
    """

    problems: tuple[Problem, ...] = ()
    summary: str = ""
    notes: tuple[str, ...] = ()


def check_file(path: str | Path, overrides: Sequence[str] = ()) -> FileReport:
    """Check a file; its top-level keys say which command it is for, and without any it is a pipeline.

    Raises:
        RunFailed: The check of that command cannot be imported.
        RegionkitError: Two plugins clash, whatever the file.
    """
    get_registry()
    document: Document | None = None
    try:
        document = read_document(path, overrides)
        return check_document(document)
    except ConfigError as error:
        return FileReport(tuple(sorted(dict.fromkeys(error.problems), key=by_line)))
    except RunFailed:
        raise
    except RegionkitError as error:
        where = document.line("") if document else str(path)
        return FileReport((Problem(where, "", error.message, error.hints),))


def check_document(document: Document) -> FileReport:
    """Return what a good file holds.

    Raises:
        ConfigError: It has mistakes.
    """
    registry = get_registry()
    reader = registry.reader(document.data)
    if reader is not None:
        summary: str = registry.import_for(reader, reader.check)(document)
        return FileReport(summary=summary)
    plan = plan_pipeline(document.data, document.line)
    names = " > ".join(part.name for part in plan.parts.values())
    summary = f"pipeline: {names}{', unbridged' if plan.unbridged else ''}"
    return FileReport(summary=summary, notes=tuple(plan.remarks()))
