"""Putting the files of a release where their reader looks: by links or copies, one at a time, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.files import replacing, sha256_of
from regionkit.core.spec import DataFile
from regionkit.registry.commands.data_files import DATA_VARIABLE, is_wild, placed
from regionkit.registry.commands.data_sources import Match, Tree, matches

#: Files in the way that a message names.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A file or folder that goes to its place.

    Attributes:
        file: What it is to the release.
        source: Where it is.
        target: Where it belongs.
        archive: The archive that it was unpacked from, so that it is moved; None for a file of the user's.
    """

    file: DataFile
    source: Path
    target: Path
    archive: Path | None

    @property
    def own(self) -> bool:
        """Whether it was unpacked."""
        return self.archive is not None


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a file of a release: ``how`` is ``linked``, ``copied``, ``unpacked`` or ``there already``."""

    file: DataFile
    how: str
    source: Path
    target: Path
    count: int = 1

    def __str__(self) -> str:
        many = f" ({self.count:,} files)" if self.count > 1 else ""
        origin = "" if self.how == "there already" else f" from {self.source}"
        return f"{self.file.path}: {self.how}{origin}{many}"


class Placing:
    """Plans where files go, refuses what is in the way before anything is touched, and puts them there.

    Args:
        folder: The data set's folder.
        files: All files of its release.
        copy: Copy instead of link.
        force: Replace other files that are in the way.
    """

    def __init__(self, folder: Path, files: Sequence[DataFile], *, copy: bool = False, force: bool = False) -> None:
        self._folder, self._files, self._copy, self._force = folder, files, copy, force
        self._in_way: list[str] = []

    def place(self, trees: Iterable[Tree]) -> list[Placed]:
        """Put what trees hold of the release where it belongs.

        Raises:
            DataError: Another file is in the way; nothing was touched.
            RunFailed: The disk refuses.
        """
        placed_now: list[Placed] = []
        for tree in trees:
            done, steps = [], []
            for file in self._files:
                found = matches(tree, file, self._files)
                if found:
                    more = self._plan(file, found, tree)
                    steps.append(more)
                    if not more:
                        base, below = placed(self._folder, found[0].below)
                        done.append(Placed(file, "there already", found[0].source, base / below, len(found)))
            if self._in_way:
                raise self._refused()
            done += [self._carry_out(several) for several in steps if several]
            placed_now += done
        return placed_now

    def _plan(self, file: DataFile, found: Sequence[Match], tree: Tree) -> list[Step]:
        """Return the steps for a file, none where all is in its place."""
        whole = self._whole(file, found, tree)
        if whole is not None:
            return [whole]
        steps = []
        for one in found:
            base, below = placed(self._folder, one.below)
            step = Step(file, one.source, base / below, tree.archive)
            if self._needed(step, _holder(base, one.below)):
                steps.append(step)
        return steps

    def _whole(self, file: DataFile, found: Sequence[Match], tree: Tree) -> Step | None:
        """Return the step that takes a folder of pictures as one; None where its files have to go one by one."""
        folder, _, name = file.path.rpartition("/")
        if not is_wild(name) or not folder or is_wild(folder) or (self._copy and not tree.own):
            return None
        shared = [one for one in self._files if one is not file and one.path.startswith(f"{folder}/")]
        sources = {one.source.parent for one in found}
        base, below = placed(self._folder, folder)
        target = base / below
        if shared or len(sources) > 1 or _there(target) or self._leads_out(target, _holder(base, file.path)):
            return None
        return Step(file, sources.pop(), target, tree.archive)

    def _needed(self, step: Step, base: Path) -> bool:
        """Say whether a step has to be taken; what is in its way is noted."""
        target = step.target
        if not _there(target):
            if self._leads_out(target, base):
                self._in_way.append(f"{target.parent} is a link to {target.parent.resolve()}, and no place to write to")
            return True
        if _same(step.source, target, by_content=not is_wild(step.file.path)):
            return False
        if target.is_dir() or not self._force:
            self._in_way.append(f"{target} is there, and is another than {step.source}")
        return True

    def _leads_out(self, target: Path, base: Path) -> bool:
        """Say whether writing to a path would write through a link, into a folder that is the user's own."""
        inner = target.parent
        while inner != base and inner != inner.parent:
            if inner.is_symlink():
                return True
            inner = inner.parent
        return False

    def _refused(self) -> DataError:
        more = len(self._in_way) - _SHOWN
        return DataError(
            f"{len(self._in_way):,} {'files are' if len(self._in_way) > 1 else 'file is'} in the way",
            *self._in_way[:_SHOWN],
            f"and {more:,} more" if more > 0 else "",
            "move them away, or replace them with --force; nothing was changed",
        )

    def _carry_out(self, steps: Sequence[Step]) -> Placed:
        first = steps[0]
        how = "unpacked" if first.own else "copied" if self._copy else "linked"
        try:
            for step in steps:
                step.target.parent.mkdir(parents=True, exist_ok=True)
                if step.own:
                    _remove_link(step.target)
                    os.replace(step.source, step.target)
                elif self._copy:
                    with replacing(step.target) as temporary:
                        shutil.copyfile(step.source, temporary)
                else:
                    _link(step.source, step.target)
        except OSError as error:
            is_link = not (self._copy or first.own)
            raise RunFailed(
                f"{first.target} cannot be written: {error.strerror or error}",
                remedy(error, is_link=is_link),
                "what was put in its place stays; start the command again to go on",
            ) from None
        source = first.archive or (first.source if len(steps) == 1 else first.source.parent)
        return Placed(first.file, how, source, first.target, len(steps))


def remedy(error: OSError, *, is_link: bool = False) -> str:
    """Return what to do where the disk refuses to write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room there, or keep data sets elsewhere: export {DATA_VARIABLE}=DIR"
    if error.errno in (errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR):
        return f"keep data sets where you may write: export {DATA_VARIABLE}=DIR"
    return "where links cannot be made, copy instead: --copy" if is_link else ""


def _holder(base: Path, path: str) -> Path:
    """Return the folder of the data set that a path of a release is in, which may be a link: the user made it."""
    return base / path.rpartition("../")[2].partition("/")[0] if path.startswith("../") else base


def _there(path: Path) -> bool:
    """Say whether there is anything of that name; a link to nothing is nothing."""
    return path.exists()


def _remove_link(path: Path) -> None:
    """Remove a link, to nothing or to a file that is replaced, so that a folder can take its name."""
    if path.is_symlink():
        path.unlink()


def _link(source: Path, target: Path) -> None:
    """Make a link under a name of its own, and give it its name at once."""
    with tempfile.TemporaryDirectory(prefix=".link.", suffix=".part", dir=target.parent) as folder:
        made = Path(folder) / target.name
        made.symlink_to(source.absolute(), target_is_directory=source.is_dir())
        os.replace(made, target)


def _same(source: Path, target: Path, *, by_content: bool) -> bool:
    """Say whether a file is in its place already: itself, or one of the same content.

    Of pictures, of which there may be a hundred thousand, the length has to do.
    """
    try:
        if os.path.samefile(source, target):
            return True
        if not (source.is_file() and target.is_file()) or source.stat().st_size != target.stat().st_size:
            return False
        return not by_content or sha256_of(source) == sha256_of(target)
    except OSError:
        return False
