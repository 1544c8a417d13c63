"""Options of the corpora, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

#: Seeds that Python's and torch's generators both take.
_LARGEST_SEED = 2**63 - 1


def _check(file: str, limit: int, seed: int) -> None:
    """Check the options that all corpora of files have.

    Raises:
        ValueError: One of them cannot be.
    """
    if not PurePath(file).name.strip() or "\0" in file:
        raise ValueError(f"file: {file!r} is no path; give the file of sentences")
    if limit < 0:
        raise ValueError(f"limit: {limit} must be 0 (all) or more")
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed: {seed} must be between 0 and {_LARGEST_SEED}")


@dataclass(frozen=True)
class CocoCaptionsConfig:
    """Where captions of COCO's form are.

    Attributes:
        file: A COCO caption file (``annotations[].caption``) or Karpathy's ``dataset_coco.json``
            (``images[].sentences[].raw``); looked for in the working folder, then in $REGIONKIT_DATA.
        split: Splits of Karpathy's file, joined by ``+``: ``train``, ``restval``, ``val``, ``test``, or ``all``.
            ``auto`` is ``train+restval`` there, and the whole file where it has no splits.
        limit: Take so many captions, drawn without replacement and kept in their order; 0 for all.
        seed: Seed of that draw.
    """

    file: str = "coco/dataset_coco.json"
    split: str = "auto"
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.file, self.limit, self.seed)
        if not all(word.strip() for word in self.split.split("+")):
            raise ValueError(f"split: {self.split!r} is no split; join several by +, as in train+restval")


@dataclass(frozen=True)
class TextLinesConfig:
    """Where a file with one sentence a line is.

    Attributes:
        file: A ``.txt`` or ``.txt.gz`` file in UTF-8; looked for in the working folder, then in $REGIONKIT_DATA.
        limit: Take so many sentences, drawn without replacement and kept in their order; 0 for all.
        seed: Seed of that draw.
    """

    file: str
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.file, self.limit, self.seed)

    @property
    def corpus(self) -> str:
        """What weights that were trained on the file call it: its name without ``.txt`` or ``.txt.gz``."""
        return PurePath(PurePath(self.file).name.removesuffix(".gz")).stem


@dataclass(frozen=True)
class WebdatasetTextsConfig:
    """Where tar files with texts are.

    Attributes:
        shards: Path of the tar files, ``.tar`` or ``.tar.gz``, with ``*``, or ``{000..123}`` as webdataset writes
            ranges; looked for in the working folder, then in $REGIONKIT_DATA.
        field: Key of the sentence in the ``.json`` of a sample; empty takes the ``.txt`` whole.
        ending: Ending of the members that hold sentences, after the first dot of their names; empty is ``json`` with
            ``field``, and ``txt`` without.
        limit: Take so many sentences, drawn without replacement in one pass and kept in their order; 0 for all.
        seed: Seed of that draw.
        on_bad: What happens to members that cannot be used: ``leave-out`` counts and names them where a bank is built,
            ``stop`` ends with the first.
    """

    shards: str
    field: str = ""
    ending: str = ""
    limit: int = 0
    seed: int = 0
    on_bad: Literal["leave-out", "stop"] = "leave-out"

    def __post_init__(self) -> None:
        if not PurePath(self.shards).name.strip() or "\0" in self.shards:
            raise ValueError(f"shards: {self.shards!r} is no path; give the tar files, such as shards/*.tar")
        _check("shards", self.limit, self.seed)

    @property
    def wanted(self) -> str:
        """The ending that is looked for, in lower case and without its dot."""
        return self.ending.lower().lstrip(".") or ("json" if self.field else "txt")

    @property
    def corpus(self) -> str:
        """What weights that were made of these files call them: the name of the folder that they lie in."""
        return PurePath(self.shards).parent.name or "webdataset"


@dataclass(frozen=True)
class ReferencesConfig:
    """Whose references are taken as sentences.

    Attributes:
        dataset: The data set: its name, or a mapping with ``name`` and options.
        task: The task.
        split: The split.
        seed: Selects other scenes where the data are generated.
        limit: Number of images; 0 for all.
    """

    dataset: str | dict[str, Any]
    task: str
    split: str = "test"
    seed: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        _check("references", self.limit, self.seed)
        if not self.dataset_name:
            raise ValueError("dataset: it names no data set")

    @property
    def dataset_name(self) -> str:
        """The name of the data set."""
        return self.dataset if isinstance(self.dataset, str) else str(self.dataset.get("name", ""))

    @property
    def corpus(self) -> str:
        """What weights that were made of them call them."""
        return f"{self.dataset_name}-{self.task}-{self.split}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads a result has to know; sentences of training data need no word."""
        if "train" in self.split:
            return ()
        return (
            f"ground-truth memory: the bank holds the references of {self.dataset_name}, task {self.task}, split "
            f"{self.split}; scores on them are an upper bound",
        )


@dataclass(frozen=True)
class JoinedConfig:
    """Which corpora are joined.

    Attributes:
        first: A corpus: its name, or a mapping with ``name`` and options.
        second: Another one.
        third: A third one; empty for none.
    """

    first: str | dict[str, Any]
    second: str | dict[str, Any]
    third: str | dict[str, Any] = ""

    def __post_init__(self) -> None:
        for role in ("first", "second"):
            if not getattr(self, role):
                raise ValueError(f"{role}: it names no corpus")
