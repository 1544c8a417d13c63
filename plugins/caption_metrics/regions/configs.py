"""Options of the metrics of regions and answers, torch-free."""

from __future__ import annotations
