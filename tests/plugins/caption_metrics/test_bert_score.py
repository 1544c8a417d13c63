"""BERTScore against recorded values of the authors' package, and encoders as they are released or should not be."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file
from tiny_encoders import LONGEST, write_bert, write_roberta
from transformers import AutoModel, BertForMaskedLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError, FeatureError, RegionkitError, WeightsError
from regionkit.core.language import encoders
from regionkit.core.language.encoders import FAMILIES, Encoded, load_encoder
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.models.bert_score import BertScore, greedy_f1, token_weights
from regionkit.plugins.caption_metrics.models.configs import BertScoreConfig
from regionkit.plugins.caption_metrics.models.encoder_layouts import read_bert
from regionkit.registry.assembly import build

param = pytest.param
RECORDED = json.loads((Path(__file__).parents[2] / "golden/caption_metrics/bert_score.json").read_text("utf-8"))
UNTRAINED = BertScoreConfig(weights="none", layer=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("encoders")
    return {"bert": write_bert(place / "bert"), "roberta": write_roberta(place / "roberta")}


@pytest.fixture
def folder(folders, tmp_path):
    """A copy of the BERT, to be spoilt."""
    return Path(shutil.copytree(folders["bert"], tmp_path / "spoilt"))


def samples_of(references):
    return [Sample(str(at), str(at), WholeImage(), tuple(texts)) for at, texts in enumerate(references)]


def judged(metric, captions, references):
    metric.update(samples_of(references), captions)
    return metric.compute()


def metric_of(folder, layer=2, **options):
    return build("metric", {"name": "bert-score", "weights": f"file:{folder}", "layer": layer, **options})


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda one: "{encoder} {layer} {idf} {baseline}".format(**one))
def test_f1_is_that_of_the_authors_package(case, folders):
    options = {name: case[name] for name in ("layer", "idf", "baseline")}
    score = judged(metric_of(folders[case["encoder"]], **options), RECORDED["captions"], RECORDED["references"])
    assert_allclose(score.per_sample, case["f1"], rtol=0, atol=2e-6)
    assert score.value == pytest.approx(np.mean(case["f1"]), abs=2e-6)


def test_a_case_by_hand():
    caption, reference = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    equal, last = torch.ones(2), torch.tensor([0.0, 1.0])
    assert greedy_f1(caption, equal, reference, equal) == pytest.approx(0.9)
    # What weighs nothing may be matched all the same: the caption's first token finds its like.
    assert greedy_f1(caption, equal, reference, last) == pytest.approx(2 * 0.9 * 0.8 / 1.7)
    assert greedy_f1(caption, torch.zeros(2), reference, equal) == 0
    assert greedy_f1(caption[:1], torch.ones(1), caption[1:], torch.ones(1)) == 0


def test_tokens_weigh_by_their_rarity_and_special_ones_nothing():
    text = Encoded((2, 7, 9, 3), torch.zeros(4, 1), torch.tensor([False, True, True, False]))
    assert token_weights(text).tolist() == [0, 1, 1, 0]
    assert token_weights(text, {2: 0.5, 7: 0.25, -1: 4.0}).tolist() == [0, 0.25, 4, 0]


def test_the_best_reference_counts(folders):
    captions, references = ["a red dog", "the tree"], [["a blue hat", "a red cat"], ["water", "a tree", "old"]]
    together = judged(metric_of(folders["bert"]), captions, references).per_sample
    for row, texts in enumerate(references):
        alone = [judged(metric_of(folders["bert"]), captions[row : row + 1], [[text]]).value for text in texts]
        assert together[row] == pytest.approx(max(alone), abs=1e-6)
        assert len({round(one, 4) for one in alone}) == len(alone)


def test_rarity_is_that_in_all_references_of_the_run_however_they_were_dealt_out(folders):
    captions, samples = RECORDED["captions"], samples_of(RECORDED["references"])
    metric = metric_of(folders["bert"], layer=3, idf=True)
    for at, sample in enumerate(samples):
        metric.update([sample], captions[at : at + 1])
        metric.compute()
    assert_allclose(metric.compute().per_sample, RECORDED["cases"][1]["f1"], rtol=0, atol=2e-6)


def test_the_signature_says_what_the_value_depends_on(folders, tmp_path):
    signature = judged(metric_of(folders["bert"]), ["a"], [["a"]]).signature
    digest = signature.split("weights=")[1][:12]
    assert signature == (
        f"bert-score|value=f1|model=bert-2x32|weights={digest}|layer=2|idf=none|rescale=none|references=best|n=1"
    )
    same = Path(shutil.copytree(folders["bert"], tmp_path / "another name"))
    state = load_file(same / "model.safetensors")
    (same / "model.safetensors").unlink()
    torch.save(state, same / "pytorch_model.bin")
    assert judged(metric_of(same), ["a"], [["a"]]).signature == signature
    changed = {**state, "encoder.layer.1.output.dense.bias": state["encoder.layer.1.output.dense.bias"] + 1}
    torch.save(changed, same / "pytorch_model.bin")
    assert f"weights={digest}" not in judged(metric_of(same), ["a"], [["a"]]).signature
    told = judged(metric_of(folders["bert"], idf=True, baseline=0.5), ["a"], [["a"]]).signature
    assert "|idf=references of this run|rescale=0.5|" in told


@pytest.mark.parametrize("config", [UNTRAINED, dataclasses.replace(UNTRAINED, idf=True)], ids=["plain", "idf"])
def test_it_keeps_what_metrics_promise(config):
    check_metric(lambda: BertScore.build(config, BuildContext()))


def test_strange_captions_are_judged_and_change_no_neighbour(folders):
    strange = ["a\rdog", "a\x0bb\x0cc\u2028d", "a ||| b", "\ud800 dog", "", "word " * 10_000, "😀", "[SEP] [MASK]", "a"]
    references = [["a red dog", ""]] * len(strange)
    together = judged(metric_of(folders["bert"]), strange, references).per_sample
    alone = [judged(metric_of(folders["bert"]), [text], [["a red dog", ""]]).value for text in strange]
    assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all()
    assert together[4] == 0


# ---------------------------------------------------------------- encoders


def test_a_text_is_read_between_special_tokens_and_special_tokens_in_it_are_words(folders):
    encoder = load_encoder("bert-score", metric_of(folders["bert"]).weights)
    assert encoder.ids("") == encoder.ids("  ") == (2, 3)
    assert encoder.ids("a [SEP]").count(3) == 1
    assert len(encoder.ids("dog " * 100)) == LONGEST
    assert encoder.ids("dog " * 100)[-1] == 3


def test_what_a_text_looks_like_does_not_depend_on_its_batch_mates(folders):
    encoder = load_encoder("bert-score", metric_of(folders["roberta"]).weights)
    texts = ["a", "a red dog and a red dog", "", "dog"]
    for text, together in zip(texts, encoder.encode(texts), strict=True):
        (alone,) = encoder.encode([text])
        torch.testing.assert_close(together.states, alone.states, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_leaving_out_the_last_blocks_leaves_the_states_before_as_they_are(family, folder):
    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    names = {"distilbert": {"hidden_dim": 48}, "albert": {"embedding_size": 16}, "electra": {"embedding_size": 16}}
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = CONFIG_MAPPING[family](
        vocab_size=vocabulary, pad_token_id=0, max_position_embeddings=64, **sizes, **names.get(family, {})
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    encoder = load_encoder("bert-score", metric_of(folder).weights, layers=2)
    (found,) = encoder.encode(["a red dog"])
    with torch.inference_mode():
        wanted = model(torch.tensor([found.ids]), output_hidden_states=True).hidden_states
    torch.testing.assert_close(found.states, wanted[2][0], rtol=0, atol=1e-5)
    assert not torch.allclose(found.states, wanted[3][0], atol=1e-3)


@pytest.mark.parametrize("old", [False, True], ids=["today's names", "names of old"])
def test_heads_and_prefixes_of_a_release_change_nothing(old, folders, folder):
    config = CONFIG_MAPPING["bert"](**json.loads((folder / "config.json").read_text()))
    whole = BertForMaskedLM(config)
    whole.bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    if old:
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        state = {
            next((name.replace(new, was) for new, was in names.items() if name.endswith(new)), name): tensor
            for name, tensor in state.items()
        }
        state["bert.embeddings.position_ids"] = torch.arange(LONGEST)[None]
    save_file(state, folder / "model.safetensors")
    case = ["a red dog"], [["an old dog", "a cat"]]
    assert judged(metric_of(folder), *case) == judged(metric_of(folders["bert"]), *case)


def test_an_encoder_is_read_once_and_again_when_its_file_changes(folder, monkeypatch):
    monkeypatch.setattr(encoders, "_LOADED", type(encoders._LOADED)())
    first = load_encoder("bert-score", metric_of(folder).weights, layers=2)
    assert load_encoder("bert-score", metric_of(folder).weights, layers=2) is first
    doubled = {name: tensor * 2 for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**doubled, "pooler.more": torch.ones(1)}, folder / "model.safetensors")
    assert load_encoder("bert-score", metric_of(folder).weights, layers=2).digest != first.digest
    for layers in (1, 2, 3):
        load_encoder("bert-score", metric_of(folder).weights, layers=layers)
    assert len(encoders._LOADED) == 2


# ---------------------------------------------------------------- faults


def without(name):
    return lambda folder: (folder / name).unlink()


def rewritten(name, change):
    def spoil(folder):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return spoil


def configured(**fields):
    return rewritten("config.json", lambda said: said | fields)


def retensored(change):
    def spoil(folder):
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        param(without("config.json"), "there is no config.json in this folder", id="no config"),
        param(rewritten("config.json", lambda said: []), "config.json: unreadable: ValueError", id="no mapping"),
        param(configured(model_type="gpt2"), "describes a model of family 'gpt2'", id="family"),
        param(configured(hidden_size=33), "no encoder can be made of its config.json", id="sizes"),
        param(configured(intermediate_size=47), "the weights do not fit BertModel", id="shape"),
        param(configured(num_hidden_layers=2), "left over: encoder.layer.2", id="more blocks than it says"),
        param(retensored(lambda all_: dict(list(all_.items())[3:])), "missing: embeddings", id="tensors missing"),
        param(retensored(lambda all_: all_ | {"strange.x": torch.ones(1)}), "left over: strange", id="left over"),
        param(retensored(lambda all_: {k: v * torch.nan for k, v in all_.items()}), "holds NaN", id="NaN"),
        param(rewritten("tokenizer.json", lambda said: {}), "its tokenizer cannot be read", id="tokenizer damaged"),
        param(rewritten("tokenizer.json", lambda said: said | {"post_processor": None}), "two special", id="bare"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(spoil, sentence, folder):
    spoil(folder)
    with pytest.raises(WeightsError, match=sentence):
        read_bert({"model": folder}, BertScoreConfig())


def test_a_tokenizer_of_another_model_is_refused(folder, folders):
    shutil.copy(folders["roberta"] / "tokenizer.json", folder / "tokenizer.json")
    with pytest.raises(WeightsError, match="its tokenizer has more ids than its encoder has word embeddings"):
        read_bert({"model": folder}, BertScoreConfig())


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    with pytest.raises(WeightsError, match="reads a folder with config"):
        read_bert({"model": folder / "model.safetensors"}, BertScoreConfig())


def test_blocks_that_are_not_there_are_refused_before_anything_is_judged(folder):
    with pytest.raises(WeightsError, match="layer: 17 was asked for, and the encoder spoilt has 3") as error:
        metric_of(folder, layer=17)
    assert "17 for RoBERTa-large" in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        param({"layer": 0}, "layer: 0 must be 1 or more", id="layer"),
        param({"baseline": 1.0}, "baseline: 1.0 must be a cosine below 1", id="baseline"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(RegionkitError, match=sentence):
        build("metric", {"name": "bert-score", "weights": "none", **options})


def test_it_never_judges_untrained_unless_told_to():
    with pytest.raises(WeightsError, match="no weights were chosen for it") as error:
        BertScore.build(BertScoreConfig(), BuildContext())
    assert "toolkit weights pull bert-score" in str(error.value)


@pytest.mark.parametrize(
    ("caption", "references", "sentence"),
    [
        param("a", (), "bert-score: sample 'x' has no reference caption", id="no reference"),
        param(None, ("a",), "bert-score: the caption of sample 'x' is None, and must be text", id="no caption"),
    ],
)
def test_what_a_sample_lacks_is_said_by_its_id(caption, references, sentence):
    sample = dataclasses.replace(example_samples(1)[0], id="x", references=references)
    with pytest.raises(DataError, match=sentence):
        BertScore(UNTRAINED).update([sample], [caption])


def test_an_encoder_that_gives_nan_is_refused_by_name(folders):
    found = load_encoder("bert-score", metric_of(folders["bert"]).weights)
    encoder = encoders.TextEncoder("bert-score: the encoder x", found.model, found.tokenizer, found.reading)
    encoder.model = lambda input_ids, **_: SimpleNamespace(
        last_hidden_state=torch.full((*input_ids.shape, 4), torch.nan)
    )
    with pytest.raises(
        FeatureError, match="bert-score: the encoder x gave NaN or infinite values for the text 'a dog'"
    ):
        encoder.encode(["a dog"])
