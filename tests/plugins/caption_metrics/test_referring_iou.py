import pytest

from regionkit.core.errors import DataError
from regionkit.core.testing import example_referring
from regionkit.plugins.caption_metrics.regions.referring import ReferringIou


def test_every_expression_counts_with_the_overlap_of_what_was_chosen():
    metric, samples = ReferringIou(), example_referring(3)
    metric.update(samples, ["0", "0", "1"])
    score = metric.compute()
    assert score.per_sample == (1.0, 0.0, 0.1)
    assert score.value == pytest.approx(1.1 / 3)


@pytest.mark.parametrize(
    "answer",
    [pytest.param("3", id="beyond"), pytest.param("-1", id="negative"), pytest.param("a red dog", id="a-caption")],
)
def test_what_is_no_position_is_refused(answer):
    with pytest.raises(DataError, match=r"referring-iou: the answer .* to sample '0' is no number below 3"):
        ReferringIou().update(example_referring(1), [answer])
