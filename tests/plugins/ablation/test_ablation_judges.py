"""Metrics with a judge in an ablation: what they are called, and what of a judge makes another trial."""

from __future__ import annotations

import pytest
from ablation_fakes import BASE

from regionkit.core.errors import ConfigError
from regionkit.plugins.ablation.planning import plan_ablation

HTTP = 'name: http, url: "http://localhost:1/v1", model: ORG/M'
CLAIR = f"{{name: clair, judge: {{{HTTP}}}}}"


def planned(folder, *metrics):
    path = folder / "judged.yaml"
    path.write_text(f"{BASE}data: [box@t-colours]\nlimit: 1\nmetrics:\n" + "".join(f"  - {one}\n" for one in metrics))
    return plan_ablation(path)


@pytest.mark.parametrize(
    ("old", "new", "another"),
    [
        pytest.param("localhost:1", "elsewhere:2", False, id="address"),
        pytest.param(HTTP, f"{HTTP}, key_variable: SECRET_KEY", False, id="key"),
        pytest.param(HTTP, f"{HTTP}, timeout: 3, retries: 1, workers: 9, replies: r.jsonl", False, id="patience"),
        pytest.param("ORG/M", "ORG/N", True, id="model"),
        pytest.param(HTTP, f"{HTTP}, body: {{seed: 1}}", True, id="request"),
        pytest.param(HTTP, f"{HTTP}, sees: true", True, id="pictures"),
        pytest.param("clair, ", "clair, attempts: 2, ", True, id="metric"),
    ],
)
def test_who_judges_is_part_of_a_trial_and_not_where(tmp_path, old, new, another):
    (one,) = planned(tmp_path, CLAIR).trials
    (other,) = planned(tmp_path, CLAIR.replace(old, new)).trials
    assert (one.id != other.id) is another
    told = str(one.config) + str(other.config)
    assert "localhost" not in told
    assert "SECRET_KEY" not in told


def test_a_recorded_judge_is_its_file(tmp_path):
    (tmp_path / "a.json").write_text('{"Is it?": "yes"}')
    (tmp_path / "b.json").write_text('{"Is it?": "no"}')
    metrics = [f"{{name: clair, judge: {{name: recorded, file: {tmp_path / name}}}}}" for name in ("a.json", "b.json")]
    one, other = (planned(tmp_path, metric) for metric in metrics)
    assert one.trials[0].id != other.trials[0].id
    assert one.columns == [f"clair(judge=recorded:{tmp_path / 'a.json'})"]


def test_a_metric_with_a_judge_has_a_short_label_unless_two_would_share_it(tmp_path):
    seeded = CLAIR.replace(HTTP, f"{HTTP}, body: {{seed: 1}}")
    plan = planned(tmp_path, CLAIR, CLAIR.replace("clair, ", "clair, attempts: 2, "), seeded)
    first, second, third = plan.columns
    assert (first, second) == ("clair(judge=http:ORG/M)", "clair(attempts=2, judge=http:ORG/M)")
    assert "'body': {'seed': 1}" in third
    with pytest.raises(ConfigError, match=r"the metric 'clair\(judge=http:ORG/M\)' is listed twice"):
        planned(tmp_path, CLAIR, CLAIR)
