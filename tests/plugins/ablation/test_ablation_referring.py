"""Referring tasks in an ablation: a decoder scores an expression on every candidate; the likeliest is the answer."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.results import ResultStore
from regionkit.core.tasks import Task
from regionkit.core.testing import WordDecoder, example_referring, picture
from regionkit.plugins.ablation.answering import Answering
from regionkit.plugins.ablation.memory import Encoded
from regionkit.plugins.ablation.out_of_memory import BatchSizes
from regionkit.plugins.ablation.referring import Candidates, expression_scores
from regionkit.registry.assembly import build
from regionkit.registry.cli import root


def write(folder: Path, text: str) -> Path:
    path = folder / "ablation.yaml"
    path.write_text(f"version: 1\nbase: mini\n{text}", encoding="utf-8")
    return path


def test_candidates_are_regions_of_their_own():
    spread = Candidates.of(example_referring(2))
    assert spread.owner == (0, 0, 0, 1, 1, 1)
    assert [sample.region.x1 for sample in spread.samples] == [0, 10, 20, 0, 10, 20]
    assert len({sample.id for sample in spread.samples}) == 6
    assert not any(sample.candidates for sample in spread.samples)


@pytest.mark.parametrize(
    ("scores", "answers"),
    [
        pytest.param({0: -3.0, 1: -1.0, 2: -2.0, 3: -5.0, 4: -6.0, 5: -4.0}, ["1", "2"], id="likeliest"),
        pytest.param({0: -1.0, 1: -1.0, 2: -1.0, 3: -1.0, 4: -1.0, 5: -1.0}, ["0", "0"], id="first-of-equals"),
        pytest.param({2: -9.0}, ["2", None], id="some-failed"),
    ],
)
def test_the_likeliest_candidate_is_the_answer(scores, answers):
    found = Candidates.of(example_referring(2)).answers(scores, 2)
    assert [caption and caption.text for caption in found] == answers


class Wordings(WordDecoder):
    """Scores a text by its length and counts the calls."""

    calls = 0

    def score(self, inputs, texts, prompt=None):
        self.calls += 1
        rows = len(inputs.pictures) if isinstance(inputs, RegionViews) else inputs.tokens[:, 0, 0]
        return -torch.tensor([float(len(text)) for text in texts]) + (rows if torch.is_tensor(rows) else 0)


def test_each_candidate_counts_with_the_wording_that_suits_it_best():
    samples = Candidates.of(example_referring(1)).samples
    shortest = min(map(len, samples[0].references))
    tokens = RegionTokens.single(torch.arange(3.0).unsqueeze(1).repeat(1, 4), "words[4]")
    found = expression_scores(Wordings("words[4]", ["a"]), tokens, samples)
    assert found == [-shortest, 1 - shortest, 2 - shortest]
    views = RegionViews(tuple(picture((16, 16), seed) for seed in range(3)))
    assert expression_scores(Wordings("words[4]", ["a"]), views, samples) == [-shortest] * 3


@pytest.mark.parametrize("error", [FeatureError("no such candidate"), MemoryError()], ids=["fault", "memory"])
def test_a_candidate_that_fails_is_out_of_the_running_alone(error):
    samples = example_referring(4)

    class Picky(WordDecoder):
        def score(self, inputs, texts, prompt=None):
            if bool((inputs.tokens[:, 0, 0] == 7).any()):
                raise error
            return inputs.tokens[:, 0, 0]

    said: list[str] = []
    spread = Candidates.of(samples)
    selection = SimpleNamespace(truth=samples, samples=samples, task=Task())
    answering = Answering(selection, spread, Picky("words[4]", ["a"]), "key", BatchSizes(said.append))
    tokens = RegionTokens.single(torch.arange(12.0).unsqueeze(1).repeat(1, 4), "words[4]")
    answering.take([Encoded([(tuple(range(12)), tokens)])])
    assert answering.scores == {at: float(at) for at in range(12) if at != 7}
    found = answering.finish(range(4))
    assert [found.captions[at].text for at in range(4)] == ["2", "2", "2", "2"]
    assert bool(said) == isinstance(error, MemoryError)


def test_an_ablation_answers_referring_tasks_and_captions_others(tmp_path):
    path = write(
        tmp_path,
        "data: [ris@mini, mask@mini]\nmetrics: [referring-iou, noun-f1]\nlimit: 7\nseeds: [0]\n"
        "grid: {bridge: [none]}\n",
    )
    outcome = CliRunner().invoke(root, ["ablate", str(path), "--out", str(tmp_path / "out")])
    assert outcome.exit_code == 0, outcome.output
    rows = {row["data"]: row for row in csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())}
    assert rows["ris@mini"]["noun-f1"] == ""
    assert rows["mask@mini"]["referring-iou"] == ""
    assert float(rows["ris@mini"]["referring-iou"]) > 0.1
    overlaps = [sample.info["overlaps"] for sample in build("dataset", "mini").samples("ris", "test", 0, 7)]
    store = ResultStore(tmp_path / "out" / "results.sqlite")
    answers = [row.caption for row in store.captions(rows["ris@mini"]["trial"])]
    chosen = [one[int(answer)] for one, answer in zip(overlaps, answers, strict=True)]
    assert float(rows["ris@mini"]["referring-iou"]) == pytest.approx(sum(chosen) / len(chosen))
    assert "| -" in outcome.output


@pytest.mark.parametrize(
    ("data", "metric", "words"),
    [
        pytest.param("mask@mini", "referring-iou", "referring-iou judges none of the data", id="no-candidates"),
        pytest.param("ris@mini", "noun-f1", "noun-f1 judges none of the data", id="no-captions"),
    ],
)
def test_a_metric_for_another_kind_of_task_is_a_mistake(tmp_path, data, metric, words):
    path = write(tmp_path, f"data: [{data}]\nmetrics: [{metric}]\nlimit: 8\ngrid: {{bridge: [none]}}\n")
    outcome = CliRunner().invoke(root, ["ablate", str(path), "--out", str(tmp_path / "out")])
    assert outcome.exit_code == 2
    assert words in outcome.output
