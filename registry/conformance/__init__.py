"""The conformance kit for components that are known by their specs: from a name to named checks.

``conformance_of("my-plugin")`` lists every check of every component of a plugin or distribution. The checks themselves
live in ``regionkit.core.testing``; here are those of the spec, and what builds a component from it.
"""

from regionkit.registry.conformance.cases import Case, conformance_of
from regionkit.registry.conformance.subjects import CannotBuild, subject_of

__all__ = ["CannotBuild", "Case", "conformance_of", "subject_of"]
