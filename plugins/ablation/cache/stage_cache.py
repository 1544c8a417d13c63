"""What stages made, on disk: one safetensors file an entry, named by all that its content follows from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from regionkit.plugins.ablation.cache.entries import (
    Damage,
    Head,
    Held,
    Precision,
    metadata_of,
    place_of,
    read_entry,
    sealed,
)
from regionkit.plugins.ablation.cache.rounding import dtypes_before, halved, rounded, widened
from regionkit.plugins.ablation.cache.sizes import human
from regionkit.plugins.ablation.cache.space import LIMIT, NoRoom, Space


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stage made.

    Attributes:
        tensors: Tensors by name, in the dtypes that they were put with.
        about: What was said of them, and ``precision``: how they are stored.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass
class CacheStats:
    """What a cache did in this process.

    Attributes:
        hits: Entries that were read.
        misses: Entries that were asked for and could not be had.
        written: Entries that were written.
        bytes_written: Bytes of their files.
        damaged: Keys of entries that were not what had been written, each once.
        evicted: Entries that were removed to make room.
        off: Why nothing is written any more; empty while all is well.
    """

    hits: int = 0
    misses: int = 0
    written: int = 0
    bytes_written: int = 0
    damaged: list[str] = field(default_factory=list)
    evicted: int = 0
    off: str = ""


def _silent(_: str) -> None:
    pass


class StageCache:
    """Outputs of stages in a folder, which many processes and threads may use at once.

    Entries are checked whenever they are read. No fault of the disk is an error here: an entry that is damaged is
    removed and told of, and the stage is computed again; where nothing can be written, the run goes on without.

    Args:
        folder: The folder; it need not be there.
        limit: Most bytes that entries may take; those that were not used for longest make room.
        precision: ``float16`` halves the size and rounds: :meth:`rounded` says what comes back. Entries of one
            precision are not seen with the other.
        tell: Takes sentences that a user should read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit: int = LIMIT,
        precision: Precision = "float32",
        tell: Callable[[str], None] = _silent,
    ) -> None:
        if precision not in ("float32", "float16"):
            raise ValueError(f"the cache keeps float32 or float16, and not '{precision}'")
        self.folder, self.limit, self.precision = Path(folder), limit, precision
        self.stats = CacheStats()
        self._tell = tell
        self._space = Space(self.folder, limit)
        self._lock = Lock()
        self._told: set[str] = set()

    def get(self, key: str, device: torch.device | str = "cpu") -> Entry | None:
        """Return an entry, its tensors on ``device``; None where there is none that is whole."""
        place = self._place(key)
        entry = None
        try:
            entry, held = self._read(place, device)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except Damage as damage:
            self._damaged(key, place, str(damage))
        except OSError as error:
            reason = error.strerror or str(error)
            self._once(reason, f"{_short(key)} cannot be read ({reason}): what cannot be read is computed again")
        with self._lock:
            self.stats.hits += entry is not None
            self.stats.misses += entry is None
        if entry is not None:
            self._space.touch(place, held.used)
        return entry

    def put(self, key: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Keep what a stage made; an entry of that key is replaced.

        Args:
            key: 16 to 128 hexadecimal digits that stand for all that the tensors follow from.
            tensors: Dense tensors of any shapes and devices.
            about: What they are, as JSON: ``stage``, ``component``, ``config``, ``data``, ``code``, ``seconds``.

        Raises:
            ValueError: ``key`` is no digest.
            TypeError: ``about`` is no JSON.
        """
        place = self._place(key)
        if self.stats.off:
            return
        pieces = self._pieces(key, tensors, about)
        size = sum(len(piece) for piece in pieces)
        written = False
        try:
            written = self._write(place, pieces, size)
        except NoRoom:
            self._once(
                "room", f"{_short(key)}, {human(size)}, finds no room in {human(self.limit)}: such entries are not kept"
            )
        except OSError as error:
            self._stop(error.strerror or str(error))
        with self._lock:
            self.stats.written += written
            self.stats.bytes_written += size * written
            self.stats.evicted = self._space.evicted

    def has(self, key: str) -> bool:
        """Say whether there is an entry; whether it is whole shows when it is read."""
        return os.path.isfile(self._place(key))

    def size(self, key: str) -> int:
        """Return the bytes of an entry's file, 0 where there is none."""
        place = self._place(key)
        try:
            return place.stat().st_size if place.is_file() else 0
        except OSError:
            return 0

    def rounded(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors as :meth:`get` would after :meth:`put`, on their devices."""
        return rounded(tensors, self.precision)

    def _place(self, key: str) -> Path:
        return place_of(self.folder, key, self.precision)

    def _read(self, place: Path, device: torch.device | str) -> tuple[Entry, Held]:
        content, head, held = read_entry(place)
        return Entry(_tensors(content, head, device), head.about), held

    def _pieces(self, key: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> tuple[Any, bytes, Any]:
        """Return the bytes of an entry's file."""
        half = halved(tensors) if self.precision == "float16" else None
        told: dict[str, Any] = {**about, "precision": "float32" if half is None else "float16"}
        if half is None and self.precision == "float16":
            told["kept_whole"] = "values beyond 65504 have no place in float16"
        dtypes = {} if half is None else dtypes_before(tensors)
        return sealed(save(_apart(tensors if half is None else half), metadata_of(key, told, dtypes)))

    def _write(self, place: Path, pieces: tuple[Any, bytes, Any], size: int) -> bool:
        """Write a file beside its place, give it the name at once, and say whether it is there.

        It is not synced: after a crash of the machine it may be empty or torn, which is found when it is read, and a
        run that waited for the disk at every entry would lose more than it could win.
        """
        stream, temporary = self._space.reserve(place, size)
        try:
            with stream:
                for piece in pieces:
                    stream.write(piece)
            self._space.touch(temporary)
            temporary.replace(place)
        except FileNotFoundError:  # somebody cleared the folder in this moment, and the next entry makes it again
            return False
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def _damaged(self, key: str, place: Path, reason: str) -> None:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        with self._lock:
            if key not in self.stats.damaged:
                self.stats.damaged.append(key)
        self._once(f"damaged {key}", f"{_short(key)} is damaged ({reason}): it is computed again")

    def _stop(self, reason: str) -> None:
        with self._lock:
            if self.stats.off:
                return
            self.stats.off = reason
        self._tell(f"cache: {self.folder} cannot be written ({reason}): going on without it")

    def _once(self, matter: str, sentence: str) -> None:
        """Tell a sentence, unless one of that matter was told before."""
        with self._lock:
            if matter in self._told:
                return
            self._told.add(matter)
        self._tell(f"cache: {sentence}")


def _short(key: str) -> str:
    return f"entry {key[:12]}.."


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU that share no memory, as the format wants them."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        start = own.untyped_storage().data_ptr()
        found[name] = own.clone() if start in seen else own
        seen.add(start)
    return found


def _tensors(content: bytes, head: Head, device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors of an entry.

    Raises:
        Damage: The bytes are those that were written, and still say nothing that this version understands.
    """
    try:
        stored = load(content)
        return widened({name: tensor.to(device) for name, tensor in stored.items()}, head.dtypes)
    except (SafetensorError, KeyError, ValueError, TypeError, AssertionError):
        raise Damage("unreadable tensors") from None
