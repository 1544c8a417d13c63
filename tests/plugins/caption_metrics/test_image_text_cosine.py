"""The cosine of a caption and its picture, against the numbers of its backbone, alone and in an ablation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import ConfigError, DataError, FeatureError
from regionkit.core.testing import GridBackbone, SampleData, check_metric, example_samples
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.provenance_tables import trial_provenance
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.plugins.caption_metrics.models.agreement import ImageTextCosine
from regionkit.plugins.caption_metrics.models.configs import ImageTextCosineConfig
from regionkit.registry.assembly import build

CONFIG = ImageTextCosineConfig("grid")
ABLATION = """\
version: 1
base: mini
data: [image@mini]
limit: 3
metrics: [{{name: image-text-cosine, backbone: {judge}}}]
"""


def metric(backbone=None):
    return ImageTextCosine(CONFIG, backbone or GridBackbone(), SampleData())


def by_hand(backbone, image, caption):
    """Return the cosine from the backbone's own vectors."""
    seen, said = backbone.encode([image]).cls, backbone.encode_text([caption])
    return float(normalize(seen.double(), dim=-1) @ normalize(said.double(), dim=-1).T)


def test_it_is_the_mean_cosine_of_class_token_and_sentence():
    samples, captions, judge = example_samples(4), ["red", "a blue dog", "", "green green"], metric()
    judge.update(samples, captions)
    score = judge.compute()
    pairs = zip(samples, captions, strict=True)
    wanted = [by_hand(GridBackbone(), SampleData().image(one.image_id), text) for one, text in pairs]
    assert score.per_sample == pytest.approx(wanted, abs=1e-6)
    assert score.value == pytest.approx(sum(wanted) / 4, abs=1e-6)
    assert score.signature == (
        "image-text-cosine|backbone=grid|weights=untrained|spaces=grid/image[16] and grid/text[16]"
        "|prefix=none|view=whole|n=4"
    )


def test_a_caption_that_says_the_opposite_has_no_floor_at_zero():
    class Contrary(GridBackbone):
        def encode_text(self, texts):
            return -3 * self.encode([SampleData().image("image-0")]).cls.expand(len(texts), -1)

    judge = metric(Contrary())
    judge.update(example_samples(1), ["anything"])
    assert judge.compute().value == pytest.approx(-1, abs=1e-6)


def test_a_picture_of_several_samples_is_looked_at_once_and_references_never():
    one = dataclasses.replace(example_samples(1)[0], references=())
    backbone = GridBackbone()
    judge = metric(backbone)
    judge.update([dataclasses.replace(one, id=str(number)) for number in range(5)], ["red"] * 4 + ["blue"])
    assert backbone.encoded == 1
    assert len(set(judge.compute().per_sample)) == 2


def test_pictures_of_several_patch_grids_are_judged_as_if_alone():
    class Native(GridBackbone):
        def __init__(self, rows=2):
            super().__init__((rows, 2))

        def frame(self, image_size):
            return GridBackbone((self._rows(image_size), 2)).frame(image_size)

        def encode(self, images):
            (rows,) = {self._rows(image.size) for image in images}  # what does not stack is refused
            return GridBackbone((rows, 2)).encode(images)

        def _rows(self, size):
            return 2 if size[0] > size[1] else 4

    class Turned(SampleData):
        def image(self, image_id):
            image = super().image(image_id)
            return image.transpose(2) if image_id in ("image-1", "image-2") else image

    judge = ImageTextCosine(CONFIG, Native(), Turned())
    judge.update(example_samples(4), ["red"] * 4)
    wanted = [by_hand(Native(), Turned().image(f"image-{index}"), "red") for index in range(4)]
    assert len({round(one, 4) for one in wanted}) == 4
    assert judge.compute().per_sample == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("backbone", "sentence"),
    [
        pytest.param(lambda: GridBackbone(text=False), "backbone 'grid' has no text tower", id="no text tower"),
        pytest.param(lambda: GridBackbone(cls=False), "and backbone 'grid' has none", id="no cls"),
        pytest.param(lambda: Spoilt(), "backbone 'grid' gave NaN or infinite values", id="nan"),
    ],
)
def test_a_backbone_that_cannot_judge_is_refused(backbone, sentence):
    with pytest.raises(FeatureError, match=sentence):
        metric(backbone()).update(example_samples(2), ["red", "blue"])


class Spoilt(GridBackbone):
    """Sentences become NaN."""

    def encode_text(self, texts):
        return super().encode_text(texts) * torch.nan


@pytest.mark.parametrize("lacking", ["backbone", "dataset"])
def test_it_says_what_it_was_not_given(lacking):
    parts = {"backbone": GridBackbone(), "dataset": SampleData()}
    del parts[lacking]
    with pytest.raises(DataError, match=f"and no {lacking} was given"):
        ImageTextCosine.build(CONFIG, BuildContext(parts=parts))


def test_the_signature_holds_the_hash_of_the_weights_that_judged():
    parts = {"backbone": GridBackbone(), "dataset": SampleData()}
    judge = ImageTextCosine.build(CONFIG, BuildContext(parts=parts, hashes={"backbone": "0123456789abcdef"}))
    assert "|weights=0123456789ab|" in judge.compute().signature


def test_it_keeps_what_metrics_promise():
    check_metric(metric)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "judged.yaml"
    path.write_text(ABLATION.format(judge="mini-clip"))
    return plan_ablation(path)


def test_an_ablation_hands_it_the_backbone_of_its_option(plan):
    (trial,) = plan.trials
    result = TrialRunner(plan, RunOptions(device="cpu")).run(trial)
    (row,) = result.metrics
    dataset, judge = build("dataset", "mini"), build("backbone", "mini-clip")
    with torch.inference_mode():
        wanted = [by_hand(judge, dataset.image(one.image), one.caption) for one in result.samples]
    assert row.metric == "image-text-cosine(backbone=mini-clip)"
    assert row.per_sample == pytest.approx(wanted, abs=1e-5)


def test_a_trial_and_its_provenance_name_the_weights_that_judged(plan):
    (trial,) = plan.trials
    label = "image-text-cosine(backbone=mini-clip)"
    said = trial.config["metrics"][label]["backbone"]
    record = trial_provenance(trial, plan)["metrics"][f"{label}: backbone"]
    assert said["name"] == record["name"] == "mini-clip"
    assert said["sha256"].startswith(record["weights"]["sha256"])
    assert record["weights"]["file"] == "mini-clip.safetensors"


def test_a_judge_that_does_not_exist_is_a_mistake_of_the_file(tmp_path):
    path = tmp_path / "judged.yaml"
    path.write_text(ABLATION.format(judge="mini-clop"))
    with pytest.raises(ConfigError, match=r"no backbone named 'mini-clop'|mini-clip"):
        plan_ablation(path)
    path.write_text(ABLATION.format(judge="mini-clip").replace(", backbone: mini-clip", ""))
    with pytest.raises(ConfigError, match="backbone"):
        plan_ablation(path)
