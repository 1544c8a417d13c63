"""Options that ask for a released file beside the weights: it is told of, fetched, found, bundled, part of a plan."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from helper_folders import write_encoder, write_t5
from hub_server import Hub, hub_of_this_machine

from regionkit.core.errors import ConfigError
from regionkit.core.pipeline import Pipeline
from regionkit.core.testing.fakes import picture
from regionkit.plugins.zeroshot.meacap import Meacap
from regionkit.plugins.zeroshot.meacap_spec import MEACAP
from regionkit.plugins.zeroshot.parsers import TrainedParser
from regionkit.plugins.zeroshot.released_files import SCENE_PARSER
from regionkit.plugins.zeroshot.similarity import SentenceSimilarity
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.conformance.of_specs import released_files_are_options
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import PipelinePlan, plan_pipeline
from regionkit.registry.published.matching import options_of
from regionkit.registry.weights import index as weight_index
from regionkit.registry.weights import option_files

param = pytest.param
PIPELINE = """version: 1
backbone: mini-dense
region_encoder: patch-pool
bridge: {name: noise, std: 0.08}
decoder: {name: meacap, weights: mini-dense-viecap, bank: mini-captions, parser: released, similarity: released}
"""
PARSER = "flan-t5-base-VG-factual-sg, from hub://lizhuang144/flan-t5-base-VG-factual-sg; licence not stated; its code, "
PARSER += "github.com/zhuang-li/FACTUAL, is MIT, about 990 MB for 248 million weights in float32"
ENCODER = "all-MiniLM-L6-v2, from hub://sentence-transformers/all-MiniLM-L6-v2; licence Apache-2.0, "
ENCODER += "about 91 MB for 23 million weights in float32"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both models under the names of their repositories."""
    folder = tmp_path_factory.mktemp("released")
    with torch.random.fork_rng():
        write_t5(folder / "flan-t5-base-VG-factual-sg")
        write_encoder(folder / "all-MiniLM-L6-v2")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with an empty cache, nothing installed, and the test in a folder of its own with the pipeline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_OFFLINE", raising=False)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "mine"))
    Path("pipeline.yaml").write_text(PIPELINE)
    weight_index.get_index.cache_clear()
    with hub_of_this_machine(monkeypatch, tmp_path / "hub") as server:
        yield server
    weight_index.get_index.cache_clear()


def call(*words: str) -> Result:
    result = CliRunner().invoke(root, list(words))
    assert "Traceback" not in result.output
    return result


def plan() -> PipelinePlan:
    weight_index.get_index.cache_clear()
    return plan_pipeline(read_pipeline("./pipeline.yaml").data)


def decoder_of(pipeline: Pipeline) -> Meacap:
    assert isinstance(pipeline.decoder, Meacap)
    return pipeline.decoder


@pytest.mark.parametrize("command", ["caption", "run", "weights bundle"])
def test_what_is_absent_is_told_with_source_licence_size_and_command(hub: Hub, command: str) -> None:
    words = {
        "caption": ("caption", "x.png", "--whole", "--preset", "./pipeline.yaml"),
        "run": ("run", "./pipeline.yaml", "--task", "image"),
        "weights bundle": ("weights", "bundle", "./pipeline.yaml", "--out", "bundle"),
    }
    picture((32, 32), 1).save("x.png")
    result = call(*words[command])
    assert result.exit_code == 2
    for line in (
        "error: pipeline.yaml:1: ./pipeline.yaml cannot run: 2 files of its weights are not here\n",
        f"  decoder meacap, parser: {PARSER}\n",
        f"  decoder meacap, similarity: {ENCODER}\n",
        "  get them with: toolkit weights pull ./pipeline.yaml\n",
        "  what it would do: toolkit run ./pipeline.yaml --dry-run",
    ):
        assert line in result.stderr


def test_a_plan_says_which_are_not_here(hub: Hub) -> None:
    with pytest.raises(ConfigError) as caught:
        plan()
    for problem, option, told in zip(caught.value.problems, ("parser", "similarity"), (PARSER, ENCODER), strict=True):
        assert problem.message == f"no released {option} of decoder 'meacap' here"
        assert problem.hints == (
            told,
            "get it with the pipeline: toolkit weights pull, and its preset or file",
            f"or name another: decoder.{option}: file:PATH",
        )


@pytest.mark.parametrize("out", [param((), id="cache"), param(("--out", "mine"), id="folder")])
def test_they_are_fetched_and_the_decoder_runs_on_them(hub: Hub, models: Path, out: tuple[str, ...]) -> None:
    hub.publish("lizhuang144/flan-t5-base-VG-factual-sg", models / "flan-t5-base-VG-factual-sg")
    hub.publish("sentence-transformers/all-MiniLM-L6-v2", models / "all-MiniLM-L6-v2")
    result = call("weights", "pull", "./pipeline.yaml", "--yes", *out)
    assert result.exit_code == 0, result.output
    assert Path("mine/beside/all-MiniLM-L6-v2/model.safetensors").is_file() == bool(out)
    assert "parser flan-t5-base-VG-factual-sg, similarity all-MiniLM-L6-v2" in "\n".join(plan().describe())
    asked = len(hub.requests)
    weight_index.get_index.cache_clear()
    found = load("./pipeline.yaml", device="cpu")
    assert len(hub.requests) == asked
    decoder = decoder_of(found)
    assert isinstance(decoder._parser, TrainedParser)
    assert isinstance(decoder._similarity, SentenceSimilarity)
    assert decoder.config.parser.startswith("file:")


def test_content_is_part_of_what_a_plan_is(hub: Hub, models: Path) -> None:
    shutil.copytree(models, "mine/beside")
    first = plan()
    key = first.key("decoder")
    assert set(first.files["decoder"]) == {"parser", "similarity"}
    told = first.to_dict()
    assert told["decoder"]["parser"] == "released"
    assert told["files"]["decoder"]["parser"]["name"] == "flan-t5-base-VG-factual-sg"
    assert "parser flan-t5-base-VG-factual-sg, similarity all-MiniLM-L6-v2" in "\n".join(first.describe())
    shutil.move("mine/beside", "mine/elsewhere")
    shutil.copytree("mine/elsewhere/flan-t5-base-VG-factual-sg", "mine/flan-t5-base-VG-factual-sg")
    shutil.copytree("mine/elsewhere/all-MiniLM-L6-v2", "mine/all-MiniLM-L6-v2")
    assert plan().key("decoder") == key
    path = Path("mine/all-MiniLM-L6-v2/modules.json")
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    assert plan().key("decoder") != key
    assert plan().key("bridge") == first.key("bridge")


def test_a_bundle_holds_them_and_runs_elsewhere(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(models, "mine/beside")
    made = call("weights", "bundle", "./pipeline.yaml", "--out", "bundle")
    assert made.exit_code == 0, made.output
    assert "beside/all-MiniLM-L6-v2/modules.json: 0.0 MB, licence Apache-2.0, from similarity " in made.stdout
    assert "is not in the bundle" not in made.stdout
    monkeypatch.setenv("REGIONKIT_WEIGHTS", "nothing")
    weight_index.get_index.cache_clear()
    decoder = decoder_of(load("bundle/pipeline.yaml", device="cpu"))
    assert decoder.config.parser == "file:bundle/beside/flan-t5-base-VG-factual-sg"
    result = call("run", "bundle/pipeline.yaml", "--task", "image", "--limit", "1")
    assert result.exit_code == 0, result.output
    assert "| cider-d " in result.stdout


def test_a_file_that_is_not_there_names_the_released_one_beside(hub: Hub) -> None:
    result = call("run", "./pipeline.yaml", "--task", "image", "--set", "decoder.parser=file:t5")
    assert (
        "decoder meacap, parser: no t5; say where it is: --set decoder.parser=file:PATH; the released one, "
        f"--set decoder.parser=released, is {PARSER}\n"
    ) in result.stderr


def test_forbidden_tokens_are_found_by_their_name(hub: Hub) -> None:
    text = "version: 1\nbackbone: mini-dense\nregion_encoder: patch-pool\nbridge: none\n"
    Path("pipeline.yaml").write_text(f"{text}decoder: {{name: zerocap, forbidden: released}}\n")
    told = call("weights", "pull", "./pipeline.yaml", "--yes")
    assert told.exit_code == 1
    line = "decoder zerocap, forbidden: download forbidden_tokens.npy from https://github.com/YoadTew/zero-shot-image-to-text"
    assert f"{line}, its top folder and put it into {Path('mine').absolute()}/beside\n" in told.stderr
    Path("mine/beside").mkdir(parents=True)
    np.save("mine/beside/forbidden_tokens.npy", np.array([3, 5]))
    weight_index.get_index.cache_clear()
    assert load("./pipeline.yaml", device="cpu").decoder.forbidden == [3, 5]  # type: ignore[attr-defined]


def test_a_file_of_the_released_name_is_the_same_row(hub: Hub) -> None:
    own = options_of(read_pipeline("patchioner-zerocap").data)
    named = options_of(read_pipeline("patchioner-zerocap", ["decoder.forbidden=file:/x/forbidden_tokens.npy"]).data)
    other = options_of(read_pipeline("patchioner-zerocap", ["decoder.forbidden=file:/x/words.txt"]).data)
    assert own == named != other


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        param(
            {"role": "grammar"}, "'grammar' of its option_files is to take 'released': unknown option", id="no-option"
        ),
        param({"role": "captions"}, "'captions' of its option_files is to take 'released': ", id="a-number"),
    ],
)
def test_the_kit_finds_option_files_that_are_no_such_options(wrong: dict[str, str], message: str) -> None:
    spec = dataclasses.replace(MEACAP, option_files=(dataclasses.replace(SCENE_PARSER, **wrong),))
    released_files_are_options(MEACAP, None)
    with pytest.raises(AssertionError, match=message):
        released_files_are_options(spec, None)


def test_show_lists_them(hub: Hub) -> None:
    assert f"    parser (for parser=released): {PARSER}\n" in call("show", "meacap").stdout


# ---------------------------------------------------------------- what has the name and is not the thing


def _partial(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def _no_folder(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("x")


@pytest.mark.parametrize(
    "spoil", [param(lambda _: None, id="empty"), param(_partial, id="partial"), param(_no_folder, id="file")]
)
def test_what_has_the_name_alone_is_not_here_and_hides_no_other(
    hub: Hub, models: Path, spoil: Any, monkeypatch: Any
) -> None:
    folder = Path("mine/beside/all-MiniLM-L6-v2")
    folder.mkdir(parents=True)
    spoil(folder)
    shutil.copytree(models / "flan-t5-base-VG-factual-sg", "mine/beside/flan-t5-base-VG-factual-sg")
    with pytest.raises(ConfigError) as caught:
        plan()
    assert [problem.message for problem in caught.value.problems] == ["no released similarity of decoder 'meacap' here"]
    assert "1 file of its weights is not here" in call("run", "./pipeline.yaml", "--task", "image").stderr
    monkeypatch.setenv("REGIONKIT_WEIGHTS", f"mine:{models}")
    assert plan().files["decoder"]["similarity"].path == models / "all-MiniLM-L6-v2"


def test_a_folder_of_weights_may_hold_nothing_else(hub: Hub, models: Path) -> None:
    shutil.copytree(models, "own/beside")
    text = Path("pipeline.yaml").read_text()
    Path("pipeline.yaml").write_text(f"{text}weights: file:own\n")
    found = plan().files["decoder"]
    assert {name: file.path.parent.name for name, file in found.items()} == {"parser": "beside", "similarity": "beside"}
    listed = call("weights", "pull", "./pipeline.yaml", "--offline")
    assert listed.exit_code == 0
    assert "everything is here" in listed.stdout


def test_a_grid_locates_and_reads_them_once(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pipelines as there are encoders share one decoder: one search, one digest."""
    shutil.copytree(models, "mine/beside")
    searches, reads = [], []
    find, read = option_files.find_options, option_files.sha256_of
    monkeypatch.setattr(option_files, "find_options", lambda *a: [searches.append(a), find(*a)][1])
    monkeypatch.setattr(option_files, "sha256_of", lambda path: [reads.append(path), read(path)][1])
    encoders = ", ".join(f"{{name: drawn, min_side: {size}}}" for size in range(8, 40))
    head = "version: 1\nbase: ./pipeline.yaml\ndata: [image@mini]\nlimit: 1\n"
    Path("grid.yaml").write_text(f"{head}grid:\n  region_encoder: [{encoders}]\n")
    planned = call("ablate", "grid.yaml", "--plan")
    assert planned.exit_code == 0, planned.output
    assert len(searches) == 2  # one an option
    assert len(reads) == len(set(reads))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        param(
            "weights: file:nowhere", "pipeline.yaml:6: base.weights: there is no weight file nowhere\n", id="nowhere"
        ),
        param("weights: 3", "pipeline.yaml:6: base.weights: expected a reference to a folder, got 3\n", id="number"),
        param("weights: file:pipeline.yaml", "pipeline.yaml is a file, and a folder is needed here\n", id="file"),
    ],
)
def test_a_wrong_folder_of_weights_is_the_one_thing_that_is_told(hub: Hub, changed: str, message: str) -> None:
    Path("pipeline.yaml").write_text(f"{PIPELINE}{changed}\n")
    for words in (("run", "./pipeline.yaml", "--task", "image"), ("weights", "pull", "./pipeline.yaml", "--offline")):
        result = call(*words)
        assert result.exit_code == 2
        assert message.replace("base." * (words[0] != "run"), "") in result.stderr
        assert "cannot run" not in result.stderr + result.stdout
        assert len(result.stderr.splitlines()) <= 3


def test_pulling_a_component_offers_what_it_could_ask_for(hub: Hub) -> None:
    hub.repositories["openai-community/gpt2-medium"] = {"model.safetensors": b""}
    result = call("weights", "pull", "zerocap", "--offline")
    assert "optional  decoder zerocap  forbidden  forbidden_tokens.npy  below 1 MB" in result.stdout


def test_a_recipe_whose_part_asks_for_what_is_not_here_is_no_good_one(hub: Hub, models: Path) -> None:
    Path("recipe.yaml").write_text(
        "version: 1\nrecipe: {name: text-only, steps: 1}\nbackbone: mini-dense\nbridge: {name: noise, std: 0.08}\n"
        "decoder:\n  name: meacap\n  vocabulary: mini\n  parser: released\ncorpus: mini-captions\n"
    )
    result = call("validate", "recipe.yaml")
    assert result.exit_code == 2
    assert "recipe.yaml:8: decoder: no released parser of decoder 'meacap' here\n" in result.output
    shutil.copytree(models, "mine/beside")
    assert call("validate", "recipe.yaml").exit_code == 0


def test_what_cannot_be_read_is_told_in_a_sentence(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(models, "mine/beside")
    real = option_files.sha256_of

    def refuse(path: Path) -> str:
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(option_files, "sha256_of", refuse)
    result = call("run", "./pipeline.yaml", "--dry-run", "--json")
    assert result.exit_code == 2
    place = Path("mine/beside/flan-t5-base-VG-factual-sg").absolute()
    assert result.stderr == f"error: {place} cannot be read: Permission denied\n"
