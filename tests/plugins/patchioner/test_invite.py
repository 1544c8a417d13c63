"""INViTE: golden vectors, the closed form, what masked blocks keep apart, official layouts, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from golden import golden_file
from hypothesis import given, settings
from hypothesis import strategies as st
from official_layouts import DIM, SIDE, WIDTH, clip_model, context_of, openai_state, write_clip
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate, layer_norm

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.clip_layout import OPENAI_VISION, read_clip, read_openai
from regionkit.plugins.patchioner.backbones.invite import Invite
from regionkit.plugins.patchioner.backbones.invite_config import InviteConfig
from regionkit.plugins.patchioner.backbones.invite_layout import read_invite
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

param = pytest.param
CONFIG = InviteConfig(resolution=SIDE * 16)
TINY = InviteConfig(
    weights="none", resolution=64, width=64, layers=3, dim=32, text_width=64, text_layers=2, vocabulary=514
)


def built(folder: Path, layout: str = "openai", config: InviteConfig = CONFIG) -> Invite:
    files = write_clip(folder, layout, clip_model())
    return Invite.build(config, context_of(read_invite(files, config), files))


@pytest.fixture(scope="module")
def invite(tmp_path_factory: pytest.TempPathFactory) -> Invite:
    return built(tmp_path_factory.mktemp("invite"))


# ---------------------------------------------------------------- golden vectors


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    vectors = load_file(golden_file("dense_attention.safetensors"))
    return {name.removeprefix("invite."): tensor for name, tensor in vectors.items() if name.startswith("invite.")}


def golden_tower(golden: dict[str, Tensor], masked: int, compat: str, heads: int) -> Invite:
    """The tower of the vectors, its sizes read from its tensors."""
    named = {f"visual.{name[2:]}": tensor for name, tensor in golden.items() if name.startswith("w.")}
    vision = read_openai(named, OPENAI_VISION, golden_file("dense_attention.safetensors"))
    conv = vision["vision.patch_embed.proj.weight"]
    config = InviteConfig(
        resolution=golden["image"].shape[-1],
        width=len(conv),
        heads=heads,
        layers=1 + max(int(name.split(".")[2]) for name in vision if name.startswith("vision.blocks.")),
        dim=len(vision["vision.head.weight"]),
        text_width=64,
        text_layers=1,
        vocabulary=514,
        masked=masked,
        compat=compat,  # type: ignore[arg-type]
    )
    tower = Invite(config, ClipTokenizer()).eval()
    tower.load_state_dict({**tower.state_dict(), **tower.placed(vision)})
    return tower


def golden_heads(golden: dict[str, Tensor]) -> int:
    """How many heads the tower has, which no tensor says: the one number that gives the unmasked vectors."""
    errors = {}
    for heads in (heads for heads in range(1, 17) if len(golden["w.class_embedding"]) % heads == 0):
        tower = golden_tower(golden, 0, "reference", heads)
        seen = tower.read(golden["image"], tuple(tower.frame((9, 9)) for _ in golden["image"]))
        errors[heads] = float((seen.cls - golden["out_cls_k-1"]).abs().max())
    return min(errors, key=lambda heads: errors[heads])


@pytest.mark.parametrize("compat", ["reference", "paper"])
@torch.no_grad()
def test_every_number_of_masked_blocks_is_that_of_the_released_code(compat, golden):
    tried = sorted(int(name.rpartition("k")[2]) for name in golden if name.startswith("out_all_k"))
    assert len(tried) >= 3
    heads = golden_heads(golden)
    for masked in tried:
        tower = golden_tower(golden, max(masked, 0), compat, heads)  # -1 masks nothing there, 0 here
        frames = tuple(tower.frame((9, 9)) for _ in golden["image"])
        seen = tower.read(golden["image"], frames)
        torch.testing.assert_close(seen.cls, golden[f"out_cls_k{masked}"], rtol=0, atol=1e-5)
        torch.testing.assert_close(seen.patches.flatten(1, 2), golden[f"out_all_k{masked}"][:, 1:], rtol=0, atol=1e-5)


# ---------------------------------------------------------------- what masking means


def by_mask(tower: Invite, tokens: Tensor) -> Tensor:
    """The tokens after all blocks, the last ``masked`` ones with -inf off the diagonal: plain torch, in float64."""
    state = {name: tensor.double() for name, tensor in tower.vision.state_dict().items()}
    heads, tokens = tower.vision.blocks[0].attn.num_heads, tokens.double()
    b, n, width = tokens.shape
    apart = torch.full((n, n), float("-inf"), dtype=torch.float64).fill_diagonal_(0)
    depth = len(tower.vision.blocks)
    for number in range(depth):

        def part(name: str, of: int = number) -> Tensor:
            return state[f"blocks.{of}.{name}"]

        normed = layer_norm(tokens, (width,), part("norm1.weight"), part("norm1.bias"), 1e-5)
        joint = normed @ part("attn.qkv.weight").T + part("attn.qkv.bias")
        q, k, v = joint.reshape(b, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) * (width // heads) ** -0.5
        logits = logits + apart if number >= depth - tower.masked else logits
        read = (logits.softmax(-1) @ v).transpose(1, 2).reshape(b, n, width)
        tokens = tokens + read @ part("attn.proj.weight").T + part("attn.proj.bias")
        normed = layer_norm(tokens, (width,), part("norm2.weight"), part("norm2.bias"), 1e-5)
        hidden = normed @ part("mlp.fc1.weight").T + part("mlp.fc1.bias")
        tokens = tokens + (hidden * torch.sigmoid(1.702 * hidden)) @ part("mlp.fc2.weight").T + part("mlp.fc2.bias")
    return tokens


@settings(max_examples=20, deadline=None)
@given(masked=st.integers(0, 3), heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 2**16), count=st.integers(1, 3))
def test_the_closed_form_is_attention_under_a_mask(masked, heads, seed, count):
    config = dataclasses.replace(TINY, masked=masked, heads=heads)
    tower = Invite.build(config, BuildContext(seed=seed))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tower.vision.blocks.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
        tokens = out = torch.randn(count, 17, 64, generator=drawn)
        for block in tower.blocks:
            out = block(out)
        torch.testing.assert_close(out.double(), by_mask(tower, tokens), rtol=0, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, 15), seed=st.integers(0, 2**16))
def test_with_all_blocks_masked_a_patch_is_its_own_pixels(place, seed):
    tower = Invite.build(dataclasses.replace(TINY, masked=3), BuildContext(seed=1))
    drawn = torch.Generator().manual_seed(seed)
    pixels = torch.randn(1, 3, 64, 64, generator=drawn)
    other, (row, column) = pixels.clone(), divmod(place, 4)
    other[:, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] += torch.randn(3, 16, 16, generator=drawn)
    frames = (tower.frame((64, 64)),)
    with torch.no_grad():
        before, after = tower.read(pixels, frames), tower.read(other, frames)
    changed = (before.patches - after.patches)[0].abs().amax(-1).flatten() > 1e-6
    assert changed.tolist() == [at == place for at in range(16)]
    assert torch.equal(before.cls, after.cls)  # it attends to itself too, and has no pixels


def test_one_masked_block_leaves_the_blocks_before_it_as_they_are(invite):
    pixels, _ = invite.preprocess([picture((64, 48), 1)])
    other = pixels.clone()
    other[:, :, :16, :16] += 1
    frames = (invite.frame((64, 48)),)
    with torch.no_grad():
        before, after = invite.read(pixels, frames), invite.read(other, frames)
    assert ((before.patches - after.patches).abs().amax(-1) > 1e-4).all()


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)), masked=st.integers(0, 3))
def test_pictures_do_not_depend_on_their_batch_mates(order, masked):
    tower = Invite.build(dataclasses.replace(TINY, masked=masked), BuildContext(seed=2))
    images = [picture((40 + 9 * index, 50), index) for index in range(4)]
    whole = tower.encode(images).patches
    torch.testing.assert_close(
        tower.encode([images[at] for at in order]).patches, whole[list(order)], rtol=0, atol=1e-5
    )
    torch.testing.assert_close(tower.encode(images[:1]).patches, whole[:1], rtol=0, atol=1e-5)


def test_nothing_masked_is_clip(invite, tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    clip = Clip.build(ClipConfig(resolution=64), context_of(read_clip(files, ClipConfig(resolution=64)), files))
    none = built(tmp_path, config=dataclasses.replace(CONFIG, masked=0))
    images = [picture((64, 48), 1), picture((30, 90), 2)]
    assert torch.equal(none.encode(images).patches, clip.encode(images).patches)
    assert torch.equal(none.encode(images).cls, clip.encode(images).cls)
    assert not torch.allclose(invite.encode(images).patches, clip.encode(images).patches, atol=1e-2)
    assert torch.equal(invite.encode_text(["the dog", "x"]), clip.encode_text(["the dog", "x"]))


# ---------------------------------------------------------------- resolutions


@pytest.mark.parametrize("compat", ["paper", "reference"])
@pytest.mark.parametrize("resolution", [param(64, id="own"), param(592, id="592")])
def test_positions_come_to_another_grid_as_compat_says(compat, resolution, invite, tmp_path):
    made = built(tmp_path, config=InviteConfig(resolution=resolution, compat=compat))
    grid = resolution // 16
    own = openai_state(clip_model())["visual.positional_embedding"]
    square = own[1:].reshape(1, SIDE, SIDE, WIDTH).permute(0, 3, 1, 2)
    wanted = interpolate(
        square, size=(grid, grid), mode="bicubic", align_corners=False, antialias=compat == "paper"
    ).permute(0, 2, 3, 1)
    wanted = square.permute(0, 2, 3, 1) if grid == SIDE else wanted
    positions = made.vision.pos_embed
    torch.testing.assert_close(positions[0, 1:], wanted.reshape(-1, WIDTH), rtol=0, atol=1e-6)
    torch.testing.assert_close(positions[0, 0], own[0], rtol=0, atol=0)
    assert made.encode([picture()]).patches.shape == (1, grid, grid, DIM)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("layout", ["openai", "hf", "timm"])
def test_every_layout_of_clip_gives_the_same_features(layout, invite, tmp_path):
    other = built(tmp_path, layout)
    images = [picture((64, 48), 1), picture((30, 90), 2)]
    assert torch.equal(other.encode(images).patches, invite.encode(images).patches)


def test_header_and_ports_say_the_space(tmp_path):
    files = write_clip(tmp_path, "hf", clip_model(patch=32))
    config = InviteConfig(model="vit-b32")
    header = read_invite(files, config).header
    assert (header.kind, header.name, header.space) == ("backbone", "invite", f"clip-vit-b32-invite/image[{DIM}]")
    made = Invite.build(config, context_of(read_invite(files, config), files))
    ports = ports_of(made.config)
    assert ports.writes.space == made.space == header.space
    assert ports.text == made.text_space == f"clip-vit-b32/text[{DIM}]"
    assert ports.blocks == made.block_space == f"clip-vit-b32-invite/blocks[{WIDTH}]"


def test_its_own_artifact_comes_back_bit_for_bit_with_its_heads(tmp_path):
    made = Invite.build(dataclasses.replace(TINY, heads=4, masked=2), BuildContext(seed=3))
    artifact, path = made.artifact(), tmp_path / "own.safetensors"
    assert artifact.header.name == "invite"
    write_weights(path, artifact.tensors, artifact.header)
    config = InviteConfig(resolution=64, masked=2)
    again = Invite.build(config, BuildContext(weights=WeightFile(path, read_header(path))))
    assert again.vision.blocks[0].attn.num_heads == 4
    assert torch.equal(made.encode([picture()]).patches, again.encode([picture()]).patches)


def test_a_checkpoint_that_is_not_accounted_for_is_refused(tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    state = {**openai_state(clip_model()), **{f"{letter}.extra": torch.ones(1) for letter in "dcba"}}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "changed.safetensors")
    with pytest.raises(WeightsError, match=r"unknown: a\.extra, b\.extra, c\.extra and 1 more"):
        read_invite({**files, "model": tmp_path / "changed.safetensors"}, CONFIG)
    with pytest.raises(WeightsError, match="backbone 'invite' needs the file of a CLIP model"):
        read_invite({"merges": files["merges"]}, CONFIG)
    with pytest.raises(WeightsError, match="backbone 'invite' needs the merges file of CLIP's tokenizer"):
        read_invite({"model": files["model"]}, CONFIG)
    with pytest.raises(WeightsError, match=r"masked: 5 must be from 0 \(none\) to 2, the blocks of the vision tower"):
        read_invite(files, dataclasses.replace(CONFIG, masked=5))


# ---------------------------------------------------------------- contract


@pytest.mark.slow
def test_conforms_with_all_blocks_masked(tmp_path):
    check_backbone(built(tmp_path, config=dataclasses.replace(CONFIG, masked=2, compat="reference")))


def test_a_tower_of_any_width_has_the_heads_that_the_options_say():
    made = Invite.build(dataclasses.replace(TINY, width=96, heads=8), BuildContext())
    assert made.vision.blocks[0].attn.num_heads == 8
    assert made.encode([picture()]).patches.shape == (1, 4, 4, 32)
    with pytest.raises(ValueError, match="width: 96 is no multiple of 64, the width of a head"):
        dataclasses.replace(TINY, width=96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param(
            {"masked": -1}, r"masked: -1 must be from 0 \(none\) to 12, the blocks of the vision tower", id="negative"
        ),
        param({"masked": 13}, r"masked: 13 must be from 0 \(none\) to 12", id="more-than-there-are"),
        param({"heads": 5}, "heads: 5 must divide the width, 768, or be 0", id="heads"),
        param({"resolution": 230}, "resolution: 230 is no multiple of the patch", id="resolution"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        InviteConfig(**options)
