from __future__ import annotations

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import ConfigError, DataError, FeatureError, MissingExtra, RegionkitError, RunFailed
from regionkit.core.regions import Box
from regionkit.registry import load
from regionkit.registry.assembly import build, build_part, build_pipeline, component_class, pick_device
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.schema import fill

GOOD = {"backbone": "toy-a", "region_encoder": "toy-pool", "bridge": "toy-none", "decoder": "toy-fixed"}
BANK = {**GOOD, "bridge": {"name": "toy-bank", "bank": "toy-texts"}}


def parts():
    """The module of the toy plugin as it is imported now."""
    import sys

    return sys.modules["toy_plugin.parts"]


def cache_files(project):
    return list((project.folder / "cache/banks").glob("*.safetensors"))


def test_load_assembles_and_captions(toy):
    pipeline = load("toy", device="cpu")
    image = Image.new("RGB", (8, 8))
    assert [caption.text for caption in pipeline.caption(image, [Box(0, 0, 4, 4), Box(1, 1, 8, 8)])] == ["4", "4"]
    assert pipeline.bridge.context.reads == "toy-a/image[4]"
    assert pipeline.bridge.context.writes == "toy-a/text[4]"
    assert pipeline.decoder.context.backbone is pipeline.backbone
    assert not pipeline.decoder.training


def test_load_takes_overrides(toy):
    assert load("toy", overrides=["backbone.resolution=32"], device="cpu").backbone.config.resolution == 32
    with pytest.raises(ConfigError, match=r"--set backbone\.resolutoin"):
        load("toy", overrides=["backbone.resolutoin=32"], device="cpu")


def test_chosen_weights_reach_the_part(toy):
    header = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]", "config": {"hidden": 99}}
    path = toy.weights("toy_plugin/weights/words.safetensors", **header)
    decoder = load({**GOOD, "decoder": "toy-words"}, device="cpu").decoder
    assert decoder.context.weights.path == path
    assert decoder.config.hidden == 99
    assert set(decoder.context.weights.tensors()) == {"w"}


def test_parts_are_reused_by_key(toy):
    reuse = {}
    first = build_pipeline(plan_pipeline(GOOD), device="cpu", reuse=reuse)
    second = build_pipeline(plan_pipeline({**GOOD, "bridge": "none"}), device="cpu", reuse=reuse)
    assert second.backbone is first.backbone
    assert second.region_encoder is first.region_encoder
    assert second.bridge is not first.bridge
    assert len(reuse) == 5


def test_missing_extra_is_told_before_anything_is_built(toy):
    plan = plan_pipeline(GOOD)
    lacking = fill("decoder", "toy-extra")
    broken = type(plan)(**{**vars(plan), "parts": {**plan.parts, "decoder": lacking}})
    reuse = {}
    with pytest.raises(MissingExtra) as caught:
        build_pipeline(broken, device="cpu", reuse=reuse)
    assert str(caught.value).splitlines() == [
        "decoder 'toy-extra' needs the package 'not_there_at_all', which is not installed",
        "  install it with: pip install 'regionkit[toys]'",
    ]
    assert reuse == {}
    with pytest.raises(MissingExtra):
        build_part(lacking, BuildContext())


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        pytest.param("recipe", "toy-recipe", "toy_plugin.parts:ToyRecipe does not implement Recipe", id="contract"),
        pytest.param("bridge", "gone", "the code of bridge 'gone' cannot be imported: ModuleNotFound", id="module"),
    ],
)
def test_broken_target_blames_its_plugin(toy, kind, name, wanted):
    toy.plugin(
        "gone_pkg",
        "from regionkit.core.plugin import hookimpl\nfrom regionkit.core.spec import ComponentSpec, Port\n"
        "@hookimpl\ndef regionkit_components():\n"
        "    return [ComponentSpec('bridge', 'gone', 'gone_pkg_code:X', reads=Port('any'), writes=Port('same'))]\n",
    )
    with pytest.raises(RegionkitError, match=wanted) as caught:
        build(kind, name)
    assert "this is a fault of plugin " in str(caught.value)


def test_single_components_are_built_by_name(toy):
    assert build("metric", {"name": "toy-metric", "order": 2}).config.order == 2
    context = build("dataset", "toy-data", seed=3).context
    assert (context.seed, context.weights) == (3, None)
    with pytest.raises(ConfigError, match="did you mean: order"):
        build("metric", {"name": "toy-metric", "ordr": 2})


def test_single_components_get_their_weights(toy):
    toy.weights("toy_plugin/weights/w.safetensors", kind="decoder", name="toy-words", space="toy-b/text[4]")
    assert build("decoder", "toy-words", reads="toy-b/text[4]").context.weights.path.stem == "w"
    assert build("decoder", "toy-words", reads="toy-b/text[4]", weights=None).context.weights is None


def test_bank_is_fitted_once_and_cached(toy):
    bridge = load(BANK, device="cpu").bridge
    embeddings, texts = bridge.fitted
    assert texts == ("a", "bb", "ccc")
    assert embeddings.tolist() == [[1, 1, 0, 0], [2, 1, 0, 0], [3, 1, 0, 0]]
    assert parts().ToyBackbone.text_calls == 1
    assert len(cache_files(toy)) == 1
    assert torch.equal(load(BANK, device="cpu").bridge.fitted[0], embeddings)
    assert parts().ToyBackbone.text_calls == 1
    other = load({**BANK, "backbone": {"name": "toy-a", "resolution": 16}}, device="cpu")
    assert torch.equal(other.bridge.fitted[0], embeddings)
    assert parts().ToyBackbone.text_calls == 2  # another backbone, another bank


def test_generated_corpus_is_not_made_again_for_a_cached_bank(toy):
    first = load(BANK, device="cpu").bridge.fitted
    parts().ToyCorpus.generated = True
    load(BANK, device="cpu")  # another key: options and code instead of the texts
    parts().ToyCorpus.texts = lambda self: pytest.fail("the sentences were made again")
    embeddings, texts = load(BANK, device="cpu").bridge.fitted
    assert torch.equal(embeddings, first[0])
    assert texts == first[1]
    assert len(cache_files(toy)) == 2


def test_changed_text_of_a_corpus_is_another_bank(toy):
    load(BANK, device="cpu")
    parts().ToyCorpus.texts = lambda self: ["a", "bb", "cccc"]
    assert load(BANK, device="cpu").bridge.fitted[0][2].tolist() == [4, 1, 0, 0]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None], ids=["empty", "nonsense", "other-rows"])
def test_damaged_cache_is_computed_again(toy, damage):
    from safetensors.torch import save_file

    wanted = load(BANK, device="cpu").bridge.fitted[0]
    (path,) = cache_files(toy)
    if damage is None:
        texts = torch.frombuffer(bytearray(b'["a", "bb", "ccc"]'), dtype=torch.uint8)
        save_file({"embeddings": torch.zeros(2, 4), "texts": texts}, path)
    else:
        path.write_bytes(damage)
    assert torch.equal(load(BANK, device="cpu").bridge.fitted[0], wanted)
    assert parts().ToyBackbone.text_calls == 2
    assert torch.equal(load(BANK, device="cpu").bridge.fitted[0], wanted)
    assert parts().ToyBackbone.text_calls == 2


def test_cache_that_cannot_be_written_costs_nothing_but_time(toy, monkeypatch):
    toy({"a-file": "x"})
    monkeypatch.setenv("REGIONKIT_CACHE", str(toy.folder / "a-file"))
    assert load(BANK, device="cpu").bridge.fitted[0].shape == (3, 4)


def test_large_corpus_is_embedded_in_batches(toy):
    load(BANK, device="cpu")
    parts().ToyCorpus.texts = lambda self: [f"text {number}" for number in range(2500)]
    before = parts().ToyBackbone.text_calls
    assert load(BANK, device="cpu").bridge.fitted[0].shape == (2500, 4)
    assert parts().ToyBackbone.text_calls - before == 3


def test_empty_corpus_and_bad_embeddings_are_errors(toy):
    load(BANK, device="cpu")
    parts().ToyCorpus.texts = lambda self: []
    with pytest.raises(DataError, match="corpus 'toy-texts' is empty"):
        load(BANK, device="cpu")
    parts().ToyCorpus.texts = lambda self: ["good", "bad"]
    parts().ToyBackbone.encode_text = lambda self, texts: torch.tensor([[1.0], [float("nan")]])
    with pytest.raises(FeatureError, match="NaN or infinite values for 'bad'"):
        load(BANK, device="cpu")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        pytest.param("cdua", "no device named 'cdua'\n  did you mean: cuda", id="typo"),
        pytest.param("cuda:99", "device '?cuda", id="index"),
    ],
)
def test_unknown_device_is_an_error(name, wanted):
    with pytest.raises(RegionkitError, match=wanted):
        pick_device(name)


def test_automatic_device_is_there():
    assert pick_device("cpu") == torch.device("cpu")
    torch.zeros(1, device=pick_device("auto"))


def test_code_of_the_backbone_is_part_of_what_a_bank_is_kept_for(toy, monkeypatch):
    load(BANK, device="cpu")
    monkeypatch.setattr("regionkit.registry.registry.Registry.code_version", lambda *_: "changed")
    load(BANK, device="cpu")
    assert parts().ToyBackbone.text_calls == 2
    assert len(cache_files(toy)) == 2


def test_a_full_disk_costs_the_cache_and_nothing_else(toy, monkeypatch):
    def full(*_args, **_more):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("regionkit.registry.weights.banks.save_file", full)
    assert load(BANK, device="cpu").bridge.fitted[1] == ("a", "bb", "ccc")
    assert cache_files(toy) == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: you tried"), RuntimeError("no")])
def test_a_part_that_does_not_fit_into_memory_is_no_bug(toy, monkeypatch, error):
    part = fill("decoder", "toy-words")

    def fails(*_):
        raise error

    monkeypatch.setattr(component_class(part.spec), "build", fails)
    if str(error) == "no":
        with pytest.raises(RegionkitError, match="decoder 'toy-words' cannot be built: RuntimeError: no") as told:
            build_part(part, BuildContext())
        assert told.value.__cause__ is error
        return
    with pytest.raises(RunFailed, match="decoder 'toy-words' does not fit into memory") as caught:
        build_part(part, BuildContext())
    assert "check the sizes among its options" in str(caught.value)
