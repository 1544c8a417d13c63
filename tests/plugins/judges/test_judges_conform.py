"""What every component keeps, for the judges and for the metrics that ask one."""

import json

import pytest
from judged_cases import sample
from toy_model import write_model

from regionkit.core.judging import Question
from regionkit.core.testing import Likeness, Subject, check_judge, check_metric, failures
from regionkit.core.testing.checks import checks_of
from regionkit.plugins.judges.backends.configs import LocalConfig, RecordedConfig
from regionkit.plugins.judges.backends.local import LocalJudge
from regionkit.plugins.judges.backends.recorded import RecordedJudge
from regionkit.plugins.judges.metrics.configs import DlcBenchConfig
from regionkit.plugins.judges.metrics.dlc_bench import DlcBench
from regionkit.registry.metrics import MetricRef
from regionkit.registry.schema import fill


@pytest.mark.conformance("judges")
def test_judges_conform(conformance):
    conformance()


def local(folder):
    return LocalJudge(LocalConfig(str(folder), device="cpu"))


def test_a_model_in_a_folder_conforms(tmp_path):
    folder = write_model(tmp_path / "toy", positions=80)
    # But for the check that starts a process, which imports transformers again: 10 s.
    names = [one.name for one in checks_of("judge") if one.name != "pickles"]
    assert list(failures(Subject("judge", local(folder), make=lambda seed: local(folder)), names)) == []


@pytest.mark.slow
def test_a_model_in_a_folder_conforms_in_another_process_as_well(tmp_path):
    folder = write_model(tmp_path / "toy", positions=80)
    check_judge(lambda: local(folder))


def test_a_file_of_replies_conforms(tmp_path):
    path = tmp_path / "replies.json"
    path.write_text(json.dumps({"What colour is the grass?": "green", "": "nothing"}))
    check_judge(lambda: RecordedJudge(RecordedConfig(str(path))))


def test_multiple_choice_questions_conform():
    def record(side, one, other):
        return {"question": "Which?", "choices": [[one, 1], [other, -1]], "type": side}

    samples = [
        sample(str(at), (), class_name="boat", questions=[record("positive", "a", "b"), record("negative", "c", "d")])
        for at in range(4)
    ]
    samples = [type(one)(one.id, one.image_id, one.region, ("a reference",), one.info) for one in samples]
    check_metric(lambda: DlcBench(DlcBenchConfig("x"), Likeness()), samples)


def test_a_metric_is_built_with_the_judge_that_its_option_names(tmp_path):
    path = tmp_path / "replies.json"
    path.write_text('{"a": "b"}')
    part = fill("metric", {"name": "clair", "judge": {"name": "recorded", "file": str(path), "model": "toy"}})
    metric = MetricRef("clair", part).build(None)
    assert metric.judge.identity == "toy"
    assert dict(metric.judge.ask([Question("a")]))[0].text == "b"


def test_a_file_of_other_replies_makes_another_trial(tmp_path):
    told = []
    for reply in ("b", "c"):
        path = tmp_path / "replies.json"
        path.write_text(json.dumps({"a": reply}))
        part = fill("metric", {"name": "clair", "judge": {"name": "recorded", "file": str(path), "model": "toy"}})
        told.append(MetricRef("clair", part).to_dict()["judge"])
    assert told[0]["identity"] == told[1]["identity"] == "toy"
    assert told[0]["content"] != told[1]["content"]
