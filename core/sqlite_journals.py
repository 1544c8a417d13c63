"""Which journal SQLite keeps: a write-ahead log on a disk of one machine, a rollback journal where several share it.

A write-ahead log needs memory that all its processes share, so that they must be on one machine (sqlite.org/wal.html).
A rollback journal needs file locks alone; those of a network file system are only as good as its servers make them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

Journal = Literal["auto", "wal", "delete"]

#: File systems that several machines share, by the names that Linux has for them.
_SHARED = re.compile(
    r"nfs\d*|cifs|smb\d*|smbfs|lustre|beegfs\w*|gpfs|ceph|glusterfs|afs|9p|panfs|pvfs2|orangefs|wekafs|fuse\..*"
)
_MOUNTS = Path("/proc/self/mounts")


def choose_journal(folder: Path, asked: Journal = "auto") -> str:
    """Return the ``journal_mode`` for databases in a folder.

    Args:
        folder: The folder; it need not be there yet.
        asked: What the user asked for; ``auto`` is ``delete`` on a file system that machines share, else ``wal``.
    """
    if asked != "auto":
        return asked.upper()
    return "DELETE" if _SHARED.fullmatch(file_system(folder)) else "WAL"


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that a folder is on; empty where the system does not tell."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="surrogateescape").splitlines()]
    except OSError:
        return ""
    place = folder.absolute().resolve()
    best, found = -1, ""
    for line in lines:
        if len(line) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line[1]))
        # Of two mounts at one point, the later one is seen.
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), line[2]
    return found
