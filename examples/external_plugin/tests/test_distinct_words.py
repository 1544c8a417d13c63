import pytest

from regionkit.core.testing import check_metric
from regionkit_border.configs import DistinctWordsConfig
from regionkit_border.metric import DistinctWords


@pytest.mark.parametrize("run", [1, 2])
def test_it_conforms(run):
    check_metric(lambda: DistinctWords(DistinctWordsConfig(run)))


@pytest.mark.parametrize(
    ("caption", "run", "value"),
    [
        pytest.param("a red dog", 1, 1.0, id="nothing-twice"),
        pytest.param("A dog and a dog", 1, 0.6, id="words"),
        pytest.param("a dog and a dog", 2, 0.75, id="pairs"),
        pytest.param("dog", 2, 1.0, id="too-short"),
        pytest.param("", 1, 1.0, id="empty"),
    ],
)
def test_share_of_what_is_said_for_the_first_time(caption, run, value):
    assert DistinctWords(DistinctWordsConfig(run)).distinct(caption) == value


def test_no_run_at_all_is_refused():
    with pytest.raises(ValueError, match="run: 0 must be 1 or more"):
        DistinctWordsConfig(0)
