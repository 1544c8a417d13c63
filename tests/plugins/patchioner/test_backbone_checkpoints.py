"""Every backbone's official files: each number arrives once, nothing stays as drawn, a changed tensor is refused."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_family_layouts import write_alphaclip, write_denseclip
from clip_resnet_release import write_clip_resnet
from dinotxt_release import write_dinotxt
from official_layouts import clip_model, context_of, write_clip
from proxyclip_release import write_parts
from regionclip_release import write_regionclip
from safetensors.torch import save_file
from siglip2_release import CONFIG as SIGLIP2
from siglip2_release import write_release
from torch import Tensor

from regionkit.core.checkpoints import read_checkpoint
from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.alphaclip_layout import read_alphaclip
from regionkit.plugins.patchioner.backbones.clip_resnet import ClipResNet
from regionkit.plugins.patchioner.backbones.clip_resnet_config import ClipResNetConfig
from regionkit.plugins.patchioner.backbones.clip_resnet_layout import read_clip_resnet
from regionkit.plugins.patchioner.backbones.denseclip import DenseClip
from regionkit.plugins.patchioner.backbones.denseclip_config import DenseClipConfig
from regionkit.plugins.patchioner.backbones.denseclip_layout import read_denseclip
from regionkit.plugins.patchioner.backbones.dinotxt import DinoTxt
from regionkit.plugins.patchioner.backbones.dinotxt_config import DinoTxtConfig
from regionkit.plugins.patchioner.backbones.dinotxt_layout import read_dinotxt
from regionkit.plugins.patchioner.backbones.invite import Invite
from regionkit.plugins.patchioner.backbones.invite_config import InviteConfig
from regionkit.plugins.patchioner.backbones.invite_layout import read_invite
from regionkit.plugins.patchioner.backbones.proxyclip import ProxyClip
from regionkit.plugins.patchioner.backbones.proxyclip_config import ProxyClipConfig
from regionkit.plugins.patchioner.backbones.proxyclip_layout import read_proxyclip
from regionkit.plugins.patchioner.backbones.regionclip import RegionClip
from regionkit.plugins.patchioner.backbones.regionclip_config import RegionClipConfig
from regionkit.plugins.patchioner.backbones.regionclip_layout import read_regionclip
from regionkit.plugins.patchioner.backbones.siglip2 import Siglip2
from regionkit.plugins.patchioner.backbones.siglip2_layout import read_siglip2


@dataclass(frozen=True)
class Release:
    """A backbone and a small copy of its official files.

    Attributes:
        model: The backbone.
        reader: Of its files.
        config: Options, at the resolution that the positions of the copy were learned at.
        write: Writes the files into a folder; paths by role.
        aside: Starts of the official names that no network needs.
        unread: The same of single roles: the vision tower of a file that only the text tower is read from.
        added: Numbers of the network that no file has: biases of zero.
        resampled: Ends of the names of positions, where no resolution is native to all towers.
    """

    model: Any
    reader: Callable[..., Any]
    config: Any
    write: Callable[[Path], dict[str, Path]]
    aside: tuple[str, ...] = ()
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict)
    added: int = 0
    resampled: tuple[str, ...] = ()


_COUNTS = ("logit_scale", "input_resolution", "context_length", "vocab_size")
_BESIDE = ("offline_", "roi_heads", "teacher_", "pixel_")
_SEGMENTS = ("contexts", "gamma", "backbone.fpn", "neck", "decode_head", "identity_head", "context_decoder")
_POSITIONS = ("pos_embed", "visual.positional_embedding")
_FILE = {"vision": ("visual.",)}
#: What batch norms count in training, beside their weights and statistics.
_STEPS = ".num_batches_tracked"


def _siglip2(folder: Path) -> dict[str, Path]:
    return {"model": write_release(folder) / "model.safetensors"}


def _proxyclip(vfm: str, layout: str, folder: Path) -> dict[str, Path]:
    return write_parts(folder, vfm, layout)


def _clip(layout: str, folder: Path) -> dict[str, Path]:
    return write_clip(folder, layout, clip_model())


RELEASES = {
    "invite": Release(Invite, read_invite, InviteConfig(resolution=64), partial(_clip, "openai"), _COUNTS),
    "invite-timm": Release(
        Invite, read_invite, InviteConfig(resolution=64), partial(_clip, "timm"), (*_COUNTS, "head.bias"), _FILE
    ),
    "proxyclip-dino": Release(
        ProxyClip,
        read_proxyclip,
        ProxyClipConfig(resolution=56),
        partial(_proxyclip, "dino-b8", "facebook"),
        _COUNTS,
        resampled=_POSITIONS,
    ),
    "proxyclip-dinov2": Release(
        ProxyClip,
        read_proxyclip,
        ProxyClipConfig(vfm="dinov2-b14", resolution=56),
        partial(_proxyclip, "dinov2-b14", "timm"),
        _COUNTS,
        resampled=_POSITIONS,
    ),
    "denseclip": Release(DenseClip, read_denseclip, DenseClipConfig(resolution=64), write_denseclip, _SEGMENTS),
    "alphaclip": Release(
        AlphaClip,
        read_alphaclip,
        AlphaClipConfig(resolution=64),
        write_alphaclip,
        _COUNTS,
        {"text": ("visual.",)},
    ),
    "siglip2": Release(Siglip2, read_siglip2, SIGLIP2, _siglip2, ("logit_scale", "logit_bias")),
    "dinotxt": Release(
        DinoTxt,
        read_dinotxt,
        DinoTxtConfig(resolution=56),
        lambda folder: write_dinotxt(folder, "timm"),
        added=3 * 3 * 64,  # biases of query, key and value, three layers of 64
    ),
    "regionclip": Release(
        RegionClip,
        read_regionclip,
        RegionClipConfig(resolution=96),
        write_regionclip,
        (*_BESIDE, "lang_encoder.logit_scale"),
    ),
    "clip-resnet": Release(ClipResNet, read_clip_resnet, ClipResNetConfig(resolution=96), write_clip_resnet, _COUNTS),
}
EACH = pytest.mark.parametrize("name", list(RELEASES))


def states_of(release: Release, files: dict[str, Path]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file that the network is made of, by role, in memory of their own."""
    found = {}
    for role, path in files.items():
        if role != "merges":
            aside = (*release.aside, *(release.unread.get(role, ())))
            if role == "model" and "vision" in files:  # the vision tower is in timm's file
                aside = (*aside, *_FILE["vision"])
            read = {name: tensor.clone() for name, tensor in read_checkpoint(path).items()}
            found[role] = {
                name: tensor
                for name, tensor in read.items()
                if not name.startswith(aside) and not name.endswith(_STEPS)
            }
    return found


def rewritten(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Write a file anew, its tensors changed; a new file, since the old one may be mapped into memory."""
    place = path / "model.safetensors" if path.is_dir() else path
    state = change({name: tensor.clone() for name, tensor in read_checkpoint(path).items()})
    place.unlink()
    if place.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, place)
    else:
        torch.save(state, place)


def built(release: Release, files: dict[str, Path], **options: object) -> Any:
    config = dataclasses.replace(release.config, **options)
    return release.model.build(config, context_of(release.reader(files, config), files))


def numbers(release: Release, tensors: dict[str, Tensor]) -> Tensor:
    """All numbers, sorted, but for positions that may have come to another grid."""
    kept = [tensor.float().flatten() for name, tensor in tensors.items() if not name.endswith(release.resampled or "-")]
    return torch.cat(kept).sort().values


# ---------------------------------------------------------------- nothing is lost, nothing stays as it was drawn


@EACH
def test_each_number_of_the_files_arrives_once(name, tmp_path):
    release = RELEASES[name]
    files = release.write(tmp_path)
    official = {f"{role}/{key}": t for role, state in states_of(release, files).items() for key, t in state.items()}
    wanted = torch.cat([numbers(release, official), torch.zeros(release.added)]).sort().values
    assert torch.equal(numbers(release, built(release, files).state_dict()), wanted)


@EACH
def test_no_tensor_is_as_it_was_drawn(name, tmp_path):
    release = RELEASES[name]
    files = release.write(tmp_path)
    backbone = built(release, files)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = release.model(backbone.config, backbone.tokenizer).state_dict()
    loaded = backbone.state_dict()
    assert drawn.keys() == loaded.keys()
    zero = [key for key in loaded if release.added and ".self_attn." in key and key.endswith(("q_proj.bias",))]
    zero += [key.replace("q_proj", other) for key in zero for other in ("k_proj", "v_proj")]
    same = [key for key in loaded if torch.equal(drawn[key], loaded[key])]
    assert sorted(same) == sorted(zero)


@EACH
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is_written(name, kind, tmp_path):
    release = RELEASES[name]
    files = release.write(tmp_path)
    for path in {path for role, path in files.items() if role != "merges"}:
        rewritten(path, lambda state: {k: t.to(kind) if t.is_floating_point() else t for k, t in state.items()})
    made = built(release, files)
    official = {f"{role}/{key}": t for role, state in states_of(release, files).items() for key, t in state.items()}
    assert {t.dtype for t in official.values()} == {kind}
    assert {t.dtype for t in made.state_dict().values()} == {torch.float32}
    wanted = torch.cat([numbers(release, official), torch.zeros(release.added)]).sort().values
    assert torch.equal(numbers(release, made.state_dict()), wanted)


# ---------------------------------------------------------------- what is changed is refused


#: Their number of rows says a size, and one more or fewer is another model: their dimensions are changed alone.
_SIZES = ("positional_embedding", "position_embedding.weight", "token_embedding.weight", "reg_token")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *(pytest.param(name, 0, id=name) for name in RELEASES),
        *(pytest.param(name, 1000, id=f"{name}-all", marks=pytest.mark.slow) for name in RELEASES),
    ],
)
def test_a_tensor_that_is_gone_new_or_of_another_shape_is_refused(name, count, tmp_path):
    release = RELEASES[name]
    files = release.write(tmp_path)
    dice = random.Random(name)
    for role, state in states_of(release, files).items():
        path, keys = files[role], list(state)
        place = path / "model.safetensors" if path.is_dir() else path
        kept = place.read_bytes()

        def refused(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> str:
            rewritten(path, change)  # noqa: B023  # called in this turn of the loop alone
            with pytest.raises(WeightsError) as caught:
                release.reader(files, release.config)
            place.unlink()  # noqa: B023
            place.write_bytes(kept)  # noqa: B023
            return str(caught.value)

        new = {f"{letter}.new": torch.ones(1) for letter in "abcd"}
        assert "unknown: a.new, b.new, c.new and 1 more" in refused(lambda all_, more=new: {**all_, **more})
        # A learned norm in a block tells no size, so that the names of three that are gone are told.
        norms = ("ln_1", "norm1", "layer_norm1", "attention_norm", ".bn1.")
        gone = [key for key in keys if any(norm in key for norm in norms)][:4]
        said = refused(lambda all_, out=gone: {key: t for key, t in all_.items() if key not in out})
        assert said.count("missing: ") == 1
        told, _, more = said.split("missing: ")[1].splitlines()[0].partition(" and ")
        assert len(told.split(", ")) == 3
        assert re.fullmatch(r"(\d+ more)?", more)
        places = [key for key in keys if key.endswith(_POSITIONS)]
        tokens = [key for key in keys if key.endswith(("class_embedding", "cls_token"))]
        for key in [*places, *tokens]:
            refused(lambda all_, one=key: {**all_, one: all_[one][None]})
        for key in dice.sample(keys, min(count, len(keys))):
            refused(lambda all_, out=key: {k: t for k, t in all_.items() if k != out})
            refused(lambda all_, one=key: {**all_, one: all_[one][None]})
            refused(lambda all_, one=key: {**all_, one: all_[one].round().int()})
            if not key.endswith(_SIZES):
                refused(lambda all_, one=key: {**all_, one: torch.cat([all_[one], all_[one]])})


# ---------------------------------------------------------------- batch mates


@EACH
def test_a_picture_is_the_same_in_batches_of_one_two_and_five(name, tmp_path):
    release = RELEASES[name]
    files = release.write(tmp_path)
    images = [picture((40 + 9 * index, 71 - 8 * index), index) for index in range(5)]
    backbone, found = built(release, files), []
    for size in (1, 2, 5):
        backbone.config = dataclasses.replace(backbone.config, batch=size)
        found.append(backbone.encode(images))
    scale = float(found[0].patches.abs().max())
    for other in found[1:]:
        for part in ("patches", "cls", "attention"):
            one, two = getattr(found[0], part), getattr(other, part)
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(two, one, rtol=0, atol=1e-6 * max(scale, 1))
    texts = ["the dog", "a cat at the dog", "x"]
    together, each = backbone.encode_text(texts), torch.cat([backbone.encode_text([text]) for text in texts])
    torch.testing.assert_close(together, each, rtol=0, atol=1e-6 * max(float(each.abs().max()), 1))


def test_masks_of_batch_mates_change_nothing(tmp_path):
    release = RELEASES["alphaclip"]
    files = release.write(tmp_path)
    images = [picture((40 + 9 * index, 71 - 8 * index), index) for index in range(5)]
    drawn = torch.Generator().manual_seed(1)
    masks = [(torch.rand(image.height, image.width, generator=drawn) > 0.5).numpy() for image in images]
    backbone, found = built(release, files), []
    for size in (1, 2, 5):
        backbone.config = dataclasses.replace(backbone.config, batch=size)
        found.append(backbone.encode_masked(images, masks))
    one = found[0]
    for other in found[1:]:
        torch.testing.assert_close(other.cls, one.cls, rtol=0, atol=1e-6 * max(float(one.cls.abs().max()), 1))
        torch.testing.assert_close(
            other.patches, one.patches, rtol=0, atol=1e-6 * max(float(one.patches.abs().max()), 1)
        )


def test_an_untrained_backbone_is_drawn_from_its_seed_alone():
    tiny = {"width": 64, "layers": 1, "dim": 16, "text_width": 64, "text_layers": 1, "vocabulary": 514}
    config = InviteConfig(resolution=32, weights="none", **tiny)
    one, two = (Invite.build(config, BuildContext(seed=3)).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
