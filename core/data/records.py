"""Records of files, samples as an index keeps them, and records that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.region_io import read_record
from regionkit.core.regions import Box

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
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
#: Numbers of plain boxes are nearer to 0: whole ones of this size are told apart as floats, and none is infinite.
_FAR = 1e15


def _made_once() -> Callable[[Any], str]:
    """Return what writes JSON as ``_ENCODER`` does, in half the time: that makes a writer in C for every text anew."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode
    text = json.encoder.encode_basestring
    write = make(None, _ENCODER.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(write(value, 0))


_WRITTEN = _made_once()
_DECODER = json.JSONDecoder()


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


@dataclass(frozen=True, slots=True)
class Left:
    """What the protocol of a data set leaves out: counted and named, and no fault of its files.

    A reader yields it among its entries, or among the samples of a record.

    Attributes:
        place: Where it stands.
        reason: Why it is no sample.
    """

    place: str
    reason: str

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
        return _WRITTEN((self.region, self.references, self.info, self.candidates, self.mentioned))

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
        """Read its regions back, and look at its texts.

        Raises:
            RegionError: A region is none.
            Unusable: An id or a reference is no text.
        """
        if type(self.id) is not str or type(self.image_id) is not str:
            raise Unusable(
                f"the ids of a sample and of its picture are texts, not {self.id!r:.40}, {self.image_id!r:.40}"
            )
        if isinstance(self.references, str):  # which would become one reference a letter
            raise Unusable("the references of a sample are a tuple of texts, not one text")
        for text in self.references:
            if type(text) is not str:
                raise Unusable(f"a reference of a sample is {text!r:.40}, and should be a text")
        if not _is_plain(self.region):
            read_record(self.region, _NOWHERE)
        for regions in (self.candidates, self.mentioned):
            for region in regions:
                read_record(region, _NOWHERE)

    def sample(self) -> Sample:
        """Return the sample.

        Raises:
            RegionError: A region is none.
        """
        return _sample(
            self.id, self.image_id, (self.region, self.references, self.info, self.candidates, self.mentioned)
        )


def loads(name: str, image_id: str, line: str) -> StoredSample:
    """Read what :meth:`StoredSample.dumps` wrote."""
    region, references, info, candidates, mentioned = _DECODER.decode(line)
    return StoredSample(name, image_id, region, tuple(references), info, tuple(candidates), tuple(mentioned))


def sample_of(name: str, image_id: str, line: str) -> Sample:
    """Make the sample of what :meth:`StoredSample.dumps` wrote, as :meth:`StoredSample.sample` does.

    Raises:
        RegionError: A region is none.
    """
    return _sample(name, image_id, _DECODER.decode(line))


def _sample(name: str, image_id: str, held: Sequence[Any]) -> Sample:
    region, references, info, candidates, mentioned = held
    return Sample(
        name,
        image_id,
        Box(*map(float, region["box"])) if _is_plain(region) else read_record(region, _NOWHERE),
        tuple(references),
        info,
        tuple([read_record(one, _NOWHERE) for one in candidates]) if candidates else (),
        tuple([read_record(one, _NOWHERE) for one in mentioned]) if mentioned else (),
    )


def _is_plain(region: Mapping[str, Any]) -> bool:
    """Say whether a region is plainly a box, as most of large files are; False says nothing.

    :func:`~regionkit.core.region_io.read_record` takes all that this says yes to, at five times the price.
    """
    if type(region) is not dict or len(region) != 1:
        return False
    box = region.get("box")
    if type(box) is not list or len(box) != 4:
        return False
    for value in box:
        if type(value) is not int and type(value) is not float:
            return False
    x1, y1, x2, y2 = box
    return -_FAR < x1 < x2 < _FAR and -_FAR < y1 < y2 < _FAR


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
