"""A decoder that holds a bank of texts beside its own weights."""

from __future__ import annotations

import json

import pytest

from regionkit.core.errors import ConfigError
from regionkit.core.spec import ComponentSpec, Port
from regionkit.registry import load
from regionkit.registry.discovery.spec_checks import check_component
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.provenance import provenance

GOOD = {"backbone": "toy-a", "region_encoder": "toy-pool", "bridge": "toy-none", "decoder": "toy-recall"}
BANK = {"kind": "bridge", "name": "toy-bank", "space": "toy-a/text[4]"}


@pytest.fixture
def recall(toy):
    """Return a project with weights of the decoder, trained on ``toy-texts``."""
    header = {"kind": "decoder", "name": "toy-recall", "space": "toy-a/text[4]", "corpus": "toy-texts"}
    toy.weights("toy_plugin/weights/recall.safetensors", **header)
    return toy


def plan(bank: str = "auto", **parts):
    return plan_pipeline({**GOOD, "decoder": {"name": "toy-recall", "bank": bank}, **parts})


def test_bank_of_its_own_corpus_is_fitted_where_no_file_holds_it(recall):
    found = plan()
    assert found.weights["decoder"].path.stem == "recall"
    assert found.fit_corpus == {"decoder": "toy-texts"}
    assert found.banks == {}
    decoder = load(GOOD, device="cpu").decoder
    assert decoder.fitted[1] == ("a", "bb", "ccc")
    assert decoder.context.bank is None


def test_bank_file_stands_beside_the_weights(recall):
    path = recall.weights("toy_plugin/weights/bank.safetensors", **BANK, corpus="toy-texts")
    found = plan()
    assert {kind: file.path for kind, file in found.banks.items()} == {"decoder": path}
    assert found.weights["decoder"].path.stem == "recall"
    assert found.fit_corpus == {}
    assert "decoder toy-recall: toy-a/text[4], weights recall, memory bank" in found.describe()
    assert found.to_dict()["banks"]["decoder"]["name"] == "bank"
    assert provenance(found)["decoder bank"]["weights"]["file"] == "bank.safetensors"
    decoder = load(GOOD, device="cpu").decoder
    assert decoder.context.bank.path == path
    assert decoder.context.weights.path.stem == "recall"
    assert decoder.fitted is None


def test_its_own_corpus_decides_among_several_banks(recall):
    for corpus in ("others", "toy-texts"):
        recall.weights(f"toy_plugin/weights/bank-{corpus}.safetensors", **BANK, corpus=corpus)
    assert plan().banks["decoder"].path.stem == "bank-toy-texts"
    assert plan("others").banks["decoder"].path.stem == "bank-others"
    assert plan().key("decoder") != plan("others").key("decoder")


def test_a_bank_can_be_named_by_its_file_or_left_out(recall):
    path = recall.weights("elsewhere.safetensors", **BANK, corpus="others")
    assert plan(f"file:{path}").banks["decoder"].path == path
    assert plan("none").banks == {}
    assert plan("none").fit_corpus == {}


def test_refusals_speak_of_the_decoder(recall):
    with pytest.raises(ConfigError) as caught:
        plan("toy-text")
    assert "no bank 'toy-text' of decoder 'toy-recall' in toy-a/text[4]" in str(caught.value)
    assert "did you mean: toy-texts" in str(caught.value)
    for corpus in ("some", "others"):
        recall.weights(f"toy_plugin/weights/bank-{corpus}.safetensors", **BANK, corpus=corpus)
    header = {"kind": "decoder", "name": "toy-recall", "space": "toy-a/text[4]", "corpus": "gone"}
    recall.weights("toy_plugin/weights/recall.safetensors", **header)
    with pytest.raises(ConfigError) as caught:
        plan()
    assert "decoder 'toy-recall' needs a bank, and which one does not follow from the rest" in str(caught.value)
    assert "say which: decoder.bank: NAME" in str(caught.value)


def test_a_text_tower_is_needed_to_fit_it(recall):
    header = {"kind": "decoder", "name": "toy-recall", "space": "toy-mute/image[4]", "corpus": "toy-texts"}
    recall.weights("toy_plugin/weights/mute.safetensors", **header)
    with pytest.raises(ConfigError) as caught:
        plan(backbone="toy-mute", bridge="toy-any")
    assert "decoder 'toy-recall' is to be fitted to 'toy-texts', but the backbone has no text tower" in str(
        caught.value
    )


def test_a_bundle_carries_the_bank(recall):
    recall.weights("toy_plugin/weights/bank.safetensors", **BANK, corpus="toy-texts")
    (recall.folder / "toy-recall.yaml").write_text(json.dumps({"version": 1, **GOOD}))
    result = recall.run("weights", "bundle", "toy-recall.yaml", "--out", "bundle")
    assert result.exit_code == 0, result.output
    files = {path.relative_to(recall.folder / "bundle").as_posix() for path in recall.folder.glob("bundle/*/*")}
    assert files == {"decoder/recall.safetensors", "bridge/bank.safetensors"}
    again = plan_pipeline({**GOOD, "weights": f"file:{recall.folder / 'bundle'}"})
    assert again.banks["decoder"].path.is_relative_to(recall.folder / "bundle")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param({"memory": "toy-bank"}, "memory 'toy-bank' is not of the form KIND/NAME", id="form"),
        pytest.param({"takes": "here/there"}, "takes 'here/there' is not of the form KIND/NAME", id="kind"),
    ],
)
def test_specs_are_checked(more, message):
    spec = ComponentSpec(kind="decoder", name="it", target="a.b:C", reads=Port("any"), **more)
    with pytest.raises(ValueError, match=message):
        check_component(spec)


def test_only_a_decoder_has_a_memory():
    spec = ComponentSpec(
        kind="bridge", name="it", target="a.b:C", reads=Port("any"), writes=Port("same"), memory="bridge/toy-bank"
    )
    with pytest.raises(ValueError, match="only a decoder holds a memory beside its weights"):
        check_component(spec)


def test_a_bank_of_another_space_is_called_a_bank_and_says_how_one_is_made(recall):
    path = recall.weights("elsewhere.safetensors", **{**BANK, "space": "toy-b/text[4]"}, corpus="others")
    with pytest.raises(ConfigError) as caught:
        plan(f"file:{path}")
    message = str(caught.value)
    assert "the bank 'elsewhere' lies in toy-b/text[4], and toy-a/text[4] is needed here" in message
    assert "make one with this backbone: toolkit bank build --backbone NAME --corpus NAME --out FILE" in message
    assert "toolkit train" not in message


def test_a_bridge_that_was_given_a_file_as_its_bank_says_which_option_names_files(recall):
    with pytest.raises(ConfigError) as caught:
        plan(bridge={"name": "toy-bank", "bank": "file:elsewhere.safetensors"})
    assert "name a file with bridge.weights: file:elsewhere.safetensors" in str(caught.value)
