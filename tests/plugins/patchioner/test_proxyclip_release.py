"""ProxyCLIP from the files of its parts: every layout, what a header says, positions, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from official_layouts import (
    DIM,
    SIDE,
    WIDTH,
    clip_model,
    context_of,
    dinov2,
    openai_state,
    without,
)
from official_layouts import timm_state as clip_timm_state
from proxyclip_release import dino, write_parts
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.proxyclip import ProxyClip
from regionkit.plugins.patchioner.backbones.proxyclip_config import ProxyClipConfig
from regionkit.plugins.patchioner.backbones.proxyclip_layout import read_proxyclip
from regionkit.plugins.patchioner.backbones.square_config import ports_of

param = pytest.param
#: 12 x 12 patches of 8 pixels, and 6 x 6 of CLIP's 16.
DINO_SIDE = 96
CONFIG = ProxyClipConfig(resolution=DINO_SIDE)


def built(folder: Path, config: ProxyClipConfig = CONFIG, layout: str = "facebook", clip: str = "openai") -> ProxyClip:
    files = write_parts(folder, config.vfm, layout, clip)
    return ProxyClip.build(config, context_of(read_proxyclip(files, config), files))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> ProxyClip:
    return built(tmp_path_factory.mktemp("proxyclip"))


IMAGES = [picture((60 + 7 * index, 50), index) for index in range(3)]


@pytest.mark.parametrize("vfm", ["dino-b8", "dinov2-b14"])
def test_every_layout_gives_the_same_features(vfm, tmp_path):
    config = ProxyClipConfig(vfm=vfm, resolution={"dino-b8": 96, "dinov2-b14": 70}[vfm])
    first = built(tmp_path / "a", config).encode(IMAGES).patches
    for name, layout, clip in (("b", "timm", "hf"), ("c", "facebook", "timm")):
        other = built(tmp_path / name, config, layout, clip).encode(IMAGES).patches
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)


@pytest.mark.parametrize("vfm", ["dino-b8", "dinov2-b14"])
def test_header_and_ports_say_the_space_and_a_converted_file_is_the_official_one(vfm, tmp_path):
    config = ProxyClipConfig(vfm=vfm)
    files = write_parts(tmp_path, vfm)
    artifact = read_proxyclip(files, config)
    assert artifact.header.space == f"proxyclip-{vfm}/image[{DIM}]"
    assert artifact.header.config["vfm_width"] == WIDTH
    path = tmp_path / "proxyclip.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    small = dataclasses.replace(config, resolution={"dino-b8": 96, "dinov2-b14": 70}[vfm])
    again = ProxyClip.build(small, BuildContext(weights=WeightFile(path, read_header(path))))
    official = ProxyClip.build(small, context_of(artifact, files))
    assert torch.equal(again.encode(IMAGES).patches, official.encode(IMAGES).patches)
    ports = ports_of(again.config)
    assert (ports.writes.space, ports.text) == (again.space, again.text_space)
    assert (again.space, again.text_space) == (f"proxyclip-{vfm}/image[{DIM}]", f"clip-vit-b16/text[{DIM}]")
    assert again.encode_text(["the dog"]).shape == (1, DIM)


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_positions_of_both_towers_come_to_their_grids(compat, tmp_path):
    made = built(tmp_path, dataclasses.replace(CONFIG, compat=compat))
    stored = openai_state(clip_model())["visual.positional_embedding"]
    pairs = (
        (made.vision.pos_embed, stored, SIDE, DINO_SIDE // 16),
        (made.vfm.pos_embed, dino().pos_embed.detach()[0], 7, DINO_SIDE // 8),
    )
    for positions, own, side, grid in pairs:
        square = own[1:].reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
        if compat == "reference":
            wanted = interpolate(square, scale_factor=(grid + 0.1) / side, mode="bicubic")
        else:
            wanted = interpolate(square, size=(grid, grid), mode="bicubic", antialias=True)
        torch.testing.assert_close(positions[0, 1:], wanted[0].flatten(1).T, rtol=0, atol=1e-6)


def changed(files: dict[str, Path], role: str, state: dict[str, Tensor]) -> dict[str, Path]:
    path = files["merges"].with_name("changed.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return {**files, role: path}


def test_what_is_no_dino_is_refused(tmp_path):
    files = write_parts(tmp_path)
    state = dict(dino().state_dict())
    with pytest.raises(WeightsError, match="unknown: a, b, c and 1 more"):
        read_proxyclip(changed(files, "vfm", {**state, **{name: torch.ones(1) for name in "dcba"}}), CONFIG)
    lost = without(state, "norm.weight", "norm.bias", "blocks.1.attn.qkv.bias", "blocks.0.mlp.fc1.bias")
    wanted = "missing: blocks.0.mlp.fc1.bias, blocks.1.attn.qkv.bias, norm.weight and 1 more$"
    with pytest.raises(WeightsError, match=r"(?m)" + wanted):
        read_proxyclip(changed(files, "vfm", lost), CONFIG)
    with pytest.raises(WeightsError, match=r"shape: norm\.weight is \(3,\), the model has \(128,\)"):
        read_proxyclip(changed(files, "vfm", {**state, "norm.weight": torch.ones(3)}), CONFIG)
    with pytest.raises(WeightsError, match="this is no DINO without registers"):
        read_proxyclip(changed(files, "vfm", dict(dinov2().state_dict())), CONFIG)
    with pytest.raises(WeightsError, match="the learned positions belong to 11 patches, which form no square"):
        read_proxyclip(changed(files, "vfm", {**state, "pos_embed": torch.ones(1, 12, WIDTH)}), CONFIG)
    odd = {**state, "patch_embed.proj.weight": torch.ones(WIDTH, 3, 14, 14)}
    with pytest.raises(WeightsError) as caught:
        read_proxyclip(changed(files, "vfm", odd), CONFIG)
    assert str(caught.value).endswith(
        "this model has patches of 14 pixels, dino-b8 has 8\n  write backbone.vfm: dinov2-b14"
    )


def test_what_is_no_clip_b16_and_missing_files_are_refused(tmp_path):
    files = write_parts(tmp_path)
    for role in ("model", "vfm"):
        with pytest.raises(WeightsError, match="backbone 'proxyclip' needs "):
            read_proxyclip({key: path for key, path in files.items() if key != role}, CONFIG)
    with pytest.raises(WeightsError, match="backbone 'proxyclip' needs the merges file"):
        read_proxyclip({key: path for key, path in files.items() if key != "merges"}, CONFIG)
    with pytest.raises(WeightsError, match="ProxyCLIP takes CLIP B/16, and this one has patches of another size"):
        read_proxyclip(changed(files, "model", openai_state(clip_model(patch=32))), CONFIG)
    classifier = {**clip_timm_state(clip_model()), "head.bias": torch.ones(DIM)}
    with pytest.raises(WeightsError, match=r"head\.bias is not zero"):
        read_proxyclip(changed(files, "vision", classifier), CONFIG)
    with pytest.raises(WeightsError, match="this is no DINOv2 with registers"):
        read_proxyclip(files, ProxyClipConfig(vfm="dinov2-b14"))
