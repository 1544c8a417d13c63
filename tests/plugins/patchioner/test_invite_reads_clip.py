"""A converted file of ``clip`` is read by ``invite``, which has the very same network and reads it in another way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from official_layouts import DIM, clip_model, write_clip

from regionkit.core.errors import ConfigError
from regionkit.core.spec import ComponentSpec, Port
from regionkit.core.testing.fakes import picture
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.discovery.spec_checks import check_component
from regionkit.registry.weights import index as weight_index

IMAGES, TEXTS = [picture((64, 48), 1), picture((40, 56), 2)], ["the dog", "a cat"]
REST = {
    "region_encoder": "patch-pool",
    "bridge": "none",
    "decoder": {"name": "decap", "weights": "none", "tokenizer": "bytes", "hidden": 16, "layers": 1, "heads": 2},
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a release of CLIP, and the same converted for each of the two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    weight_index.get_index.cache_clear()
    write_clip(tmp_path / "official", "openai", clip_model())
    for name in ("clip", "invite"):
        words = ["weights", "convert", f"backbone/{name}", "official", "--out", f"{name}.safetensors"]
        result = CliRunner().invoke(root, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return tmp_path


def backbone(name: str, weights: str, **options: object):
    return load(
        {"backbone": {"name": name, "weights": weights, "resolution": 64, **options}, **REST}, device="cpu"
    ).backbone


@pytest.mark.parametrize("masked", [0, 1])
def test_all_three_doors_give_the_same(masked, files):
    wanted = backbone("invite", "file:official", masked=masked)
    for weights in ("file:clip.safetensors", "file:invite.safetensors"):
        made = backbone("invite", weights, masked=masked)
        assert made.space == wanted.space == f"clip-vit-b16-invite/image[{DIM}]"
        one, two = made.encode(IMAGES), wanted.encode(IMAGES)
        assert torch.equal(one.patches, two.patches)
        assert torch.equal(one.cls, two.cls)
        assert torch.equal(made.encode_text(TEXTS), wanted.encode_text(TEXTS))
    plain = backbone("clip", "file:clip.safetensors").encode(IMAGES)
    assert torch.equal(plain.patches, two.patches) == (masked == 0)


def test_another_model_is_told_by_the_space_that_the_file_has(files):
    with pytest.raises(ConfigError) as error:
        backbone("invite", "file:clip.safetensors", model="vit-b32")
    assert f"were trained in clip-vit-b16/image[{DIM}], and clip-vit-b32-invite/image[" in str(error.value)


def test_clip_does_not_read_what_was_made_for_invite(files):
    with pytest.raises(ConfigError, match="holds weights of backbone 'invite', not of backbone 'clip'"):
        backbone("clip", "file:invite.safetensors")


@pytest.mark.parametrize(
    ("also", "message"),
    [
        pytest.param("clip", "also 'clip' is not of the form KIND/NAME", id="no-kind"),
        pytest.param("bridge/memory", "also 'bridge/memory' is of another kind", id="other-kind"),
    ],
)
def test_what_a_spec_reads_also_is_checked(also, message):
    spec = ComponentSpec(
        kind="backbone", name="some", target="some:Some", weights="index", writes=Port("some/image[4]"), also=also
    )
    with pytest.raises(ValueError, match=message):
        check_component(spec)
