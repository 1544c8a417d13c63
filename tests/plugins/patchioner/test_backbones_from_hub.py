"""The hub's door of every backbone: its release is pulled from a hub of this machine, and then loads without one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from clip_family_layouts import write_alphaclip, write_denseclip
from clip_resnet_release import write_clip_resnet
from dinotxt_release import write_dinotxt
from hub_server import COMMIT, Hub, hub_of_this_machine
from official_layouts import clip_model, write_clip, write_merges, write_talk2dino
from proxyclip_release import write_parts
from regionclip_release import write_regionclip
from siglip2_release import write_release as write_siglip2

from regionkit.core.errors import ConfigError
from regionkit.core.features import Features
from regionkit.core.testing.fakes import picture
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

CLIP = "openai/clip-vit-base-patch16"
IMAGES = [picture((64, 48), 1), picture((40, 56), 2)]
TEXTS = ["the dog", "a cat at the dog", "x"]
REST = (
    "region_encoder: patch-pool\nbridge: none\n"
    "decoder: {name: decap, weights: none, tokenizer: bytes, hidden: 16, layers: 1, heads: 2, positions: 64}\n"
)


@dataclass(frozen=True)
class Case:
    """A backbone and where its files are released.

    Attributes:
        options: Of the backbone, as YAML.
        write: Writes small files under their official names into a folder; paths by role.
        hub: Repository of each role that is on the hub; merges come with CLIP.
        by_hand: For each other role what pull says: file, address, licence.
    """

    options: str
    write: Callable[[Path], dict[str, Path]]
    hub: dict[str, str]
    by_hand: tuple[tuple[str, str, str, str], ...] = ()


def _siglip2(folder: Path) -> dict[str, Path]:
    return {"model": write_siglip2(folder)}


def _clip(folder: Path) -> dict[str, Path]:
    return write_clip(folder, "hf", clip_model())


_DINOTXT = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_"
CASES = {
    "clip": Case("name: clip, resolution: 64", _clip, {"model": CLIP}),
    "clip-resnet": Case(
        "name: clip-resnet, resolution: 96",
        partial(write_clip_resnet, layout="open_clip"),
        {"model": "timm/resnet50x4_clip.openai"},
    ),
    "invite": Case("name: invite, resolution: 64", _clip, {"model": CLIP}),
    "proxyclip-dino": Case(
        "name: proxyclip, resolution: 56",
        partial(write_parts, vfm="dino-b8", layout="timm", clip="hf"),
        {"model": CLIP, "vfm": "timm/vit_base_patch8_224.dino"},
    ),
    "proxyclip-dinov2": Case(
        "name: proxyclip, vfm: dinov2-b14, resolution: 56",
        partial(write_parts, vfm="dinov2-b14", layout="timm", clip="hf"),
        {"model": CLIP, "vfm": "timm/vit_base_patch14_reg4_dinov2.lvd142m"},
    ),
    "siglip2": Case("name: siglip2, resolution: 64", _siglip2, {"model": "google/siglip2-base-patch16-512"}),
    "dinov2-talk2dino": Case(
        "name: dinov2-talk2dino, resolution: 56",
        partial(write_talk2dino, layout="timm"),
        {"text": CLIP, "vision": "timm/vit_base_patch14_reg4_dinov2.lvd142m"},
        (
            (
                "projection",
                "vitb_mlp_infonce*.pth",
                "https://github.com/Ruggero1912/Patch-ioner, src/viecap/training/talk2dino/weights/"
                "vitb_mlp_infonce.pth",
                "see its repository",
            ),
        ),
    ),
    "dinotxt": Case(
        "name: dinotxt, resolution: 56",
        partial(write_dinotxt, layout="timm"),
        {"vision": "timm/vit_large_patch14_reg4_dinov2.lvd142m"},
        (
            ("text", "dinov2_vitl14_reg4_dinotxt_*_text_encoder*", f"{_DINOTXT}text_encoder.pth", "Apache-2.0"),
            ("head", "dinov2_vitl14_reg4_dinotxt_*_vision_head*", f"{_DINOTXT}vision_head.pth", "Apache-2.0"),
        ),
    ),
    "alphaclip": Case(
        "name: alphaclip, resolution: 64",
        write_alphaclip,
        {"text": CLIP},
        (
            (
                "vision",
                "clip_b16_grit1m_fultune_8xe*",
                "https://github.com/SunzeY/AlphaCLIP, model-zoo.md",
                "research only: trained with data under CC BY-NC 4.0",
            ),
        ),
    ),
    "regionclip": Case(
        "name: regionclip, resolution: 96",
        write_regionclip,
        {},
        (
            (
                "model",
                "regionclip_pretrained-cc_rn50.safetensors",
                "https://github.com/microsoft/RegionCLIP, docs/MODEL_ZOO.md",
                "Apache-2.0",
            ),
        ),
    ),
    "denseclip": Case(
        "name: denseclip, resolution: 64",
        write_denseclip,
        {},
        (
            (
                "model",
                "ViT-B-DenseCLIP_long_ctx*",
                "https://github.com/raoyongming/DenseCLIP, ViT-B-DenseCLIP of its table for ADE20K",
                "see its repository",
            ),
        ),
    ),
}
EACH = pytest.mark.parametrize("name", list(CASES))
#: One that is on the hub whole, and one that is so in part; the others are slow where the door is the same.
FEW = ("siglip2", "alphaclip")
SOME = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in CASES]
)
PARTLY_BY_HAND = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.by_hand])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with an empty cache, nothing installed, and the test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_OFFLINE", raising=False)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "mine"))
    weight_index.get_index.cache_clear()
    with hub_of_this_machine(monkeypatch, tmp_path / "hub") as server:
        yield server
    weight_index.get_index.cache_clear()


def publish(hub: Hub, case: Case, files: dict[str, Path], folder: Path) -> None:
    """Put the roles that are on the hub where they are; CLIP in the layout that it has there, its merges beside it."""
    whole = folder / "whole"
    for role, repository in case.hub.items():
        if repository == CLIP:
            clip_model().save_pretrained(whole)
            hub.publish(CLIP, whole)
        elif files[role].is_dir():
            hub.publish(repository, files[role])
        else:
            hub.repositories[repository] = {f"model{files[role].suffix}": files[role].read_bytes()}
    hub.publish(CLIP, write_merges(folder))


def pipeline(options: str, weights: str = "", whole: str = "") -> str:
    """Write a pipeline file; weights of the backbone alone, or of the whole pipeline."""
    named = f", weights: '{weights}'" if weights else ""
    Path("pipeline.yaml").write_text(
        f"version: 1\n{f'weights: {whole}' if whole else ''}\nbackbone: {{{options}{named}}}\n{REST}"
    )
    return "pipeline.yaml"


def pull(what: str, *more: str) -> Result:
    return CliRunner().invoke(root, ["weights", "pull", what, *more], catch_exceptions=False)


def seen(path: str) -> tuple[Features, torch.Tensor]:
    """What the backbone of a pipeline makes of pictures and texts."""
    weight_index.get_index.cache_clear()
    backbone = load(path, device="cpu").backbone
    return backbone.encode(IMAGES), backbone.encode_text(TEXTS)


def assert_same(found: tuple[Features, torch.Tensor], wanted: tuple[Features, torch.Tensor]) -> None:
    for part in ("patches", "cls", "attention"):
        one, two = getattr(found[0], part), getattr(wanted[0], part)
        assert (one is None) == (two is None)
        if one is not None:
            assert one.std() > 0
            torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], wanted[1], rtol=0, atol=1e-6)


def by_the_file_door(case: Case, folder: Path) -> tuple[Features, torch.Tensor]:
    return seen(pipeline(case.options, f"file:{folder}"))


# ---------------------------------------------------------------- the release where it is


@EACH
def test_a_release_is_pulled_and_then_loads_from_the_cache_alone(name, hub, tmp_path):
    case, official = CASES[name], tmp_path / "official"
    official.mkdir()
    files = case.write(official)
    wanted = by_the_file_door(case, official)
    publish(hub, case, files, tmp_path)
    (tmp_path / "mine").mkdir()
    for role, *_ in case.by_hand:
        shutil.copy(files[role], tmp_path / "mine")
    path = pipeline(case.options)
    result = pull(path, "--yes")
    assert result.exit_code == 0, result.output
    shutil.rmtree(official)
    hub.requests.clear()
    assert_same(seen(path), wanted)
    again = pull(path, "--offline")
    assert again.exit_code == 0, again.output
    assert again.stdout.endswith("everything is here\n")
    assert hub.requests == []


@SOME
def test_what_was_pulled_into_a_folder_loads_through_the_file_door(name, hub, tmp_path):
    case, official = CASES[name], tmp_path / "official"
    official.mkdir()
    files = case.write(official)
    wanted = by_the_file_door(case, official)
    publish(hub, case, files, tmp_path)
    (tmp_path / "brought").mkdir()
    for role, *_ in case.by_hand:
        shutil.copy(files[role], tmp_path / "brought")
    result = pull(pipeline(case.options), "--yes", "--out", "brought")
    assert result.exit_code == 0, result.output
    shutil.rmtree(official)
    shutil.rmtree(tmp_path / "hub", ignore_errors=True)
    assert_same(by_the_file_door(case, tmp_path / "brought"), wanted)


@PARTLY_BY_HAND
def test_a_file_that_is_on_no_hub_is_named_with_its_address_and_its_licence(name, hub, tmp_path):
    case, official = CASES[name], tmp_path / "official"
    official.mkdir()
    publish(hub, case, case.write(official), tmp_path)
    path = pipeline(case.options)
    result = pull(path, "--yes")
    assert result.exit_code == 1
    things = "1 thing is" if len(case.by_hand) == 1 else f"{len(case.by_hand)} things are"
    assert f"error: {things} missing\n" in result.stderr
    component = f"backbone {name}"
    for role, file, address, licence in case.by_hand:
        (row,) = [line for line in result.stdout.splitlines() if re.match(f"by hand +{component} +{role} ", line)]
        assert file in row
        assert f"  {licence}  " in row
        assert address in row
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"  {component}, {role}: download ")]
        assert file in line
        assert f" from {address}" in line
        assert line.endswith(f" and put it into {tmp_path / 'mine' / 'backbone'}")
    rows = {row["role"]: row for row in json.loads(pull(path, "--json").stdout)["files"]}
    assert {role for role, row in rows.items() if row["status"] == "by hand"} == {one[0] for one in case.by_hand}
    # What is on the hub was fetched all the same.
    assert {role for role, row in rows.items() if row["status"] == "here"} == {*case.hub, "merges"}
    with pytest.raises(ConfigError, match="no weights of backbone"):
        load(path, device="cpu")


# ---------------------------------------------------------------- hub://ORG/NAME@REVISION in a pipeline


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        pytest.param(name, whole, id=f"{name}-of-the-{part}", marks=() if name in FEW else pytest.mark.slow)
        for whole, part in ((False, "backbone"), (True, "pipeline"))
        for name in CASES
    ],
)
def test_a_repository_that_a_pipeline_names_is_pulled_and_then_loads_without_a_network(name, whole, hub, tmp_path):
    case, official = CASES[name], tmp_path / "official"
    official.mkdir()
    case.write(official)
    wanted = by_the_file_door(case, official)
    hub.publish(f"mine/{name}", official)
    hub.revisions.add("v1")
    reference = f"hub://mine/{name}@v1"
    path = pipeline(case.options, **({"whole": reference} if whole else {"weights": reference}))
    with pytest.raises(ConfigError) as error:
        load(path, device="cpu")
    assert f": {reference} is not in the cache of the hub\n" in str(error.value)
    assert f"fetch it first: toolkit weights pull {reference}" in str(error.value)
    assert hub.requests == []
    result = pull(path, "--yes")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "hub" / f"models--mine--{name}" / "refs" / "v1").read_text() == COMMIT
    shutil.rmtree(official)
    hub.requests.clear()
    assert_same(seen(path), wanted)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        pytest.param("clip", "main", id="clip"),
        pytest.param("invite", COMMIT, id="invite-at-a-commit"),
        pytest.param("siglip2", "main", id="siglip2", marks=pytest.mark.slow),
    ],
)
def test_a_repository_that_is_the_model_itself_loads_as_it_is(name, revision, hub, tmp_path):
    case, official = CASES[name], tmp_path / "official"
    official.mkdir()
    files = case.write(official)
    wanted = by_the_file_door(case, official)
    publish(hub, case, files, tmp_path)
    path = pipeline(case.options, f"hub://{case.hub['model']}@{revision}")
    result = pull(path, "--yes")
    assert result.exit_code == 0, result.output
    hub.requests.clear()
    assert_same(seen(path), wanted)
    assert hub.requests == []


def test_a_revision_that_the_repository_has_not_is_refused(hub, tmp_path):
    hub.publish("mine/clip", write_merges(tmp_path))
    result = pull(pipeline(CASES["clip"].options, "hub://mine/clip@v2"), "--yes")
    assert result.exit_code == 1
    assert "error: hub://mine/clip@v2 cannot be fetched: RevisionNotFoundError" in result.stderr


def test_a_repository_of_another_model_is_refused_by_its_name(hub, tmp_path):
    official = tmp_path / "official"
    official.mkdir()
    write_denseclip(official)
    hub.publish("mine/dense", official)
    path = pipeline(CASES["siglip2"].options, "hub://mine/dense@main")
    assert pull(path, "--yes").exit_code == 0
    with pytest.raises(ConfigError, match="holds no weights of backbone 'siglip2'"):
        load(path, device="cpu")
