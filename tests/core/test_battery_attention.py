"""The kit's check of attention maps, each of its demands broken once."""

import pytest
import torch

from regionkit.core.errors import FeatureError
from regionkit.core.testing import Pooled, Subject, failures


class Mapped(Pooled):
    """Weighs all patches of a picture alike, but for a fault."""

    def __init__(self, fault=""):
        self.fault = fault

    def attention(self, scene, regions):
        rows, columns = scene.features.patches.shape[1:3]
        maps = torch.full((len(regions), rows, columns), 1 / (rows * columns))
        if self.fault == "sum":
            maps = maps * 2
        if self.fault == "shape":
            maps = maps.flatten(1)
        if self.fault == "nan":
            maps[0, 0, 0] = torch.nan
        if self.fault == "negative":
            maps[:, 0, 0], maps[:, 0, 1] = -0.5, maps[:, 0, 1] + 0.5 + maps[:, 0, 0]
        if self.fault == "batch" and len(regions) > 1:
            maps[:, 0, 0], maps[:, 0, 1] = 0, 2 / (rows * columns)
        return maps


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("sum", "the weights of a region sum to 2.0000, not 1", id="sum"),
        pytest.param("shape", "maps are (14, 16), not (14, h, w)", id="shape"),
        pytest.param("nan", "a weight is negative, NaN or infinite", id="nan"),
        pytest.param("negative", "a weight is negative, NaN or infinite", id="negative"),
        pytest.param("batch", "map depends on its batch mates", id="batch"),
    ],
)
def test_a_faulty_map_is_caught(fault, words):
    found = dict(failures(Subject("region_encoder", Mapped(fault)), ["attention"]))
    assert words in found["attention"]


def test_an_honest_map_passes_and_none_at_all_does_too():
    assert dict(failures(Subject("region_encoder", Mapped()), ["attention"])) == {}
    assert dict(failures(Subject("region_encoder", Pooled()), ["attention"])) == {}
    with pytest.raises(FeatureError, match="region encoder 'Pooled' has no attention map"):
        Pooled().attention(None, None)
