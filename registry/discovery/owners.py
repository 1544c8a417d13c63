"""Who brings what: the owner of a component, and plugins that were found and are not used."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from regionkit.registry.discovery.unused import offers_of_source


@functools.cache
def installed_version(distribution: str) -> str:
    """Return the version of an installed distribution; empty where it is not installed, as a bare source tree is."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who brought a component.

    Attributes:
        plugin: Name of the plugin, the word for ``REGIONKIT_DISABLE``.
        distribution: The installed distribution that it comes with; empty for a local file.
        version: Version of that distribution, or the digest of a local file.
    """

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})" if self.distribution else self.plugin


@dataclass(frozen=True, slots=True)
class Loading:
    """What loading a plugin was like.

    Attributes:
        where: Folder of its package or file of its module; empty where it is not known.
        seconds: Wall time of its import and its hooks.
        notes: What its author should mend although the plugin works.
    """

    where: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A plugin that was found and not used.

    Attributes:
        plugin: Its name.
        reason: Why it is not used.
        distribution: The installed distribution that it comes with.
        version: Version of that distribution.
        disabled: True where the user asked for that.
        source: File of its module; empty where it could not be found.
        seen: Kinds and names of components that it told before it failed.
        loading: What trying to load it was like.
    """

    plugin: str
    reason: str
    distribution: str = ""
    version: str = ""
    disabled: bool = False
    source: str = ""
    seen: tuple[tuple[str, str], ...] = ()
    loading: Loading = Loading()

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """Kinds and names of its components, as far as can be told: what it said, else what its source says."""
        return self.seen or offers_of_source(self.source)
