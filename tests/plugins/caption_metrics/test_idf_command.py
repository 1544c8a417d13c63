"""``toolkit idf`` makes the table that ``cider-d`` reads, from the files that people have."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from regionkit.core.contracts import Sample
from regionkit.core.errors import RegionkitError
from regionkit.core.regions import WholeImage
from regionkit.plugins.caption_metrics.overlap.configs import CiderDConfig
from regionkit.plugins.caption_metrics.overlap.metrics import CiderD
from regionkit.registry.cli import root

PLAIN = {"1": ["a dog runs", "the dog"], "2": ["two cats sleep"], "3": "a red bus"}
COCO = {
    "annotations": [
        {"image_id": int(name), "caption": text}
        for name, texts in PLAIN.items()
        for text in ([texts] if isinstance(texts, str) else texts)
    ]
}
RECORDS = {name: {"references": texts, "objects": []} for name, texts in PLAIN.items()}


def make(folder, content):
    (folder / "r.json").write_text(json.dumps(content))
    arguments = ["idf", str(folder / "r.json"), "--out", str(folder / "idf.safetensors")]
    return CliRunner().invoke(root, arguments)


@pytest.mark.parametrize(
    "content", [pytest.param(PLAIN, id="plain"), pytest.param(COCO, id="coco"), pytest.param(RECORDS, id="records")]
)
def test_the_table_of_the_references_themselves_gives_the_scores_of_the_run(tmp_path, content):
    result = make(tmp_path, content)
    assert result.exit_code == 0, result.output
    assert "3 documents of 4 references; signatures will say idf=file:" in result.stdout
    scores = []
    for documents in ("", str(tmp_path / "idf.safetensors")):
        metric = CiderD(CiderDConfig(documents=documents))
        for name, texts in PLAIN.items():
            sample = Sample(name, name, WholeImage(), (texts,) if isinstance(texts, str) else tuple(texts))
            metric.update([sample], ["a dog sleeps"])
        scores.append(metric.compute())
    assert scores[0].per_sample == scores[1].per_sample
    assert max(scores[0].per_sample) > 0
    assert "idf=references:" in scores[0].signature
    assert "idf=file:" in scores[1].signature


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param([1], "these are no references", id="list"),
        pytest.param({"1": ["a", None]}, "'1': a reference must be text", id="none"),
        pytest.param({"annotations": [{"image_id": 1}]}, "an annotation has no image_id or no caption", id="coco"),
        pytest.param({}, "document frequencies need at least one image with references", id="nothing"),
    ],
)
def test_what_holds_no_references_is_refused(tmp_path, content, sentence):
    result = make(tmp_path, content)
    assert isinstance(result.exception, (RegionkitError, SystemExit))
    assert sentence in str(result.exception) + result.output
    assert not (tmp_path / "idf.safetensors").exists()
