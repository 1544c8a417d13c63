"""Tasks in an ablation: options, splits, their own metrics, prompts of single samples, regions that are mentioned."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import ablation_fakes
import pytest
import torch
from ablation_fakes import BASE, TEXT, Colours
from click.testing import CliRunner

from regionkit.core.contracts import Decoder, Sample, Score
from regionkit.core.errors import ConfigError, RunFailed
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews
from regionkit.core.plugin import hookimpl
from regionkit.core.regions import Box
from regionkit.core.results import ResultStore
from regionkit.core.spec import ComponentSpec, Port
from regionkit.core.tasks import Task, said
from regionkit.plugins.ablation.asking import by_prompt, together
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.referring import Candidates
from regionkit.registry import registry as registry_module
from regionkit.registry.cli import root
from regionkit.registry.registry import Owner

HERE = __name__
#: What the decoder of these tests was asked: prompt, number of regions, tokens of each, options.
ASKED: list[tuple[str | None, int, int, GenerateOptions | None]] = []


@dataclass(frozen=True)
class QuizConfig:
    shout: bool = False
    skip: str = "-"


class Quiz(Task):
    """Asks about the two colours that a sample mentions."""

    metrics = ("t-picky", "noun-f1", "spice-of-nobody")
    generation = GenerateOptions(7)

    def __init__(self, config: QuizConfig) -> None:
        self.config = config

    def prepare(self, sample):
        return None if sample.id.endswith(self.config.skip) else replace(sample, references=("a prepared thing",))

    def prompt(self, sample):
        return sample.info["question"]

    def answer(self, sample, caption):
        return said(caption, caption.text.upper()) if self.config.shout else caption


class Pairs(Colours):
    """Two boxes of each picture together, and what is asked about them."""

    splits = ("easy", "hard")

    def samples(self, task, split, seed=0, limit=None):
        found = []
        for one in super().samples("box", split, seed, limit):
            number = int(one.id[-1])
            mentioned = (one.region, Box(28, 28, 44, 44))[: number % 2 + 1] if task == "quiz" else ()
            question = "<region> and <region>?" if number % 2 else f"only <region> {number}?"
            found.append(replace(one, mentioned=mentioned, info={**one.info, "question": question}))
        return found


class Marked(Decoder):
    """Says how many regions it was given."""

    places_regions = True

    def generate(self, inputs, prompt=None, options=None):
        ASKED.append((prompt, len(inputs), inputs.tokens.shape[1], options))
        return [Caption(f"{inputs.tokens.shape[1]} of {prompt}", -1.0) for _ in range(len(inputs))]

    def score(self, inputs, texts, prompt=None):
        return torch.zeros(len(texts))

    def loss(self, inputs, texts, prompt=None):
        return torch.zeros(())


class Picky(ablation_fakes.Lengths):
    """Mean length of captions in characters; of every third sample it cannot make anything."""

    parts = ()
    #: Whether whoever is asked answers nobody, a third of the time, or always.
    mood = "busy"

    def compute(self):
        if self.mood == "gone":
            raise RunFailed("t-picky: nobody is there")
        if self.mood == "well":
            lengths = tuple(float(len(one.text)) for one in self.captions)
            return Score(sum(lengths) / len(lengths), lengths, "t-picky|x")
        lengths = [float(len(one.text)) if at % 3 else float("nan") for at, one in enumerate(self.captions)]
        known = lengths[1::3] + lengths[2::3]
        lost = {at: "nobody answered" for at in range(0, len(lengths), 3)}
        return Score(sum(known) / len(known), tuple(lengths), "t-picky|x", unjudged=lost)


@hookimpl
def regionkit_components():
    return [
        ComponentSpec("task", "quiz", f"{HERE}:Quiz", f"{HERE}:QuizConfig"),
        ComponentSpec("decoder", "t-marked", f"{HERE}:Marked", reads=Port(TEXT, many=True)),
        ComponentSpec("metric", "t-picky", f"{HERE}:Picky"),
        ComponentSpec(
            "dataset", "t-pairs", f"{HERE}:Pairs", "ablation_fakes:ColoursConfig", accepts=("quiz", "box", "riddle")
        ),
    ]


@pytest.fixture(scope="module", autouse=True)
def quiz(fakes) -> Iterator[None]:
    registry = registry_module.get_registry()
    registry.register(sys.modules[HERE], Owner("quiz_fakes", "tests", "0"))
    assert "quiz_fakes" in registry.plugins, registry.quarantined
    return


@pytest.fixture(autouse=True)
def unasked():
    ASKED.clear()


def write(folder, text, decoder="t-marked"):
    path = folder / "a.yaml"
    path.write_text(BASE.replace("t-nearest", decoder) + text)
    return path


def ablate(folder, text, *options, status=0, decoder="t-marked"):
    result = CliRunner().invoke(
        root, ["ablate", str(write(folder, text, decoder)), "--out", str(folder / "out"), *options]
    )
    assert result.exit_code == status, result.output
    return result


def captions(folder, trial=0):
    with ResultStore(folder / "out" / "results.sqlite") as store:
        return store.captions(store.trials()[trial].id)


def test_samples_of_one_prompt_go_together_and_each_region_brings_its_own_token(tmp_path):
    ablate(tmp_path, "data: [quiz@t-pairs]\nmetrics: [t-lengths]\nlimit: 2\n")
    assert sorted(ASKED, key=str) == [
        ("<region> and <region>?", 4, 2, GenerateOptions(7)),
        ("only <region> 0?", 2, 1, GenerateOptions(7)),
        ("only <region> 2?", 2, 1, GenerateOptions(7)),
    ]
    assert [row.caption for row in captions(tmp_path)[:4]] == [
        "1 of only <region> 0?", "2 of <region> and <region>?", "1 of only <region> 2?", "2 of <region> and <region>?",
    ]  # fmt: skip


def test_a_task_of_the_data_set_alone_asks_the_decoders_own_prompt(tmp_path):
    ablate(tmp_path, "data: [riddle@t-pairs]\nmetrics: [t-lengths]\nlimit: 2\n")
    assert ASKED == [(None, 8, 1, None)]


def test_a_decoder_that_cannot_place_regions_refuses(tmp_path):
    result = ablate(tmp_path, "data: [quiz@t-pairs]\nmetrics: [t-lengths]\n", status=1, decoder="t-nearest")
    assert (
        "decoder 'Nearest' cannot read the regions that a question mentions: it takes none of the marks"
        in result.output
    )
    assert "choose a decoder that does, such as lm-tokens or seq2seq-tokens" in result.output


def test_options_of_the_task_and_its_code_are_part_of_the_id(tmp_path):
    path = write(
        tmp_path,
        "data:\n  - quiz@t-pairs\n  - {task: {name: quiz, shout: true}, name: t-pairs}\n"
        "  - {task: quiz, name: t-pairs, split: hard, scenes: 3}\nmetrics: [t-lengths]\nlimit: 2\n",
    )
    trials = plan_ablation(path).trials
    assert [trial.selection.ref.label for trial in trials] == [
        "quiz@t-pairs", "quiz(shout=true)@t-pairs", "quiz@t-pairs/hard(scenes=3)",
    ]  # fmt: skip
    assert len({trial.id for trial in trials}) == 3
    assert [trial.config["data"]["split"] for trial in trials] == ["easy", "easy", "hard"]
    assert trials[1].config["data"]["task"] == {"name": "quiz", "shout": True, "skip": "-"}
    (other,) = plan_ablation(write(tmp_path, "data: [riddle@t-pairs]\nmetrics: [t-lengths]\nlimit: 2\n")).trials
    assert other.config["data"]["task"] == {"name": "riddle"}


def test_a_task_prepares_samples_and_cleans_answers(tmp_path):
    ablate(
        tmp_path,
        "data: [{task: {name: quiz, shout: true, skip: '0'}, name: t-pairs}]\nmetrics: [t-lengths]\nlimit: 2\n",
    )
    rows = captions(tmp_path)
    assert [row.sample[-1] for row in rows] == ["1", "2", "3"] * 2
    assert rows[0].caption == "2 OF <REGION> AND <REGION>?"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param("quiz@t-pairs/test", "'t-pairs' has no split 'test'", id="split"),
        pytest.param("quiz@t-pairs/", "'quiz@t-pairs/' is no data set", id="empty-split"),
        pytest.param("{task: {name: riddle, x: 1}, name: t-pairs}", "task 'riddle' has no options", id="no-component"),
        pytest.param("{task: {name: quiz, loud: 1}, name: t-pairs}", "loud", id="option"),
        pytest.param("{task: {shout: true}, name: t-pairs}", "is no data set", id="no-name"),
        pytest.param("vqa@t-pairs", "'t-pairs' has no task 'vqa'\n  it has: quiz, box, riddle\n  data sets that",
                     id="not-posed"),
        pytest.param("quizz@t-pairs", "did you mean: quiz", id="misspelt"),
        pytest.param("region@t-pairs", "did you mean: box\n", id="other-word"),
        pytest.param("box@t-pairs/esay", "did you mean: easy", id="misspelt-split"),
        pytest.param(
            "{task: box, name: t-pairs, slpit: easy}", "slpit: unknown option\n  did you mean: split", id="key"
        ),
        pytest.param("{task: box, nam: t-pairs}", "it says no `name`\n  did you mean: name", id="no-data-set"),
        pytest.param("{task: box, name: t-pairs, split: [easy]}", "write an entry for each", id="splits"),
    ],
)  # fmt: skip
def test_mistakes_about_tasks(tmp_path, data, words):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, f"data: [{data}]\nmetrics: [t-lengths]\n"))
    assert words in str(error.value)


def test_mistakes_of_task_and_data_set_are_told_together(tmp_path):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, "data:\n  - {task: {name: quiz, shoot: true}, name: t-pairs, scense: 2}\n"))
    lines = [problem.where.rpartition(":")[2] for problem in error.value.problems]
    assert [problem.path for problem in error.value.problems] == ["data.0.scense", "data.0.task.shoot"]
    assert len(set(lines)) == 1


def test_samples_are_looked_at_once_to_plan(tmp_path, monkeypatch):
    looked = []
    prepare = Quiz.prepare
    monkeypatch.setattr(Quiz, "prepare", lambda self, sample: looked.append(sample.id) or prepare(self, sample))
    plan = plan_ablation(write(tmp_path, "data: [{task: {name: quiz, skip: '0'}, name: t-pairs}]\nlimit: 2\n"
                                         "metrics: [t-lengths]\n"))  # fmt: skip
    (trial,) = plan.trials
    # The first sample is looked at again, for what metrics need.
    assert len(looked) - len(set(looked)) <= 4
    samples = trial.selection.samples
    assert [sample.id for sample in samples] == [samples[at].id for at in range(len(samples))]
    assert len(samples) == len(list(samples)) == 6


def test_without_metrics_each_task_reports_its_own(tmp_path):
    result = ablate(tmp_path, "data: [quiz@t-pairs, box@t-pairs]\nlimit: 2\n", "--json", status=1)
    found = json.loads(result.stdout)
    assert found["metrics"] == {"quiz@t-pairs": ["t-picky", "noun-f1"], "box@t-pairs": ["bleu", "rouge-l", "cider-d"]}
    left_out = {(one["data"], one["metric"]) for one in found["left_out"]}
    assert ("quiz@t-pairs", "spice-of-nobody") in left_out
    assert ("box@t-pairs", "spice") in left_out
    quizzed, boxed = found["trials"]
    assert "t-picky" in quizzed
    assert "t-picky" not in boxed
    (alone,) = plan_ablation(write(tmp_path, "data: [box@t-pairs]\nlimit: 2\n")).trials
    assert alone.id == boxed["trial"], "other tasks of the file have no say in a trial"


def test_a_task_without_metrics_needs_some_to_be_named(tmp_path):
    with pytest.raises(ConfigError, match="task 'riddle' has none of its own that can judge riddle@t-pairs"):
        plan_ablation(write(tmp_path, "data: [riddle@t-pairs]\n"))


def test_samples_that_were_not_judged_are_counted_and_end_the_run_with_status_1(tmp_path):
    result = ablate(tmp_path, "data: [quiz@t-pairs]\nmetrics: [t-picky, t-lengths]\nlimit: 2\n", status=1)
    assert "(judged 5 of 8)" in result.stdout
    assert "t-picky could not judge 3 samples; easy/0/0/box/0: nobody answered" in result.output
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    assert (row["t-picky-judged"], row["t-lengths-judged"], row["failed"]) == ("5", "8", "0")
    assert "a judge that gave no reply is asked again when the same command is run again" in result.output
    assert "3 times: nobody answered" in (tmp_path / "out" / "results.md").read_text()
    with ResultStore(tmp_path / "out" / "results.sqlite") as store:
        (trial,) = store.trials()
        held = store.sample_scores(trial.id, "t-picky")
        assert len(held) == 5
        assert store.unjudged(trial.id) == {
            "t-picky": {f"easy/0/{at}": "nobody answered" for at in ("0/box/0", "0/box/3", "1/box/2")}
        }
    again = ablate(tmp_path, "data: [quiz@t-pairs]\nmetrics: [t-picky, t-lengths]\nlimit: 2\n", status=1)
    assert "0 trials ran, 1 were done before" in again.stdout
    compared = CliRunner().invoke(root, ["compare", str(tmp_path / "out"), str(tmp_path / "out"), "--json"])
    assert json.loads(compared.stdout)["columns"]["t-picky"]["judged"] == 5


def test_who_had_no_answer_is_asked_again_and_captions_are_not_written_again(tmp_path, monkeypatch):
    text = "data: [quiz@t-pairs]\nmetrics: [t-picky, t-lengths]\nlimit: 2\n"
    ablate(tmp_path, text, status=1)
    before = (tmp_path / "out" / "results.csv").read_text()
    monkeypatch.setattr(Picky, "mood", "gone")
    still = ablate(tmp_path, text, status=1)
    assert "(judged 5 of 8)" in still.stdout
    assert (tmp_path / "out" / "results.csv").read_text() == before
    monkeypatch.setattr(Picky, "mood", "well")
    ASKED.clear()
    again = ablate(tmp_path, text)
    assert "0 trials ran, 1 were done before" in again.stdout
    assert "judged" not in again.stdout
    assert ASKED == []
    with ResultStore(tmp_path / "out" / "results.sqlite") as store:
        (trial,) = store.trials()
        assert store.unjudged(trial.id) == {}
        assert len(store.sample_scores(trial.id, "t-picky")) == 8
        assert len(store.sample_scores(trial.id, "t-lengths")) == 8


def test_a_fault_while_judging_again_is_told_and_ends_no_run(tmp_path, monkeypatch):
    text = "data: [quiz@t-pairs]\nmetrics: [t-picky, t-lengths]\nlimit: 2\n"
    ablate(tmp_path, text, status=1)

    def compute(*_):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(Picky, "compute", compute)
    again = ablate(tmp_path, text + "seeds: [0, 1]\n", status=1)
    told = r"trial \w+ keeps the scores that it had: metric 't-picky' of .*: ZeroDivisionError: nobody foresaw this"
    assert re.search(told, again.output)
    assert "1 trial ran, 1 were done before" in again.stdout


def test_a_metric_that_fails_takes_no_other_with_it_and_runs_again(tmp_path, monkeypatch):
    text = "data: [quiz@t-pairs]\nmetrics: [t-picky, t-lengths]\nlimit: 2\n"
    monkeypatch.setattr(Picky, "mood", "gone")
    result = ablate(tmp_path, text, status=1)
    assert "t-lengths-score -1.000; failed: t-picky: nobody is there" in result.output
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    assert (row["t-picky"], row["status"], row["reason"]) == ("", "failed", "t-picky: nobody is there")
    assert float(row["t-lengths-low"]) <= float(row["t-lengths"]) <= float(row["t-lengths-high"])
    monkeypatch.setattr(Picky, "mood", "well")
    assert "1 trial ran, 0 were done before" in ablate(tmp_path, text).stdout


def tokens(*lengths):
    longest = max(lengths)
    values = torch.arange(float(len(lengths) * longest)).view(len(lengths), longest, 1)
    mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    return RegionTokens(values, mask, "x[1]")


def spread(*counts):
    samples = [
        Sample(str(at), "i", Box(0, 0, 1, 1), (), mentioned=tuple(Box(0, 0, 1, 1) for _ in range(count)))
        for at, count in enumerate(counts)
    ]
    return Candidates.of(samples)


def test_regions_of_other_lengths_are_padded_so_that_each_has_an_equal_share():
    batches = [((0, 2), tokens(3, 2)), ((1,), tokens(2))]
    (batch,) = together(batches, spread(3), {0: "p"}).batches
    assert batch.positions == (0,)
    assert batch.inputs.mask.tolist() == [[True, True, True, True, True, False, True, True, False]]
    assert batch.inputs.tokens[0, [0, 3, 6], 0].tolist() == [0.0, 0.0, 3.0]


def test_a_sample_of_which_a_region_is_missing_is_not_asked():
    asked = together([((0, 1, 2), tokens(1, 1, 1))], spread(2, 2), {0: "p", 1: "p"})
    assert [batch.positions for batch in asked.batches] == [(0,)]
    views = together([((0, 1), RegionViews((None, None)))], spread(2), {0: "p"})
    assert "needs tokens" in str(views.errors[0])


def test_batches_are_cut_by_prompt_in_the_order_of_their_samples():
    given = tokens(1, 1, 1, 1)
    parts = list(by_prompt((4, 5, 6, 7), given, {4: "a", 5: None, 6: "a"}))
    assert [(positions, prompt) for positions, _, prompt in parts] == [((4, 6), "a"), ((5,), None)]
    assert parts[0][1].tokens[:, 0, 0].tolist() == [0.0, 2.0]
    ((_, whole, _),) = by_prompt((0, 1, 2, 3), given, dict.fromkeys(range(4)))
    assert whole is given


def run(*arguments, status=0):
    result = CliRunner().invoke(root, ["run", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        pytest.param(["--task", "box,point", "--on", "t-colours"], ["box@t-colours", "point@t-colours"], id="on"),
        pytest.param(["--task", "box@t-colours/other"], ["box@t-colours/other"], id="at"),
        pytest.param(["--data", "point@t-colours", "--task", "box", "--on", "t-colours"],
                     ["point@t-colours", "box@t-colours"], id="both"),
    ],
)  # fmt: skip
def test_tasks_of_run(tmp_path, arguments, data):
    path = tmp_path / "pipe.yaml"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    found = json.loads(run(path, *arguments, "--limit", 2, "--metrics", "noun-f1", "--json").stdout)
    assert [trial["data"] for trial in found["trials"]] == data
    assert all(trial["noun-f1"] == 1.0 and trial["noun-f1-low"] == 1.0 for trial in found["trials"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "name what to run on: --task image,box, or --data TASK@NAME", id="nothing"),
        pytest.param(["--task", "box@mini", "--on", "mini"], "--on is the data set of --task", id="on-for-nothing"),
        pytest.param(["--task", "bax"], "--task: data.0: 'mini' has no task 'bax'", id="task"),
    ],
)
def test_mistakes_of_run(arguments, words):
    assert words in run("mini", *arguments, status=2).output
