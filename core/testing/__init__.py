"""The conformance kit: what every component has to keep, as named checks, and small parts to try components with.

A plugin's whole conformance test, with the pytest plugin that comes with regionkit::

    @pytest.mark.conformance("my-plugin")
    def test_conforms(conformance):
        conformance()

It is one test a component and check, such as ``test_conforms[region_encoder-middle-batch-equals-loop]``. Each component
is built from its spec: with its default options, or those that ``ComponentSpec.tiny`` names, or those of the marker
(``options={"middle": {"size": 3}}``). ``toolkit check-plugin`` runs the same checks without pytest.

A component that was made by hand is checked by one call, which stops at the first promise that is broken::

    from regionkit.core.testing import GridBackbone, check_region_encoder

    def test_my_encoder_conforms() -> None:
        check_region_encoder(MyEncoder(MyConfig()), GridBackbone(fit="crop"))

``checks_of(kind)`` lists the checks of a kind; each has a ``name`` and the sentence that it ``demands``, and is called
with a :class:`Subject`: the component, how to make another one of it from a seed, and what it works with. Of numbers it
asks this: batching may move a result by 1e-5 of its largest value, bfloat16 by a fifth of its length, a GPU by a
thousandth; everything else is compared bit for bit.

Nothing here is random without a seed or downloads anything. ``pickles`` starts a second Python process, once a session.
"""

# The order of the modules of checks is the order in which checks are made.
from regionkit.core.testing import (  # isort: skip
    of_backbones,
    of_region_encoders,
    of_bridges,
    of_decoders,
    of_metrics,
    of_material,
    of_judges,
    of_tasks,
    of_launchers,
    of_all,
)
from regionkit.core.testing.battery import (
    check_backbone,
    check_bridge,
    check_decoder,
    check_judge,
    check_launcher,
    check_metric,
    check_region_encoder,
    check_task,
)
from regionkit.core.testing.checks import Check, checks_of, crash, failures, run_all
from regionkit.core.testing.demands import Skip
from regionkit.core.testing.examples import (
    SENTENCES,
    example_asked,
    example_masks,
    example_referring,
    example_regions,
    example_samples,
    example_tokens,
)
from regionkit.core.testing.fakes import BlockBackbone, GridBackbone, MaskedBackbone, NearestTextDecoder, picture
from regionkit.core.testing.stand_in_judge import Likeness
from regionkit.core.testing.stand_ins import Drawn, Pooled, Recast, Relabel, SampleData, Sentences, WordDecoder
from regionkit.core.testing.subject import Subject, answer

__all__ = [
    "SENTENCES",
    "BlockBackbone",
    "Check",
    "Drawn",
    "GridBackbone",
    "Likeness",
    "MaskedBackbone",
    "NearestTextDecoder",
    "Pooled",
    "Recast",
    "Relabel",
    "SampleData",
    "Sentences",
    "Skip",
    "Subject",
    "WordDecoder",
    "answer",
    "check_backbone",
    "check_bridge",
    "check_decoder",
    "check_judge",
    "check_launcher",
    "check_metric",
    "check_region_encoder",
    "check_task",
    "checks_of",
    "crash",
    "example_asked",
    "example_masks",
    "example_referring",
    "example_regions",
    "example_samples",
    "example_tokens",
    "failures",
    "of_all",
    "of_backbones",
    "of_bridges",
    "of_decoders",
    "of_judges",
    "of_launchers",
    "of_material",
    "of_metrics",
    "of_region_encoders",
    "of_tasks",
    "picture",
    "run_all",
]
