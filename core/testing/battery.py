"""The battery a kind in one call: every check that needs no more than what is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from regionkit.core.contracts import Backbone, Decoder, GapBridge, Metric, RegionEncoder, Sample
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.judging import Judge
from regionkit.core.launching import Launcher
from regionkit.core.spec import Port
from regionkit.core.tasks import Task
from regionkit.core.testing.checks import run_all
from regionkit.core.testing.examples import example_tokens
from regionkit.core.testing.fakes import GridBackbone
from regionkit.core.testing.subject import Subject, example_pictures


def check_backbone(backbone: Backbone, images: Sequence[Image.Image] | None = None) -> None:
    """Make every check of a backbone and stop at the first promise that is broken.

    Args:
        backbone: The backbone.
        images: Two or more different pictures that it accepts; drawn ones by default.

    Raises:
        AssertionError: One sentence says which.
    """
    run_all(Subject("backbone", backbone, images=tuple(images or example_pictures())))


def check_region_encoder(
    encoder: RegionEncoder, backbone: Backbone | None = None, images: Sequence[Image.Image] | None = None
) -> None:
    """Make every check of a region encoder and stop at the first promise that is broken.

    Args:
        encoder: The region encoder.
        backbone: The backbone that it works with; :class:`GridBackbone` by default.
        images: Two pictures that the backbone accepts.

    Raises:
        AssertionError: One sentence says which.
    """
    pictures = tuple(images or example_pictures())
    run_all(Subject("region_encoder", encoder, backbone=backbone or GridBackbone(), images=pictures))


def check_bridge(bridge: GapBridge, space: str = "grid/image[16]", writes: str = "", seed: int = 0) -> None:
    """Make every check of a bridge and stop at the first promise that is broken.

    Args:
        bridge: The bridge, fitted where it has to be.
        space: What it reads, ``name[dim]``.
        writes: What it must say it writes; not checked where empty.
        seed: Of the random tokens.

    Raises:
        AssertionError: One sentence says which.
    """
    port = Port(writes) if writes else None
    run_all(Subject("bridge", bridge, inputs=example_tokens(space, seed=seed), reads=Port(space), writes=port))


def check_decoder(
    decoder: Decoder, inputs: RegionTokens | RegionViews | None = None, space: str = "grid/text[16]"
) -> None:
    """Make every check of a decoder and stop at the first promise that is broken.

    Args:
        decoder: The decoder.
        inputs: What it reads, for three regions or more; random unit tokens of ``space`` by default.
        space: The space that it reads, ``name[dim]``.

    Raises:
        AssertionError: One sentence says which.
    """
    inputs = example_tokens(space, unit=True) if inputs is None else inputs
    many = isinstance(inputs, RegionTokens) and inputs.tokens.shape[1] > 1
    port = Port(space, many=many) if isinstance(inputs, RegionTokens) else Port(form="views")
    run_all(Subject("decoder", decoder, inputs=inputs, reads=port))


def check_metric(make: Callable[[], Metric], samples: Sequence[Sample] | None = None) -> None:
    """Make every check of a metric and stop at the first promise that is broken.

    Args:
        make: Makes a fresh metric.
        samples: Four or more samples with different references; ``example_samples()`` by default.

    Raises:
        AssertionError: One sentence says which.
    """
    subject = Subject("metric", make(), make=lambda seed: make())
    run_all(subject if samples is None else replace(subject, samples=tuple(samples)))


def check_judge(make: Callable[[], Judge]) -> None:
    """Make every check of a judge and stop at the first promise that is broken.

    Args:
        make: Makes the judge, always the same.

    Raises:
        AssertionError: One sentence says which.
    """
    run_all(Subject("judge", make(), make=lambda seed: make()))


def check_task(task: Task) -> None:
    """Make every check of a task and stop at the first promise that is broken.

    Raises:
        AssertionError: One sentence says which.
    """
    run_all(Subject("task", task))


def check_launcher(launcher: Launcher) -> None:
    """Make every check of a launcher and stop at the first promise that is broken.

    Raises:
        AssertionError: One sentence says which.
    """
    run_all(Subject("launcher", launcher))
