"""What a component under check is given to read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.spec import Port
from regionkit.core.testing import Skip, Subject, example_referring, example_tokens, picture


def tokens_for(kind: str, component: Any, reads: Port) -> RegionTokens:
    """Return what a bridge or decoder reads, padded; for one that merges neighbours a whole square of four tokens."""
    tokens = example_tokens(reads.space, tokens=3 if reads.many else 1, unit=kind == "decoder")
    if kind != "bridge" or not reads.many:
        return tokens
    try:
        with torch.no_grad():
            component.bridge(tokens)
    except FeatureError:
        whole = example_tokens(reads.space, tokens=4)
        return replace(whole, mask=torch.ones_like(whole.mask))
    except Exception:  # the checks tell it
        return tokens
    return tokens


def views() -> RegionViews:
    """Return what a decoder of pictures reads."""
    return RegionViews(tuple(picture((40, 32), seed) for seed in range(5)))


def with_samples(subject: Subject) -> Subject:
    """Give a metric samples that carry what it needs; of what only its own plugin knows, there are none."""
    needs = set(subject.component.needs)
    samples = tuple(example_referring()) if "candidates" in needs else subject.samples
    lacking = sorted(need.replace("|", " or ") for need in needs if not samples[0].carries(need))
    if lacking:
        raise Skip(
            f"it needs {', '.join(lacking)}, which the samples of the kit lack: check it with samples of its own, "
            "regionkit.core.testing.check_metric(make, samples)"
        )
    return replace(subject, samples=samples)
