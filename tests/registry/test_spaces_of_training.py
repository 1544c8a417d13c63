"""Spaces that parts make up when they are trained: ``own``, ``next`` and ``blocks`` in ports."""

from pathlib import Path

import pytest
import torch

from regionkit.core.errors import ConfigError
from regionkit.core.weights import WeightHeader, write_weights
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.weights.index import get_index

PROJECTED = {
    "backbone": "mini-dense",
    "region_encoder": {"name": "point-qformer", "hidden": 32, "heads": 4, "weights": "none"},
    "bridge": {"name": "language-projection", "weights": "none"},
    "decoder": {"name": "lm-tokens", "hidden": 48, "heads": 4, "weights": "none"},
}


def plan(**parts):
    return plan_pipeline({**PROJECTED, **parts})


def refusal(**parts) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(**parts)
    return str(caught.value)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Return a function that puts a weight file of a header into $REGIONKIT_WEIGHTS."""
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))

    def put(stem: str, **header) -> Path:
        path = tmp_path / f"{stem}.safetensors"
        write_weights(path, {"w": torch.zeros(1)}, WeightHeader(**header))
        get_registry.cache_clear()
        get_index.cache_clear()
        return path

    yield put
    monkeypatch.undo()
    get_registry.cache_clear()
    get_index.cache_clear()


def test_an_untrained_part_writes_a_space_of_its_own_as_wide_as_its_options_say():
    assert plan().ports["region_encoder"] == ("mini-dense/image[128]", "point-qformer/untrained[32]")


def test_an_untrained_projector_writes_what_its_decoder_reads():
    assert plan().ports["bridge"] == ("point-qformer/untrained[32]", "lm-tokens/untrained[48]")
    assert plan().ports["decoder"] == ("lm-tokens/untrained[48]", "")


def test_a_part_without_a_width_of_its_own_is_as_wide_as_what_it_reads():
    ports = plan(backbone="mini-vit", region_encoder={"name": "focal-prompt", "weights": "none"}).ports
    assert ports["region_encoder"] == ("mini-vit/blocks[96]", "focal-prompt/untrained[96]")


def test_what_works_between_blocks_refuses_a_backbone_without_any():
    text = refusal(region_encoder={"name": "focal-prompt", "weights": "none"})
    assert "region_encoder 'focal-prompt' works between the transformer blocks of a backbone" in text
    assert "backbones that fit here: " in text
    assert "mini-vit" in text


def test_a_projector_refuses_a_decoder_that_has_no_space_of_its_own():
    text = refusal(region_encoder="patch-pool", decoder={"name": "zerocap", "weights": "none"})
    assert "bridge 'language-projection' is made for decoders that read a space of their own" in text


def test_a_decoder_of_pictures_that_gets_none_is_told_before_anything_about_bridges():
    text = refusal(region_encoder="patch-pool", decoder={"name": "vlm", "weights": "none"})
    assert "region_encoder 'patch-pool' writes mini-dense/image[128], but decoder 'vlm' reads views (pictures)" in text
    mute = {"backbone": "colours", "region_encoder": "patch-pool", "bridge": "none"}
    text = refusal(**mute, decoder={"name": "vlm", "weights": "none"})
    assert "region_encoder 'patch-pool' writes colours[4], but decoder 'vlm' reads views (pictures)" in text
    assert "region_encoders that fit here: picture" in text
    text = refusal(**mute, decoder="vlm")  # no weights are here: that is not what keeps picture from fitting
    assert "region_encoders that fit here: picture" in text


def test_a_projector_refuses_an_untrained_decoder_that_does_not_say_its_space():
    text = refusal(region_encoder="patch-pool", decoder={"name": "decap", "weights": "none"})
    assert "decoder 'decap' is untrained and does not say which space it reads" in text


def test_several_tokens_do_not_enter_a_decoder_of_one(shelf):
    shelf("words", kind="decoder", name="decap", space="words[24]")
    text = refusal(decoder={"name": "decap", "weights": "words"})
    assert "bridge 'language-projection' writes several tokens a region, but decoder 'decap' reads one" in text


def test_a_projector_of_one_token_serves_a_decoder_of_one(shelf):
    shelf("words", kind="decoder", name="decap", space="words[24]")
    found = plan(region_encoder="patch-pool", decoder={"name": "decap", "weights": "words"})
    assert found.ports["bridge"] == ("mini-dense/image[128]", "words[24]")


def test_trained_parts_find_each_other_by_the_names_of_their_spaces(shelf):
    encoder = {"kind": "region_encoder", "name": "point-qformer", "space": "mini-dense/image[128]"}
    bridge = {"kind": "bridge", "name": "language-projection"}
    decoder = {"kind": "decoder", "name": "lm-tokens"}
    for run, width in (("one", 32), ("two", 40)):
        queried, spoken = f"point-qformer/{run}[{width}]", f"lm-tokens/{run}[48]"
        shelf(f"{run}-encoder", **encoder, writes=queried, config={"hidden": width, "heads": 4})
        shelf(f"{run}-bridge", **bridge, space=queried, writes=spoken)
        shelf(f"{run}-decoder", **decoder, space=spoken, config={"hidden": 48, "heads": 4})
    trained = {"bridge": "language-projection", "decoder": "lm-tokens"}
    found = plan(region_encoder={"name": "point-qformer", "weights": "two-encoder"}, **trained)
    assert [file.path.stem for file in found.weights.values() if file][1:] == [
        "two-encoder",
        "two-bridge",
        "two-decoder",
    ]
    assert found.parts["region_encoder"].config.hidden == 40
    by_option = plan(region_encoder={"name": "point-qformer", "hidden": 32}, **trained)
    assert by_option.weights["decoder"].path.stem == "one-decoder"


@pytest.mark.parametrize(
    ("bridge", "space"),
    [
        pytest.param({"name": "language-projection", "weights": "none"}, "lm-tokens/run[48]", id="projector"),
        pytest.param({"name": "mlp-downsample", "weights": "none"}, "lm-tokens/run[48]", id="downsampling"),
    ],
)
def test_a_fresh_projector_is_made_for_a_trained_decoder(shelf, bridge, space):
    shelf("frozen", kind="decoder", name="lm-tokens", space="lm-tokens/run[48]", config={"hidden": 48, "heads": 4})
    found = plan(bridge=bridge, decoder={"name": "lm-tokens", "weights": "frozen"})
    assert found.ports["bridge"][1] == found.ports["decoder"][0] == space
