"""What a plugin's tests need: small deterministic parts and one conformance battery a kind.

Nothing here is random without a seed, downloads, or needs more than a few milliseconds::

    from regionkit.core.testing import GridBackbone, check_region_encoder, picture

    def test_my_encoder_conforms() -> None:
        check_region_encoder(MyEncoder(MyConfig()))
"""

from regionkit.core.testing.battery import (
    check_backbone,
    check_bridge,
    check_decoder,
    check_metric,
    check_region_encoder,
    example_regions,
    example_samples,
)
from regionkit.core.testing.fakes import GridBackbone, NearestTextDecoder, picture

__all__ = [
    "GridBackbone",
    "NearestTextDecoder",
    "check_backbone",
    "check_bridge",
    "check_decoder",
    "check_metric",
    "check_region_encoder",
    "example_regions",
    "example_samples",
    "picture",
]
