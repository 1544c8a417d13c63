"""Keys of stages: whatever changes an output makes another key, and nothing else does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ablation_fakes import write

from regionkit.core.contracts import Corpus
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.plugins.ablation.costs import weight_bytes
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.stage_keys import Place, StageKeys
from regionkit.plugins.ablation.trial_runner import SMALL_BYTES, choose_threads
from regionkit.registry.registry import Registry

MINI = "version: 1\nbase: mini\ndata: [box@mini]\nmetrics: [noun-f1]\nlimit: 1\n"


def mini_keys(tmp_path) -> dict[str, str]:
    (tmp_path / "mini.yaml").write_text(MINI)
    (trial,) = plan_ablation(tmp_path / "mini.yaml").trials
    keys = StageKeys(Place()).of_trial(trial)
    del keys["metrics"]
    return keys


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {stage for stage in before if before[stage] != after[stage]}


def test_a_bank_is_known_by_the_sentences_that_it_is_made_of(tmp_path, monkeypatch):
    """The corpus may be a file of the user's own, which keeps its name when it is edited."""

    def of(*texts: str) -> Corpus:
        monkeypatch.setattr("regionkit.plugins.ablation.stage_keys.build", lambda *_: Lines(texts))
        return mini_keys(tmp_path)

    class Lines(Corpus):
        def __init__(self, texts):
            self._texts = texts

        def texts(self):
            return self._texts

    one = of("a dog", "a cat")
    assert one == of("a dog", "a cat")
    assert changed(one, of("a dog", "a fox")) == {"bridge", "decoder"}


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        pytest.param("corpus", {"bridge", "decoder"}, id="corpus"),
        pytest.param("dataset", {"region_encoder", "bridge", "decoder"}, id="data-set"),
        pytest.param("task", {"region_encoder", "bridge", "decoder"}, id="task"),
        pytest.param("bridge", {"bridge", "decoder"}, id="bridge"),
        pytest.param("backbone", {"backbone", "region_encoder", "bridge", "decoder"}, id="backbone"),
    ],
)
def test_code_counts_from_the_stage_that_it_decides(tmp_path, monkeypatch, kind, stages):
    """A task's code decides which samples there are: a fingerprint is one of the data alone."""
    edited = ""
    monkeypatch.setattr(
        Registry, "code_version", lambda self, specs, *_: "+".join(f"{one.name}{one.kind == edited}" for one in specs)
    )
    before = mini_keys(tmp_path)
    edited = kind
    assert changed(before, mini_keys(tmp_path)) == stages


def test_a_folder_of_weights_is_as_large_as_its_files(tmp_path):
    """A checkpoint that is a folder is not as small as the folder's own entry: its models want all threads."""
    (tmp_path / "model").mkdir()
    for name in ("a", "b"):
        with (tmp_path / "model" / name).open("wb") as stream:
            stream.truncate(SMALL_BYTES // 2 + 1)
    header = WeightHeader("backbone", "b", "s[1]", "", "none", "", "", {}, {}, "")
    folder = WeightFile(tmp_path / "model", header)
    named = WeightFile(tmp_path, header, {"model": tmp_path / "model"})
    small = WeightFile(tmp_path / "model" / "a", header)
    for file, threads in ((folder, 8), (named, 8), (small, 1), (None, 8)):
        plan = SimpleNamespace(weights={"backbone": file, "decoder": small})
        assert choose_threads(plan, 8) == threads
    assert weight_bytes(SimpleNamespace(weights={"backbone": folder}), "backbone") == SMALL_BYTES + 2


def test_trials_without_a_bank_read_no_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.plugins.ablation.stage_keys.build", lambda *_: pytest.fail("a corpus was built"))
    (trial,) = plan_ablation(write(tmp_path, "data: [box@t-colours]\nmetrics: [noun-f1]\n")).trials
    assert len(set(StageKeys(Place()).of_trial(trial).values())) == 5
