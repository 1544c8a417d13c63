"""What a metric hands on: a score, or an error that names the metric and what its contract wants."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regionkit.core.blame import Made, note_made
from regionkit.core.contracts import Metric, Score
from regionkit.core.errors import RunFailed
from regionkit.core.scores import computed


class Gives(Metric):
    def __init__(self, given, parts=()):
        self.given, self.parts = given, parts

    def update(self, samples, captions): ...

    def compute(self):
        return self.given


def judge(given, parts=()):
    metric = Gives(given, parts)
    note_made(metric, Made("metric", "mine", "plugin-of-mine (mine 0.1)"))
    return computed(metric, "mine(a=1)", 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(0.5, "compute() gave a float, and the contract wants a Score", id="float"),
        pytest.param(None, "compute() gave None, and the contract wants a Score", id="none"),
        pytest.param(Score(1.0, None, "s", {"4": Score(1.0, None, "s")}), "gave the parts ['4'], and its a", id="part"),
        pytest.param(Score(1.0, None, "s", []), "gave the parts a list, and its attribute parts says []", id="list"),
    ],
)
def test_what_is_no_score_names_the_metric(given, message):
    with pytest.raises(RunFailed) as caught:
        judge(given)
    assert caught.value.message.startswith("metric 'mine' of plugin plugin-of-mine (mine 0.1): compute() gave ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("score", "message"),
    [
        pytest.param(Score(None, None, "s"), "as value None, and the contract wants a float", id="value"),
        pytest.param(Score(1.0, 1.0, "s"), "as per_sample a float, and the contract wants a tuple of", id="per-sample"),
        pytest.param(Score(1.0, (1.0, None), "s"), "as per_sample a tuple, and the contract wants a t", id="a-sample"),
        pytest.param(Score(1.0, None, None), "as signature None, and the contract wants a str", id="signature"),
        pytest.param(Score(1.0, None, "s", statistics=[1.0]), "as statistics a list, and the cont", id="statistics"),
        pytest.param(Score(1.0, None, "s", statistics=np.ones(2)), "as statistics a ndarray, and t", id="flat"),
        pytest.param(Score(1.0, None, "s", unjudged=[0]), "as unjudged a list, and the contract wants", id="unjudged"),
        pytest.param(Score(1.0, (1.0,), "s"), "gave 1 values for 2 samples", id="few"),
        pytest.param(Score(math.nan, None, "s"), "gave a value that is not a finite number", id="nan"),
    ],
)
def test_what_a_score_is_not_made_of(score, message):
    with pytest.raises(RunFailed) as caught:
        judge(score)
    assert caught.value.message.startswith("metric 'mine(a=1)' gave ")
    assert message in caught.value.message
    assert "this is a fault of the metric" in str(caught.value)


def test_a_part_is_called_by_its_column():
    with pytest.raises(RunFailed, match=r"metric 'mine\(a=1\)-4' gave 1 values for 2 samples"):
        judge(Score(1.0, None, "s", {"4": Score(1.0, (1.0,), "s")}), ("4",))


def test_scores_that_are_right_pass():
    for score in (Score(1.0, (1.0, 0.0), "s"), Score(np.float32(1), [1, 0], "s", statistics=np.ones((2, 3)))):
        assert judge(score) is score
