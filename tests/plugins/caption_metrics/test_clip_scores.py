"""CLIPScore, PAC-S and both with references: recorded official values, cases by hand, views, released layouts."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import ConfigError, DataError, FeatureError
from regionkit.core.regions import Box
from regionkit.core.testing import GridBackbone, Recast, SampleData, check_metric, example_samples, picture
from regionkit.core.visual_prompts import render
from regionkit.plugins.caption_metrics.models import judge as judging
from regionkit.plugins.caption_metrics.models.clip_scores import ClipScore, PacScore, RefClipScore, RefPacScore
from regionkit.plugins.caption_metrics.models.configs import (
    ClipScoreConfig,
    PacScoreConfig,
    RefClipScoreConfig,
    RefPacScoreConfig,
)
from regionkit.plugins.caption_metrics.models.formulas import (
    best_reference,
    cosines,
    picture_score,
    with_references,
)
from regionkit.plugins.caption_metrics.models.judge import centre_square
from regionkit.registry.assembly import build
from regionkit.registry.metrics import MetricRef
from regionkit.registry.schema import fill

param = pytest.param
GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "metrics" / "clip_pac_formula.npz"
ALL = [
    param(ClipScore, ClipScoreConfig("grid"), id="clipscore"),
    param(ClipScore, ClipScoreConfig("grid", variant="vizer"), id="clipscore vizer"),
    param(RefClipScore, RefClipScoreConfig("grid"), id="ref-clipscore"),
    param(PacScore, PacScoreConfig("grid"), id="pac-s"),
    param(RefPacScore, RefPacScoreConfig("grid"), id="ref-pac-s"),
    param(RefPacScore, RefPacScoreConfig("grid", variant="patchioner"), id="ref-pac-s patchioner"),
]


def made(cls, config, backbone=None, dataset=None):
    parts = {"backbone": backbone or GridBackbone(), "dataset": dataset or SampleData()}
    return cls.build(config, BuildContext(parts=parts, hashes={"backbone": "0123456789abcdef"}))


def judged(metric, samples, captions):
    metric.update(samples, captions)
    return metric.compute()


def seen(image, backbone=None):
    return (backbone or GridBackbone()).encode([image]).cls.double().numpy()


def said(text, backbone=None):
    return (backbone or GridBackbone()).encode_text([text]).double().numpy()


# ---------------------------------------------------------------- formulas


@pytest.mark.skipif(not GOLDEN.exists(), reason="recorded values of the official code are not here: ../shared/golden")
def test_the_formulas_give_the_official_values():
    with np.load(GOLDEN) as golden:
        image, caption, references, counts = (golden[key] for key in ("image", "cand", "refs", "nref"))
        wanted = {key: golden[key] for key in ("maxref", "clip", "refclip", "pac", "refpac")}
    image, caption, references = (array.astype(np.float64) for array in (image, caption, references))
    best = best_reference(caption, references, np.repeat(np.arange(len(counts)), counts))
    clip, pac = picture_score(image, caption, 2.5), picture_score(image, caption, 2.0)
    found = {
        "maxref": best,
        "clip": clip,
        "refclip": with_references(clip, best),
        "pac": pac,
        "refpac": with_references(pac, best),
    }
    for key, values in found.items():
        assert_allclose(values, wanted[key], rtol=0, atol=1e-6, err_msg=key)


def test_a_case_by_hand():
    image, caption = np.array([[3.0, 4.0]]), np.array([[2.0, 0.0]])
    references = np.array([[0.0, 1.0], [1.0, 1.0]])
    score = picture_score(image, caption, 2.5)
    best = best_reference(caption, references, np.array([0, 0]))
    assert_allclose(score, [2.5 * 0.6])
    assert_allclose(best, [np.sqrt(0.5)])
    assert_allclose(with_references(score, best), [2 * 1.5 * np.sqrt(0.5) / (1.5 + np.sqrt(0.5))])


@pytest.mark.parametrize(
    ("score", "best", "wanted"),
    [
        param(0.0, 0.0, 0.0, id="both 0: nan in the official code"),
        param(0.25, -0.25, 0.0, id="sum 0: infinite in the official code"),
        param(0.0, 0.7, 0.0, id="fits the references alone"),
        param(0.5, -0.25, -1.0, id="a negative cosine is not cut, as in the official code"),
    ],
)
def test_with_references_is_finite_and_as_documented(score, best, wanted):
    assert with_references(np.array([score]), np.array([best])) == pytest.approx([wanted])


def test_a_null_vector_is_like_nothing():
    some, null = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    assert cosines(null, some) == cosines(some, null) == cosines(null, null) == 0


_VECTORS = st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=6)


@settings(max_examples=30, deadline=None)
@given(_VECTORS, st.floats(0.01, 100))
def test_lengths_and_the_order_of_references_do_not_matter_and_more_references_never_hurt(rows, scale):
    caption, references = np.array([rows[0]], dtype=float), np.array(rows[1:], dtype=float)
    owner = np.zeros(len(references), dtype=np.int64)
    best = best_reference(caption, references, owner)
    assert_allclose(best_reference(scale * caption, references[::-1] / scale, owner), best, atol=1e-9)
    assert best >= best_reference(caption, references[:1], owner[:1]) - 1e-12
    score = picture_score(references[:1], caption, 2.5)
    assert 0 <= score <= 2.5 + 1e-9
    assert np.isfinite(with_references(score, best)).all()


# ---------------------------------------------------------------- metrics


def test_scores_are_those_of_the_formulas_with_the_prefix_on_captions_and_references():
    samples, captions = example_samples(4), ["red", "a blue dog", "", "green green"]
    seen_by = np.concatenate([seen(centre_square(SampleData().image(one.image_id), 32)) for one in samples])
    read = np.concatenate([said(f"A photo depicts {text}") for text in captions])
    bare = np.concatenate([said(text) for text in captions])
    best = [
        max(cosines(read[[row]], said(f"A photo depicts {text}"))[0] for text in sample.references)
        for row, sample in enumerate(samples)
    ]
    clip, pac = picture_score(seen_by, read, 2.5), picture_score(seen_by, read, 2.0)
    wanted = {
        "clipscore": clip,
        "clipscore vizer": cosines(seen_by, bare),
        "ref-clipscore": with_references(clip, np.array(best)),
        "pac-s": pac,
        "ref-pac-s": with_references(pac, np.array(best)),
        "ref-pac-s patchioner": np.array(best),
    }
    for case in ALL:
        score = judged(made(*case.values), samples, captions)
        assert_allclose(score.per_sample, wanted[case.id], atol=1e-6, err_msg=case.id)
        assert score.value == pytest.approx(np.mean(wanted[case.id]), abs=1e-6)


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        param(
            ALL[0],
            "clipscore|variant=official|backbone=grid|weights=0123456789ab|prefix=A photo depicts|view=whole|pixels=32"
            "|w=2.5|cut=0|n=2",
            id="clipscore",
        ),
        param(
            ALL[1],
            "clipscore|variant=vizer|backbone=grid|weights=0123456789ab|prefix=none|view=whole|pixels=32|w=1|n=2",
            id="vizer",
        ),
        param(
            ALL[4],
            "ref-pac-s|variant=official|backbone=grid|weights=0123456789ab|prefix=A photo depicts|view=whole|pixels=32"
            "|w=2.0|references=best|n=2",
            id="ref-pac-s",
        ),
        param(
            ALL[5],
            "ref-pac-s|variant=patchioner|backbone=grid|weights=0123456789ab|prefix=A photo depicts|references=best"
            "|strip=blanks,stops|n=2",
            id="patchioner",
        ),
    ],
)
def test_the_signature_says_what_the_value_depends_on(case, wanted):
    assert judged(made(*case.values), example_samples(2), ["red", "blue"]).signature == wanted


def test_options_of_the_backbone_are_in_the_signature_and_paths_are_not():
    config = ClipScoreConfig({"name": "grid", "weights": "file:/somewhere/x.pt", "model": "vit-b32"})
    assert "|backbone=grid(model:vit-b32)|weights=0123456789ab|" in judged(made(ClipScore, config), [], []).signature


class Agreeing(GridBackbone):
    """Sees in each picture of a sample what its first reference says, so that right captions fit the picture too."""

    def encode(self, images):
        right = {
            centre_square(SampleData().image(one.image_id), 32).tobytes(): one.references[0]
            for one in example_samples()
        }
        texts = [f"A photo depicts {right[image.tobytes()]}" for image in images]
        return dataclasses.replace(super().encode(images), cls=self.encode_text(texts))


@pytest.mark.parametrize(("cls", "config"), ALL)
def test_it_keeps_what_metrics_promise(cls, config):
    check_metric(lambda: made(cls, config, Agreeing()))


def test_the_patchioner_variant_needs_no_pictures():
    class NoPictures(SampleData):
        def image(self, image_id):
            raise AssertionError("looked at a picture")

    backbone = GridBackbone()
    config = RefPacScoreConfig("grid", variant="patchioner")
    with_data = judged(made(RefPacScore, config, backbone, NoPictures()), example_samples(3), ["red"] * 3)
    alone = RefPacScore.build(config, BuildContext(parts={"backbone": backbone}))
    assert judged(alone, example_samples(3), ["red"] * 3).per_sample == with_data.per_sample
    assert judged(alone, example_samples(3), [" red .", "red.", "red ."]).per_sample == with_data.per_sample * 2
    assert backbone.encoded == 0
    assert alone.needs == ("references",)  # so that it is not refused where there are no pictures
    assert made(RefPacScore, RefPacScoreConfig("grid")).needs == RefPacScore.needs == ("references", "image")
    with pytest.raises(ValueError, match="the variant patchioner looks at no picture"):
        RefPacScoreConfig("grid", variant="patchioner", view="crop")


@pytest.mark.parametrize(("view", "style"), [("whole", "whole"), ("crop", "crop"), ("drawn-box", "box")])
def test_a_region_is_shown_as_its_view_says(view, style):
    box = Box(4, 5, 30, 41)
    sample = dataclasses.replace(example_samples(1)[0], region=box)
    image = SampleData().image("image-0")
    wanted = cosines(seen(centre_square(render(image, box, style), 32)), said("red"))
    score = judged(made(ClipScore, ClipScoreConfig("grid", "vizer", view)), [sample], ["red"])
    assert score.per_sample == pytest.approx(wanted, abs=1e-6)
    assert f"|view={view}|" in score.signature


# ---------------------------------------------------------------- what is seen once


def test_metrics_of_one_backbone_look_at_each_picture_and_read_each_sentence_once():
    backbone, samples = Counting(), example_samples(3)
    several = [dataclasses.replace(one, id=f"{one.id}-{again}") for one in samples for again in range(3)]
    captions = [f"a red {number % 2}" for number in range(9)]
    first = [judged(made(*case.values, backbone), several, captions) for case in (ALL[0], ALL[2], ALL[4])]
    assert backbone.encoded == 3
    assert len(backbone.read) == len(set(backbone.read)) == 2 + 6
    assert [judged(made(*case.values, Counting()), several, captions) for case in (ALL[0], ALL[2], ALL[4])] == first


def test_another_picture_under_the_same_name_and_another_backbone_are_looked_at_anew():
    class Other(SampleData):
        def image(self, image_id):
            return picture(seed=77)

    backbone = GridBackbone()
    config, one = ClipScoreConfig("grid", variant="vizer"), (example_samples(1), ["red"])
    here = judged(made(ClipScore, config, backbone), *one)
    there = judged(made(ClipScore, config, backbone, Other()), *one)
    assert here.value != there.value
    assert backbone.encoded == 2
    other = Recast(backbone, lambda vectors: vectors + 1)
    assert judged(made(ClipScore, config, other), *one).value not in (here.value, there.value)


def test_memory_is_bounded_and_ends_with_the_backbone(monkeypatch):
    monkeypatch.setattr(judging, "_REMEMBERED", 4)
    backbone, samples = GridBackbone(), example_samples(6)
    score = judged(made(ClipScore, ALL[0].values[1], backbone), samples, ["red"] * 6)
    assert score == judged(made(ClipScore, ALL[0].values[1]), samples, ["red"] * 6)
    memory = judging._memory_of(backbone)
    assert len(memory.pictures._rows) == 4
    before = len(judging._MEMORIES)
    del backbone, memory
    gc.collect()
    assert len(judging._MEMORIES) < before


class Counting(GridBackbone):
    """Notes the sentences that it reads."""

    def __init__(self):
        super().__init__()
        self.read = []

    def encode_text(self, texts):
        self.read += texts
        return super().encode_text(texts)


# ---------------------------------------------------------------- faults


class Spoilt(GridBackbone):
    """Pictures or sentences become NaN."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def encode(self, images):
        found = super().encode(images)
        return dataclasses.replace(found, cls=found.cls * torch.nan) if self.what == "pictures" else found

    def encode_text(self, texts):
        return super().encode_text(texts) * (torch.nan if self.what == "sentences" else 1)


@pytest.mark.parametrize(
    ("backbone", "sentence"),
    [
        param(lambda: GridBackbone(text=False), "and backbone 'grid' has no text tower", id="no text tower"),
        param(lambda: GridBackbone(cls=False), "reads the class token, and backbone 'grid' has none", id="no cls"),
        param(lambda: Spoilt("pictures"), "backbone 'grid' gave NaN or infinite values for pictures", id="pictures"),
        param(lambda: Spoilt("sentences"), "backbone 'grid' gave NaN or infinite values for sente", id="sentences"),
    ],
)
def test_a_backbone_that_cannot_judge_is_refused_by_name(backbone, sentence):
    with pytest.raises(FeatureError, match=f"ref-clipscore.*{sentence}"):
        judged(made(RefClipScore, RefClipScoreConfig("grid"), backbone()), example_samples(2), ["red", "blue"])


@pytest.mark.parametrize(
    ("change", "caption", "sentence"),
    [
        param({"image_id": "nowhere"}, "red", "the picture of sample '0': there is no picture 'nowhere'", id="picture"),
        param({"region": Box(900, 900, 950, 950)}, "red", "the picture of sample '0': .*outside", id="region outside"),
        param({"references": ()}, "red", "sample '0' has no reference caption to be held against", id="no reference"),
        param({}, None, "the caption of sample '0' is None, and must be text", id="no text"),
        param({"references": ("a", None)}, "red", "the reference of sample '0' is None", id="reference"),
    ],
)
def test_what_a_sample_lacks_is_said_by_its_id(change, caption, sentence):
    sample = dataclasses.replace(example_samples(1)[0], **change)
    metric = made(RefClipScore, RefClipScoreConfig("grid", view="crop"))
    with pytest.raises(DataError, match=f"ref-clipscore: {sentence}"):
        judged(metric, [sample], [caption])


@pytest.mark.parametrize("lacking", ["backbone", "dataset"])
def test_it_says_what_it_was_not_given(lacking):
    parts = {"backbone": GridBackbone(), "dataset": SampleData()}
    del parts[lacking]
    with pytest.raises(DataError, match=r"clipscore .* and none was given"):
        ClipScore.build(ClipScoreConfig("grid"), BuildContext(parts=parts))


def test_strange_captions_are_judged_and_change_no_neighbour():
    strange = ["a\rb", "a\x0bb\x0cc\u2028d", "a ||| b", "\ud800 dog", "", "word " * 10_000, "😀", "plain"]
    samples = [dataclasses.replace(example_samples(1)[0], id=str(number)) for number in range(len(strange))]
    together = judged(made(RefClipScore, RefClipScoreConfig("grid")), samples, strange).per_sample
    alone = [judged(made(RefClipScore, RefClipScoreConfig("grid")), samples[:1], [text]).value for text in strange]
    assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all()


# ---------------------------------------------------------------- CLIP itself


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("size", [(640, 427), (333, 500), (224, 224), (31, 30), (225, 1001)])
def test_the_square_is_what_the_official_preprocessing_makes(mode, size):
    transforms = pytest.importorskip("torchvision.transforms")
    official = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            lambda image: image.convert("RGB"),
        ]
    )
    image = picture(size, seed=3).convert(mode)
    assert np.array_equal(np.asarray(centre_square(image, 224)), np.asarray(official(image)))


def test_a_ribbon_is_cut_before_it_is_scaled(monkeypatch):
    resize, sizes = Image.Image.resize, []
    monkeypatch.setattr(Image.Image, "resize", lambda *given, **more: sizes.append(given[1]) or resize(*given, **more))
    ribbon = Image.new("RGB", (1, 2_000), (10, 200, 30))
    assert np.asarray(centre_square(ribbon, 224)).reshape(-1, 3).tolist() == [[10, 200, 30]] * 224 * 224
    assert sizes == [(224, 224)]


def openai_checkpoint(folder: Path, patch: int = 32) -> Path:
    """Write a small random CLIP as PAC-S is released: OpenAI's names under ``state_dict``, and the merges beside it."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape):
        return 0.1 * torch.randn(*shape, generator=draw)

    state = {
        "positional_embedding": random(77, 64),
        "text_projection": random(64, 32),
        "logit_scale": torch.tensor(4.6),
        "visual.class_embedding": random(64),
        "visual.positional_embedding": random((224 // patch) ** 2 + 1, 64),
        "visual.proj": random(64, 32),
        "visual.conv1.weight": random(64, 3, patch, patch),
        "token_embedding.weight": random(515, 64),
    }
    for norm in ("visual.ln_pre", "visual.ln_post", "ln_final"):
        state |= {f"{norm}.weight": 1 + random(64), f"{norm}.bias": random(64)}
    for block in ("visual.transformer.resblocks.0", "transformer.resblocks.0"):
        for part, shape in {
            "attn.in_proj_": (192, 64),
            "attn.out_proj.": (64, 64),
            "mlp.c_fc.": (256, 64),
            "mlp.c_proj.": (64, 256),
        }.items():
            state |= {f"{block}.{part}weight": random(*shape), f"{block}.{part}bias": random(shape[0])}
        for norm in ("ln_1", "ln_2"):
            state |= {f"{block}.{norm}.weight": 1 + random(64), f"{block}.{norm}.bias": random(64)}
    folder.mkdir(exist_ok=True)
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n")
    path = folder / "clip_ViT-B-32.pth"
    torch.save({"state_dict": state, "epoch": 7}, path)
    return path


@pytest.fixture(scope="module")
def pac_weights(tmp_path_factory):
    return openai_checkpoint(tmp_path_factory.mktemp("pac"))


def test_a_checkpoint_of_pac_s_judges_as_it_is_released(pac_weights):
    backbone = {"name": "clip", "model": "vit-b32", "weights": f"file:{pac_weights}"}
    ref = MetricRef("pac-s", fill("metric", {"name": "pac-s", "backbone": backbone}))
    score = judged(ref.build(SampleData()), example_samples(3), ["red", "a dog", "word " * 90])
    judge = build("backbone", backbone)
    squares = [centre_square(SampleData().image(one.image_id), 224) for one in example_samples(3)]
    texts = [f"A photo depicts {text}" for text in ("red", "a dog", "word " * 90)]
    wanted = picture_score(judge.encode(squares).cls.double().numpy(), judge.encode_text(texts).double().numpy(), 2.0)
    assert_allclose(score.per_sample, wanted, atol=1e-6)
    assert "|backbone=clip(model:vit-b32)|" in score.signature
    assert f"|weights={ref.hashes['backbone'][:12]}|" in score.signature
    assert "|pixels=224|" in score.signature


def test_whatever_the_backbones_fit_it_is_shown_the_official_square(pac_weights):
    options = {"name": "clip", "model": "vit-b32", "weights": f"file:{pac_weights}"}
    image = picture((300, 200), seed=4)
    found = [
        judging.Judge("clipscore", "clip", build("backbone", {**options, "fit": fit})).pictures([image])
        for fit in ("squash", "crop")
    ]
    official = build("backbone", {**options, "fit": "crop"}).encode([image]).cls.double().numpy()
    assert_allclose(found, [official, official], atol=1e-6)


def test_texts_beyond_the_context_keep_their_first_tokens(pac_weights):
    judge = build("backbone", {"name": "clip", "model": "vit-b32", "weights": f"file:{pac_weights}"})
    long, longer = judge.encode_text(["th " * 75, "th " * 4000])
    assert torch.equal(long, longer)
    assert not torch.equal(long, judge.encode_text(["th " * 74])[0])


def test_pac_s_has_no_default_model_and_clipscore_has_the_official_one():
    with pytest.raises(ConfigError, match="the option 'backbone' is missing: it has no default"):
        fill("metric", "pac-s")
    assert fill("metric", "clipscore").config.backbone == {"name": "clip", "model": "vit-b32", "fit": "crop"}
