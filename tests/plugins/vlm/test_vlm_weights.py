"""Where released models come from: folders side by side under the same file names, and the hub."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hub_server import Hub, hub_of_this_machine
from native_folder import write_folder

from regionkit.core.errors import ConfigError
from regionkit.core.regions import Box
from regionkit.core.testing import picture
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index
from regionkit.registry.weights import reading

PLACES = {
    "qwen2.5-vl": ("qwen2_5_vl", "Qwen/Qwen2.5-VL-3B-Instruct"),
    "qwen3-vl": ("qwen3_vl", "Qwen/Qwen3-VL-4B-Instruct"),
    "llava-onevision1.5": ("llavaonevision1_5", "lmms-lab/LLaVA-OneVision-1.5-4B-Instruct"),
}
models = pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in PLACES])


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, a folder of its own, nothing installed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    weight_index.get_index.cache_clear()
    yield
    weight_index.get_index.cache_clear()
    torch.set_num_threads(before)


def installed(*names: str, folder: Path = Path("mine")) -> None:
    for name in names:
        family, place = PLACES[name]
        path = folder / place.rpartition("/")[2]
        path.mkdir(parents=True)
        write_folder(path, family)


def run(*arguments: str) -> tuple[int, str]:
    weight_index.get_index.cache_clear()
    result = CliRunner().invoke(root, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output


@models
@pytest.mark.parametrize("style", ["crop", "marked"])
def test_a_preset_takes_its_model_from_folders_side_by_side(name, style):
    installed(*PLACES)
    pipeline = load(f"patchioner-{name}-{style}", device="cpu")
    assert pipeline.decoder.config.model == PLACES[name][0]
    (caption,) = pipeline.caption(picture((90, 70)), [Box(10, 10, 60, 50)])
    assert caption.tokens


@models
def test_files_of_another_model_are_not_taken_for_the_one_asked_for(name):
    """All have these names: what is missing is told as if nothing were there."""
    other = next(one for one in PLACES if one != name)
    installed(other)
    picture((40, 40)).save("photo.png")
    code, said = run("caption", "photo.png", "--box", "1,1,9,9", "--preset", f"patchioner-{name}-crop")
    assert code == 2
    place = PLACES[name][1]
    assert f"patchioner-{name}-crop cannot run: 4 files of its weights are not here" in said
    assert f"{place.rpartition('/')[2]}*/model.safetensors or model.safetensors" in said
    assert f"from hub://{place}; licence " in said
    assert "billion weights in half precision" in said
    assert f"get them with: toolkit weights pull patchioner-{name}-crop" in said


@models
def test_a_model_under_a_name_of_its_own_is_found_among_others(name):
    """Other sizes of a family lie in folders that no release of ours is called by."""
    installed(*PLACES)
    place = PLACES[name][1].rpartition("/")[2]
    (Path("mine") / place).rename(Path("mine") / f"zz-{place}")
    pipeline = load(f"patchioner-{name}-crop", device="cpu")
    assert pipeline.decoder.config.model == PLACES[name][0]


def test_a_model_that_is_not_the_one_asked_for_is_not_kept():
    installed("qwen2.5-vl")
    reading._made.clear()
    with pytest.raises(ConfigError, match="no weights of decoder 'vlm'"):
        load("patchioner-qwen3-vl-crop", device="cpu")
    assert not reading._made


@models
def test_a_bundle_says_where_its_model_comes_from_and_under_which_licence(name, tmp_path):
    installed(*PLACES)
    code, said = run("weights", "bundle", f"patchioner-{name}-crop", "--out", "b.zip")
    assert code == 0, said
    family, place = PLACES[name]
    assert f"hub://{place}" in said
    assert ("non-commercial" in said) == (name == "qwen2.5-vl")
    with zipfile.ZipFile("b.zip") as bundle:
        manifest = next(bundle.read(one).decode() for one in bundle.namelist() if one.endswith("weights.json"))
    assert "SmolVLM" not in manifest
    assert f"--set model={family}" in manifest


@models
def test_each_cites_its_own_paper(name):
    code, said = run("cite", f"patchioner-{name}-marked")
    assert code == 0
    titles = {"qwen2.5-vl": "Qwen2.5-VL", "qwen3-vl": "Qwen3-VL", "llava-onevision1.5": "LLaVA-OneVision-1.5"}
    assert [title for title in (*titles.values(), "SmolVLM") if f"{{{title}" in said] == [titles[name]]


@models
def test_a_preset_is_pulled_from_the_hub_and_captions_without_it(name, tmp_path, monkeypatch):
    family, place = PLACES[name]
    (tmp_path / "official").mkdir()
    write_folder(tmp_path / "official", family)
    with hub_of_this_machine(monkeypatch, tmp_path / "hub") as hub:
        hub: Hub
        monkeypatch.delenv("REGIONKIT_OFFLINE", raising=False)
        hub.publish(place, tmp_path / "official")
        code, said = run("weights", "pull", f"patchioner-{name}-crop", "--yes")
        assert code == 0, said
        hub.requests.clear()
        weight_index.get_index.cache_clear()
        pipeline = load(f"patchioner-{name}-crop", device="cpu")
        (caption,) = pipeline.caption(picture((90, 70)), [Box(10, 10, 60, 50)])
        assert hub.requests == []
    installed(name, folder=tmp_path / "other")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "other"))
    weight_index.get_index.cache_clear()
    (wanted,) = load(f"patchioner-{name}-crop", device="cpu").caption(picture((90, 70)), [Box(10, 10, 60, 50)])
    assert caption == wanted
