"""VQAv2, OK-VQA, A-OKVQA and GQA from small files in their official layouts."""

import json
from pathlib import Path

import pytest
from PIL import Image

from regionkit.core.data import streams
from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.regions import WholeImage
from regionkit.plugins.caption_metrics.regions.answers import VqaAccuracy
from regionkit.plugins.caption_metrics.regions.configs import VqaAccuracyConfig
from regionkit.plugins.datasets.questions.a_okvqa import AOkVqa
from regionkit.plugins.datasets.questions.configs import AOkVqaConfig, GqaConfig, OkVqaConfig, VqaV2Config
from regionkit.plugins.datasets.questions.fields import distinct, shown
from regionkit.plugins.datasets.questions.gqa import Gqa
from regionkit.plugins.datasets.questions.vqa import OkVqa, VqaV2


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))


def question(number: int, image: int, text: str = "What is this?") -> dict:
    return {"image_id": image, "question": text, "question_id": number}


def annotation(number: int, image: int, *answers: str) -> dict:
    given = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": place} for place, answer in enumerate(answers, 1)
    ]
    return {
        "question_type": "what is this",
        "multiple_choice_answer": max(answers, key=answers.count),
        "answers": given,
        "image_id": image,
        "answer_type": "other",
        "question_id": number,
    }


NET = ("net",) * 6 + ("netting",) * 3 + ("mesh",)
YES = ("yes",) * 10


def write_vqav2(root: Path, questions: list, annotations: list, split: str = "val") -> VqaV2:
    root.mkdir(exist_ok=True)
    head = {"info": {"version": "2.0"}, "license": {"name": "CC BY 4.0"}, "data_type": "mscoco"}
    asked = {**head, "task_type": "Open-Ended", "data_subtype": f"{split}2014", "questions": questions}
    (root / f"v2_OpenEnded_mscoco_{split}2014_questions.json").write_text(json.dumps(asked))
    answered = {**head, "data_subtype": f"{split}2014", "annotations": annotations}
    (root / f"v2_mscoco_{split}2014_annotations.json").write_text(json.dumps(answered))
    return VqaV2(VqaV2Config(root=str(root)))


def test_vqav2_joins_questions_and_answers(tmp_path):
    data = write_vqav2(
        tmp_path / "vqav2",
        [question(262148000, 262148), question(393225001, 393225), question(262148001, 262148, "Is it day?")],
        [annotation(262148001, 262148, *YES), annotation(262148000, 262148, *NET), annotation(393225001, 393225, *NET)],
    )
    samples = data.samples("vqa", "val")
    assert [sample.id for sample in samples] == ["262148000", "262148001", "393225001"]
    assert [sample.image_id for sample in samples] == ["262148", "262148", "393225"]
    first = samples[0]
    assert isinstance(first.region, WholeImage)
    assert first.references == ("net", "netting", "mesh")
    assert first.info == {
        "question": "What is this?",
        "answers": list(NET),
        "question_type": "what is this",
        "answer_type": "other",
        "multiple_choice_answer": "net",
    }
    assert len(data.samples("vqa", "val", limit=1)) == 2
    assert data.faults("vqa", "val") == []


def test_the_metric_takes_the_samples(tmp_path):
    data = write_vqav2(tmp_path / "vqav2", [question(1, 7)], [annotation(1, 7, *NET)])
    metric = VqaAccuracy(VqaAccuracyConfig())
    metric.update(list(data.samples("vqa", "val")), ["mesh"])
    assert metric.compute().value == pytest.approx(0.3)  # nine leave others out: 1/3 each; one leaves it out: 0


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("val2014/COCO_val2014_000000000007.jpg", id="val2014"),
        pytest.param("images/train2014/COCO_train2014_000000000007.jpg", id="train2014-below-images"),
        pytest.param("../coco/val2014/COCO_val2014_000000000007.jpg", id="beside"),
        pytest.param("../coco/images/train2017/000000000007.jpg", id="coco-2017-beside"),
    ],
)
def test_pictures_of_coco_are_found(tmp_path, place):
    data = write_vqav2(tmp_path / "vqav2", [question(1, 7)], [annotation(1, 7, *YES)])
    path = tmp_path / "vqav2" / place
    path.parent.mkdir(parents=True)
    Image.new("RGB", (6, 4), (200, 0, 0)).save(path)
    assert data.image("7").size == (6, 4)
    assert data.size("7") == (6, 4)


def test_a_missing_picture_is_named(tmp_path):
    data = write_vqav2(tmp_path / "vqav2", [question(1, 7)], [annotation(1, 7, *YES)])
    with pytest.raises(DataError, match=r"the picture '7' is not there: looked for .*COCO_val2014_000000000007\.jpg"):
        data.image("7")
    with pytest.raises(DataError, match="'cat' is no picture of COCO: they are known by numbers, such as 391895"):
        data.image("cat")
    assert len(data.fingerprint("vqa", "val")) == 16


def test_what_has_no_other_half_is_a_fault(tmp_path):
    root = tmp_path / "vqav2"
    data = write_vqav2(
        root,
        [question(1, 7), question(2, 7), question(1, 7), question(5, 7)],
        [annotation(1, 7, *YES), annotation(3, 7, *YES), annotation(5, 8, *YES)],
    )
    assert [sample.id for sample in data.samples("vqa", "val")] == ["1"]
    questions = root / "v2_OpenEnded_mscoco_val2014_questions.json"
    assert data.faults("vqa", "val") == [
        f"{questions}: questions[1]: question 2 has no annotation that can be used, or stands here twice",
        f"{questions}: questions[2]: question 1 has no annotation that can be used, or stands here twice",
        f"{questions}: questions[3]: the question is about picture 7, its annotation about 8",
        f"{root / 'v2_mscoco_val2014_annotations.json'}: question_id 3: there is no question 3 in {questions}",
    ]
    assert data.disclaimer.startswith("4 records of vqa@vqav2/val are left out")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param({"answers": "yes"}, "its 'answers' is 'yes', and should be a list", id="no-list"),
        pytest.param(
            {"answers": [{"answer": "a"}]}, "it holds answers of 1 people, and should hold those of ten", id="one"
        ),
        pytest.param(
            {"answers": [{"answer": 3}] * 10}, "one of its answers is 3, and should be a text", id="answer-a-number"
        ),
        pytest.param({"answers": [{}] * 10}, "it has no 'answer'", id="answer-without-text"),
        pytest.param(
            {"image_id": 10**400},
            f"its 'image_id' is 1{'0' * 56}..., and should be a whole number from 0 to 999999999999",
            id="huge",
        ),
        pytest.param(
            {"image_id": 7.0}, "its 'image_id' is 7.0, and should be a whole number from 0 to 999999999999", id="real"
        ),
        pytest.param(
            {"question_id": True},
            "its 'question_id' is True, and should be a whole number from 0 to 999999999999",
            id="truth-value",
        ),
        pytest.param({"question_type": None}, "its 'question_type' is None, and should be a text", id="type"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path, broken, reason):
    root = tmp_path / "vqav2"
    data = write_vqav2(
        root, [question(1, 7), question(2, 7)], [{**annotation(1, 7, *YES), **broken}, annotation(2, 7, *YES)]
    )
    assert [sample.id for sample in data.samples("vqa", "val")] == ["2"]
    assert data.faults("vqa", "val")[0] == f"{root / 'v2_mscoco_val2014_annotations.json'}: annotations[0]: {reason}"


def test_a_question_that_is_no_text_is_a_fault(tmp_path):
    data = write_vqav2(
        tmp_path / "vqav2",
        [{**question(1, 7), "question": 5}, "none", question(3, 7)],
        [annotation(1, 7, *YES), annotation(3, 7, *YES)],
    )
    assert [sample.id for sample in data.samples("vqa", "val")] == ["3"]
    assert [fault.split(": ", 2)[2] for fault in data.faults("vqa", "val")] == [
        "its 'question' is 5, and should be a text",
        "a JSON object is expected, not 'none'",
    ]


def test_a_split_without_answers(tmp_path):
    root = tmp_path / "vqav2"
    root.mkdir()
    (root / "v2_OpenEnded_mscoco_test2015_questions.json").write_text(json.dumps({"questions": [question(9, 3)]}))
    data = VqaV2(VqaV2Config(root=str(root)))
    (sample,) = data.samples("vqa", "test2015")
    assert (sample.references, dict(sample.info)) == ((), {"question": "What is this?"})
    assert not sample.carries("answers|references")
    with pytest.raises(DataError, match=r"needs v2_OpenEnded_mscoco_val2014_questions\.json or questions/"):
        data.samples("vqa", "val")


def test_a_file_that_is_cut_off(tmp_path):
    data = write_vqav2(tmp_path / "vqav2", [question(1, 7)], [annotation(1, 7, *YES)])
    path = tmp_path / "vqav2" / "v2_mscoco_val2014_annotations.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"v2_mscoco_val2014_annotations\.json:1:\d+: not JSON"):
        data.samples("vqa", "val")


def test_ok_vqa_reads_its_names(tmp_path):
    answers = [
        {"answer_id": 1, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"},
        {"answer_id": 2, "raw_answer": "motocross", "answer_confidence": "yes", "answer": "motocross"},
        {"answer_id": 3, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"},
    ]
    asked = {"questions": [question(2971475, 297147, "What sport is this?")]}
    told = {"image_id": 297147, "answer_type": "other", "question_type": "four", "question_id": 2971475}
    (tmp_path / "OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps(asked))
    (tmp_path / "mscoco_val2014_annotations.json").write_text(
        json.dumps({"annotations": [{**told, "answers": answers, "confidence": 3}]})
    )
    (sample,) = OkVqa(OkVqaConfig(root=str(tmp_path))).samples("vqa", "val")
    assert sample.references == ("race", "motocross")
    assert sample.info["answers"] == ["race", "motocross", "race"]
    assert "multiple_choice_answer" not in sample.info


GQA = {
    "201307251": {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "scene"}],
        "entailed": [],
        "equivalent": ["201307251"],
        "question": "Is it overcast?",
        "imageId": "n161313",
        "isBalanced": True,
        "groups": {"global": None, "local": "04-weather"},
        "answer": "no",
        "semanticStr": "select: scene",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": "weatherVerify", "semantic": "global", "structural": "verify"},
        "fullAnswer": "No, it is clear.",
    },
    "201640614": {"question": "Who is wearing the dress?", "imageId": "n235859", "answer": "woman", "isBalanced": True},
    "20602949": {"question": "Who is it?", "imageId": "../../secret", "answer": "woman"},
    "20602950": {"question": "Who is it?", "imageId": "n235859"},
}
GQA_FAULTS = ["its 'imageId' is '../../secret', which names no picture", "it has no 'answer'"]


@pytest.mark.parametrize("whole", [pytest.param(1 << 26, id="at-once"), pytest.param(10, id="in-pieces")])
def test_gqa(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(streams, "_WHOLE", whole)
    path = tmp_path / "testdev_balanced_questions.json"
    path.write_text(json.dumps(GQA))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (5, 3)).save(tmp_path / "images" / "n161313.jpg")
    data = Gqa(GqaConfig(root=str(tmp_path)))
    first, second = data.samples("vqa", "testdev")
    assert (first.id, first.image_id, first.references) == ("201307251", "n161313", ("no",))
    assert first.info == {
        "question": "Is it overcast?",
        "answers": ["no"],
        "full_answer": "No, it is clear.",
        "question_type": "verify",
        "answer_type": "global",
    }
    assert second.info == {"question": "Who is wearing the dress?", "answers": ["woman"]}
    assert data.image("n161313").size == (5, 3)
    places = [f"{path}: '20602949': ", f"{path}: '20602950': "]
    assert data.faults("vqa", "testdev") == [place + reason for place, reason in zip(places, GQA_FAULTS, strict=True)]


def test_all_questions_of_gqa_come_in_several_files(tmp_path):
    folder = tmp_path / "questions1.2" / "train_all_questions"
    folder.mkdir(parents=True)
    for part in range(3):
        held = {str(part): {"question": "Who?", "imageId": str(part), "answer": "man"}}
        (folder / f"train_all_questions_{part}.json").write_text(json.dumps(held))
    data = Gqa(GqaConfig(root=str(tmp_path), questions="all"))
    assert [sample.id for sample in data.samples("vqa", "train")] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"1": {"question": "Wh', "no JSON at its beginning", id="first"),
        pytest.param('{"1": {"question": "Who?"}, "2": {"qu', "no JSON behind '1'", id="later"),
        pytest.param("[1, 2]", "a JSON object is expected, with one record a key", id="list"),
    ],
)
def test_a_large_file_of_gqa_that_is_damaged(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(streams, "_WHOLE", 1)
    (tmp_path / "testdev_balanced_questions.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Gqa(GqaConfig(root=str(tmp_path))).samples("vqa", "testdev")


def test_a_large_file_of_gqa_needs_an_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_WHOLE", 1)
    monkeypatch.setitem(__import__("sys").modules, "ijson", None)
    (tmp_path / "testdev_balanced_questions.json").write_text(json.dumps(GQA))
    with pytest.raises(MissingExtra, match=r"pip install 'regionkit\[data\]'"):
        Gqa(GqaConfig(root=str(tmp_path))).samples("vqa", "testdev")


def a_okvqa(number: str, **changes: object) -> dict:
    return {
        "split": "val",
        "image_id": 299207,
        "question_id": number,
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "ride"],
        "difficult_direct_answer": False,
        "rationales": ["A train would not be on the street.", "He is waiting.", "He has bags."],
        **changes,
    }


def test_a_okvqa(tmp_path):
    rows = [a_okvqa("22MexNkBPpdZGX6sxbxVBH"), a_okvqa("hard", difficult_direct_answer=True)]
    (tmp_path / "aokvqa_v1p0_val.json").write_text(json.dumps(rows))
    (sample,) = AOkVqa(AOkVqaConfig(root=str(tmp_path))).samples("vqa", "val")
    assert (sample.id, sample.image_id) == ("22MexNkBPpdZGX6sxbxVBH", "299207")
    assert sample.references == ("ride", "taxi", "cab", "bus", "travelling", "traffic")
    assert (sample.info["correct_choice"], sample.info["choices"][3], len(sample.info["answers"])) == (3, "cab", 10)
    metric = VqaAccuracy(VqaAccuracyConfig(variant="a-okvqa"))
    metric.update([sample], ["cab"])
    assert metric.compute().value == pytest.approx(2 / 3)
    kept = AOkVqa(AOkVqaConfig(root=str(tmp_path), difficult="keep")).samples("vqa", "val")
    assert [sample.id for sample in kept] == ["22MexNkBPpdZGX6sxbxVBH", "hard"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"correct_choice_idx": 4}, "its 'correct_choice_idx' is 4, and should be a", id="choice"),
        pytest.param({"direct_answers": []}, "its 'direct_answers' are none", id="no-answers"),
        pytest.param({"choices": ["a", None]}, "its 'choices' hold None, and should be texts", id="choices"),
        pytest.param({"image_id": -1}, "its 'image_id' is -1, and should be a whole number", id="image"),
    ],
)
def test_a_broken_record_of_a_okvqa(tmp_path, changes, reason):
    (tmp_path / "aokvqa_v1p0_val.json").write_text(json.dumps([a_okvqa("a", **changes), a_okvqa("b")]))
    data = AOkVqa(AOkVqaConfig(root=str(tmp_path)))
    assert [sample.id for sample in data.samples("vqa", "val")] == ["b"]
    assert data.faults("vqa", "val")[0].startswith(f"{tmp_path / 'aokvqa_v1p0_val.json'}: record 1: {reason}")


def test_the_hidden_split_of_a_okvqa(tmp_path):
    row = a_okvqa("a")
    for key in ("correct_choice_idx", "direct_answers", "rationales"):
        del row[key]
    (tmp_path / "aokvqa_v1p0_test.json").write_text(json.dumps([row]))
    (sample,) = AOkVqa(AOkVqaConfig(root=str(tmp_path))).samples("vqa", "test-hidden")
    assert (sample.references, "answers" in sample.info) == ((), False)


def test_small_parts():
    assert distinct(["b", "a", "a", "c"]) == ("a", "b", "c")
    assert shown(10**5000) == "a value that is too long or too deep to show"
