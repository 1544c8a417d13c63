"""Specs of the metrics of official Java programs."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

COMPONENTS: list[ComponentSpec] = []

PAPERS: list[PaperSpec] = []
