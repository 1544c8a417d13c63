"""Records of files, samples as an index keeps them, and records that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.region_io import read_record

#: What reading a record may raise where the record is to blame.
BAD_RECORD = (
    RegionkitError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)


#: Where region files would be looked for; the samples of an index name none.
_NOWHERE = Path()
#: One encoder for all samples: making it takes longer than most samples do.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Entry(NamedTuple):
    """A record of a file and where it stands, ``FILE:LINE`` or ``FILE: record N``."""

    place: str
    value: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that cannot be used, or a sample of one, and why.

    Attributes:
        place: Where it stands.
        reason: What is wrong with it.
        missing: Where the picture that is not there was looked for, one path a line, where that is the reason.
    """

    place: str
    reason: str
    missing: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Unusable(DataError):
    """A record cannot be used; raised by a reader, which need not know where the record stands."""


class PictureMissing(Unusable):
    """The picture of a record is not there.

    Args:
        message: Where it was looked for.
        path: Those places, one a line.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class Line(NamedTuple):
    """A sample as an index keeps it: what :meth:`StoredSample.dumps` wrote, beside its id and its image's."""

    id: str
    image_id: str
    held: str


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample in plain values: :class:`regionkit.core.contracts.Sample` with regions as records of ``region_io``.

    Regions are in pixels of the original image, as everywhere.
    """

    id: str
    image_id: str
    region: Mapping[str, Any]
    references: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[Mapping[str, Any], ...] = ()
    mentioned: tuple[Mapping[str, Any], ...] = ()

    def dumps(self) -> str:
        """Write it on one line.

        Raises:
            ValueError: It holds a number that JSON has not.
        """
        return _ENCODER.encode([self.region, self.references, self.info, self.candidates, self.mentioned])

    def line(self) -> Line:
        """Return it as an index keeps it.

        Raises:
            Unusable: Half a character (a lone surrogate) stands in one of its texts.
            ValueError: It holds a number that JSON has not.
        """
        line = Line(self.id, self.image_id, self.dumps())
        for text in line:
            if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise Unusable(
                    "half a character stands in its text: an escape \\ud800 to \\udfff without its other half"
                )
        return line

    def check(self) -> None:
        """Read its regions back.

        Raises:
            RegionError: A region is none.
        """
        for region in (self.region, *self.candidates, *self.mentioned):
            read_record(region, _NOWHERE)

    def sample(self) -> Sample:
        """Return the sample.

        Raises:
            RegionError: A region is none.
        """
        return Sample(
            self.id,
            self.image_id,
            read_record(self.region, _NOWHERE),
            tuple(self.references),
            self.info,
            tuple([read_record(one, _NOWHERE) for one in self.candidates]),
            tuple([read_record(one, _NOWHERE) for one in self.mentioned]),
        )


def loads(name: str, image_id: str, line: str) -> StoredSample:
    """Read what :meth:`StoredSample.dumps` wrote."""
    region, references, info, candidates, mentioned = json.loads(line)
    return StoredSample(name, image_id, region, tuple(references), info, tuple(candidates), tuple(mentioned))


def fault_of(place: str, error: BaseException) -> Fault:
    """Return the fault that an error of :data:`BAD_RECORD` means."""
    if isinstance(error, KeyError):
        return Fault(place, f"it has no '{error.args[0] if error.args else '?'}'")
    if isinstance(error, RegionkitError):
        missing = error.path if isinstance(error, PictureMissing) else ""
        return Fault(place, error.message, missing)
    return Fault(
        place, f"an unexpected value: {error}" if str(error) else f"an unexpected value ({type(error).__name__})"
    )
