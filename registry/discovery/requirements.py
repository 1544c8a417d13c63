"""Which regionkit a plugin was built for, as its distribution's requirements say."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_PLAIN = re.compile(r"[A-Za-z0-9._-]+?((?:(?:>=|<)\d+(?:\.\d+)*,?)*)")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def misfit(requirements: Iterable[str], toolkit: str, running: str, distribution: str) -> str:
    """Say that a distribution was built for another version of the toolkit.

    Args:
        requirements: Its ``Requires-Dist`` lines.
        toolkit: Name of the toolkit's distribution.
        running: The version of it that is running; empty where that is not known.
        distribution: Name of the distribution, for the advice.

    Returns:
        The reason, naming both versions and what to type; empty where it fits, or says nothing.
    """
    own = [line for line in requirements if _normal(line) == toolkit]
    own = [line for line in own if not _plainly_fits(line, running)]
    if not own or not running:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    for line in own:
        try:
            requirement, version = Requirement(line), Version(running)
        except (InvalidRequirement, InvalidVersion):  # pip would not have installed it; nothing can be said
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.specifier.contains(version, prereleases=True):
            continue
        broken = [one for one in requirement.specifier if not one.contains(version, prereleases=True)]
        wanted = ",".join(sorted(map(str, requirement.specifier), key=lambda text: (text.lstrip("<>=!~"), text)))
        newer = any(Version(one.version.removesuffix(".*")) > version for one in broken)
        advice = f"pip install -U '{toolkit}{wanted}'" if newer else f"pip install -U {distribution}"
        return f"it was built for {toolkit} {wanted}, this is {running}; {advice}"
    return ""


def _plainly_fits(line: str, running: str) -> bool:
    """Say that a requirement such as ``name>=1.2,<2`` holds; False where it does not, or is any less plain than that.

    Nearly every plugin states just that. ``packaging`` would say the same, but importing it takes 0.06 to 0.1 s, half
    of what a whole listing takes, and every command would pay that.
    """
    match = _PLAIN.fullmatch(line.replace(" ", ""))
    if match is None or not _NUMBERS.fullmatch(running):
        return False
    version = _numbers(running)
    for clause in filter(None, match[1].split(",")):
        bound = _numbers(clause.lstrip("<>="))
        if not (version >= bound if clause.startswith(">=") else version < bound):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    """Return a version of numbers alone, without the zeros at its end: 1 and 1.0 are one version."""
    numbers = [int(word) for word in text.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _normal(line: str) -> str:
    """Return the name in a requirement as package indexes compare it."""
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
