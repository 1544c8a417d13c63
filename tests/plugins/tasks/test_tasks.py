"""Tasks: what is asked, how answers are written and cleaned, what is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regionkit.core.contracts import Sample
from regionkit.core.errors import ConfigError, DataError
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.regions import Box, Mask, MaskTrack, WholeImage
from regionkit.core.tasks import Task
from regionkit.core.testing import check_task
from regionkit.plugins.tasks.specs import COMPONENTS
from regionkit.registry import get_registry
from regionkit.registry.assembly import build

PLAIN = Sample("1", "a.png", WholeImage(), ("a dog",))


def task(name, **options):
    return build("task", {"name": name, **options})


def said(one, text, sample=PLAIN):
    return one.answer(sample, Caption(text, -1.0)).text


@pytest.mark.conformance("tasks")
def test_conforms(conformance):
    conformance()


def test_every_task_has_metrics_that_exist():
    known = {spec.name for spec in get_registry().specs("metric")}
    names = [spec.name for spec in COMPONENTS]
    wanted = "image point box box-set mask trace patch dense phrase keyword detail ris vqa vcr video"
    assert sorted(names) == sorted(wanted.split())
    for name in names:
        found = task(name)
        assert isinstance(found, Task)
        assert found.metrics
        assert set(found.metrics) <= known


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        pytest.param("box", {}, None, id="left-to-the-decoder"),
        pytest.param("box", {"max_tokens": 30}, GenerateOptions(), id="asked-for-although-usual"),
        pytest.param("image", {"max_tokens": 20, "min_tokens": 5, "beams": 3},
                     GenerateOptions(20, min_tokens=5, beams=3), id="coco-of-regionvlm"),
        pytest.param("detail", {}, GenerateOptions(512), id="detail"),
        pytest.param("detail", {"temperature": 0.2, "top_p": 0.5}, GenerateOptions(512, temperature=0.2, top_p=0.5),
                     id="detail-drawn"),
        pytest.param("vqa", {}, GenerateOptions(10, beams=5, length_penalty=-1.0), id="vqa"),
        pytest.param("vcr", {}, GenerateOptions(30, beams=5), id="vcr"),
    ],
)  # fmt: skip
def test_how_answers_are_written(name, options, wanted):
    assert task(name, **options).generation == wanted


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        pytest.param("box", {"beams": 2, "temperature": 0.2}, "a beam search does not draw", id="both"),
        pytest.param("box", {"min_tokens": 40}, "min_tokens: 40 must be less than max_tokens", id="min"),
        pytest.param("vqa", {"prompt": "Answer."}, "needs one {} for the question", id="no-question"),
        pytest.param("vcr", {"prompt": "Answer."}, "vcr makes its prompt of the sample", id="vcr-prompt"),
        pytest.param("keyword", {"clean": "dam"}, "osprey", id="unknown-cleaning"),
        pytest.param("box", {"top_p": 0.0}, "top_p: 0.0 must be more than 0", id="top-p"),
    ],
)
def test_options_that_cannot_be(name, options, words):
    with pytest.raises(ConfigError) as error:
        task(name, **options)
    assert words in str(error.value)


def test_prompts_of_the_options():
    assert task("box").prompt(PLAIN) is None
    asked = "What is the category of <region>? Using only one word or phrase."
    assert task("keyword", prompt=asked).prompt(PLAIN) == asked


@pytest.mark.parametrize(
    ("how", "category", "answer", "wanted"),
    [
        pytest.param("osprey", "dog_house:roof", " Animal: A dog. ", ("dog house roof", " A dog "), id="osprey"),
        pytest.param("osprey", "car_(automobile)", "a:b:c", ("car (automobile)", "b"), id="osprey-second-colon"),
        pytest.param("videorefer", "Car_(automobile)", " Animal: A dog. ", ("car  automobile", "animal  a dog"),
                     id="videorefer"),
        pytest.param("none", "dog_house", "A dog.", ("dog_house", "A dog."), id="none"),
    ],
)  # fmt: skip
def test_keywords_are_cleaned_as_the_releases_do(how, category, answer, wanted):
    one = task("keyword", clean=how)
    sample = one.prepare(replace(PLAIN, references=(category,)))
    assert (sample.references[0], said(one, answer, sample)) == wanted


def test_dense_captions_lose_stops_and_blanks_at_both_ends():
    assert said(task("dense"), " .a dog. it sits . ") == "a dog. it sits"
    assert said(task("dense", strip=False), "a dog .") == "a dog ."
    assert said(task("box"), "a dog .") == "a dog ."


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param({}, ("the man's dog, left of it", "..."), id="released"),
        pytest.param({"process": False}, (" The man's dog, (left) of it.", "..."), id="as-it-is"),
    ],
)
def test_expressions_are_scored_as_the_release_does(options, wanted):
    sample = replace(PLAIN, references=(" The man's dog, (left) of it.", "..."), info={"overlaps": [1.0]})
    assert task("ris", **options).prepare(sample) == replace(sample, references=wanted)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param({}, "Question: what's on the dog? Answer:", id="paper"),
        pytest.param({"compat": "reference"}, "Question: what's on the dog? Short answer:", id="reference"),
        pytest.param({"process": False}, "Question: What's on the Dog?! Answer:", id="unprocessed"),
        pytest.param({"prompt": "{} In a word:"}, "what's on the dog? In a word:", id="own"),
    ],
)
def test_questions(options, wanted):
    sample = replace(PLAIN, info={"question": "What's on the Dog?!"})
    assert task("vqa", **options).prompt(sample) == wanted


def test_a_question_with_braces_is_no_template():
    assert (
        task("vqa", process=False)
        .prompt(replace(PLAIN, info={"question": "a {} b {0}"}))
        .endswith("a {} b {0} Answer:")
    )


VCR = replace(
    PLAIN,
    info={"question_text": "Why does [0] look at [1] ?", "choices": ["[1] sings .", "b", "c", "d"]},
    mentioned=(Box(0, 0, 4, 4), Box(4, 0, 8, 4)),
)


@pytest.mark.parametrize(
    ("compat", "sample", "wanted"),
    [
        pytest.param("paper", VCR,
                     "[0]: <region> [1]: <region>, Why does [0] look at [1] ? 1. [1] sings . 2. b 3. c 4. d Answer:",
                     id="paper"),
        pytest.param("reference", VCR,
                     "Let [0] be <region> [1] be <region> Question: Why does [0] look at [1] ? 1. [1] sings . 2. b 3. "
                     "c 4. d Answer: ", id="reference"),
        pytest.param("reference", replace(VCR, mentioned=(), info={**VCR.info, "answer": "[1] sings ."}),
                     "Question: Why does [0] look at [1] ? Answer: [1] sings . Why? 1. [1] sings . 2. b 3. c 4. d "
                     "Answer: ", id="reasons"),
        pytest.param("paper", replace(VCR, mentioned=()),
                     "Why does [0] look at [1] ? 1. [1] sings . 2. b 3. c 4. d Answer:", id="nobody-mentioned"),
        pytest.param("reference", replace(VCR, mentioned=()),
                     "Question: Why does [0] look at [1] ? 1. [1] sings . 2. b 3. c 4. d Answer: ", id="nobody-let"),
    ],
)  # fmt: skip
def test_choices(compat, sample, wanted):
    assert task("vcr", compat=compat).prompt(sample) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("2. because", "2", id="number"),
        pytest.param("it is 3, not 4", "3", id="first"),
        pytest.param("the last one", "the last one", id="none"),
    ],
)
def test_the_first_number_is_the_choice(text, wanted):
    assert said(task("vcr"), text) == wanted


@pytest.mark.parametrize(
    ("name", "info", "words"),
    [
        pytest.param("vqa", {}, "sample '1' has no question", id="no-question"),
        pytest.param(
            "vcr", {"choices": ["a"], "question": "why?", "answer": 3}, "sample '1' has no answer", id="answer"
        ),
        pytest.param("vqa", {"question": 3}, "sample '1' has no question", id="no-text"),
        pytest.param("vcr", {"question_text": "why?"}, "sample '1' has no choices", id="no-choices"),
        pytest.param("vcr", {"question_text": "why?", "choices": "abcd"}, "sample '1' has no choices", id="one-text"),
    ],
)
def test_samples_that_cannot_be_asked(name, info, words):
    with pytest.raises(DataError, match=words):
        task(name).prompt(replace(PLAIN, info=info))


def clip(**info):
    masks = [Mask(np.eye(4, dtype=bool) if at else np.ones((4, 4), bool)) for at in range(2)]
    return replace(PLAIN, image_id="c.mp4", region=MaskTrack((None, *masks)), info=info)


@pytest.mark.parametrize(
    ("info", "frame"),
    [
        pytest.param({}, 1, id="first-that-is-seen"),
        pytest.param({"frame": 2}, 2, id="named"),
        pytest.param({"frame": 0}, 1, id="named-but-unseen"),
    ],
)
def test_a_single_frame_of_a_clip(info, frame):
    sample = clip(**info)
    found = task("video", frames="single").prepare(sample)
    assert (found.id, found.image_id) == ("1", f"c.mp4#{frame}")
    assert found.region is sample.region.masks[frame]
    assert task("video").prepare(sample) is sample
    assert task("video", frames="single").prepare(PLAIN) is PLAIN


@pytest.mark.parametrize(
    "frame", [pytest.param(3, id="beyond"), pytest.param("1", id="text"), pytest.param(True, id="flag")]
)
def test_a_frame_that_is_not_there(frame):
    with pytest.raises(DataError, match="its track has 3"):
        task("video", frames="single").prepare(clip(frame=frame))


class Restless(Task):
    def prepare(self, sample):
        return replace(sample, id=f"{sample.id}!")


class Wordy(Task):
    def prompt(self, sample):
        return "<region> and <region> and <region>"


class Forgetful(Task):
    def answer(self, sample, caption):
        return Caption(caption.text, 0.0)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(Restless, "metrics know it by its id", id="id"),
        pytest.param(Wordy, "the prompt has 3 <region> for 1 regions", id="marks"),
        pytest.param(Forgetful, "answer changes the score or the tokens", id="tokens"),
    ],
)
def test_the_battery_finds_what_tasks_must_not_do(made, words):
    with pytest.raises(AssertionError, match=words):
        check_task(made())
    check_task(Task())
