"""``toolkit train`` and ``toolkit bank build`` on the mini-world, with untrained backbones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from regionkit.core.contracts import BuildContext
from regionkit.core.features import RegionTokens
from regionkit.core.texts import bank_texts
from regionkit.core.weights import WeightFile, read_header
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.training.sentences import read_coco, read_lines, sample
from regionkit.registry.cli import root
from regionkit.registry.weight_index import get_index

RECIPE = """\
version: 1
recipe: {name: text-only, steps: 12, batch_size: 8, learning_rate: 1.0e-3, warmup: 2}
backbone: {name: mini-dense, weights: none}
bridge: {name: noise, std: 0.08}
decoder: {name: decap, hidden: 16, layers: 1, heads: 2, positions: 24}
corpus: {name: mini-captions, size: 60}
seed: 1
out: tiny.safetensors
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    get_index.cache_clear()


def toolkit(*args: str) -> Result:
    return CliRunner().invoke(root, list(args))


def train(*args: str) -> Result:
    return toolkit("train", "tiny.yaml", "--device", "cpu", *args)


def test_weights_say_what_they_are_for_and_a_finished_run_is_left_alone(here: Path) -> None:
    first = train()
    assert first.exit_code == 0, first.output
    assert "wrote weights/tiny.safetensors: 12 steps in" in first.output
    assert f"for pipelines to find it: export REGIONKIT_WEIGHTS={here / 'weights'}" in first.output
    path = here / "weights" / "tiny.safetensors"
    header = read_header(path)
    assert header is not None
    assert (header.kind, header.name, header.space) == ("decoder", "decap", "mini-dense/text[128]")
    assert (header.corruption, header.corpus) == ("noise(std=0.08)", "mini-captions")
    assert header.recipe == "toolkit train tiny.yaml"
    assert header.extra["training"]["setup"]["threads"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["tiny.safetensors"]  # the checkpoint is gone

    before = path.read_bytes()
    again = train()
    assert again.exit_code == 0
    assert (
        "weights/tiny.safetensors is finished: this set-up made it before; to make it again add --restart"
        in again.output
    )
    assert path.read_bytes() == before
    assert train("--restart").exit_code == 0
    assert path.read_bytes() == before  # made again, to the last bit

    other = train("--seed", "2", "--steps", "11")
    assert other.exit_code == 2
    assert "weights/tiny.safetensors: there are weights already, made by another set-up" in other.output
    assert "recipe.steps: 12 then, 11 now" in other.output
    assert "seed: 1 then, 2 now" in other.output
    assert "to replace them add --restart" in other.output


def test_trained_weights_load_and_write(here: Path) -> None:
    result = train("--out", "made", "--json", "--set", "half=true")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["weights"], report["status"], report["steps"]) == ("made/tiny.safetensors", "trained", 12)
    path = here / "made" / "tiny.safetensors"
    header = read_header(path)
    assert header is not None
    decoder = Decap.build(DecapConfig(), BuildContext(weights=WeightFile(path, header)))
    tokens = load_file(path)["clip_project.model.0.weight"]
    assert (str(tokens.dtype), tuple(tokens.shape)) == ("torch.float16", (16, 128))
    (caption,) = decoder.generate(RegionTokens.single(tokens[:1].float(), header.space))
    assert isinstance(caption.text, str)


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    Path("tiny.yaml").write_text(
        RECIPE.replace("steps: 12", "step: 12").replace("name: noise", "name: noize").replace("seed: 1", "seed: -1")
        + "bridges: none\n",
        encoding="utf-8",
    )
    result = train()
    assert result.exit_code == 2
    for expected in (
        "tiny.yaml:2: recipe.step: unknown option\n  did you mean: steps",
        "tiny.yaml:4: bridge.name: no bridge named 'noize'\n  did you mean: noise",
        "tiny.yaml:7: seed: expected a whole number of 0 or more, got -1",
    ):
        assert expected in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "corpus: {name: mini-captions, size: 60}\n",
            "",
            "tiny.yaml:2: corpus: recipe 'text-only' needs a corpus\n  write corpus: {name: NAME}\n  corpora are: ",
            id="missing",
        ),
        pytest.param("seed: 1", "sead: 1", "tiny.yaml:7: sead: unknown key\n  did you mean: seed", id="key"),
        pytest.param(
            "seed: 1", "seeds: 1", "tiny.yaml:7: seeds: unknown key\n  did you mean: seed", id="key-of-others"
        ),
        pytest.param("seed: 1", "dataset: mini", "tiny.yaml:7: dataset: unknown key", id="part-without-use"),
        pytest.param("seed: 1", "half: 3", "tiny.yaml:7: half: expected true or false, got 3", id="half"),
        pytest.param(
            "name: text-only", "name: text-onli", "tiny.yaml:2: recipe.name: no recipe named 'text-onli'", id="recipe"
        ),
        pytest.param("name: decap", "name: decpa", "tiny.yaml:5: decoder.name: no decoder named 'decpa'", id="part"),
        pytest.param("weights: none", "weights: no-such", "tiny.yaml:3: backbone: ", id="weights"),
        pytest.param(
            "out: tiny.safetensors", "out: /tmp/x.pt", "expected a file name that ends in .safetensors", id="out"
        ),
        pytest.param("size: 60", "size: 5", "5 captions are fewer than a batch of 8", id="few"),
        pytest.param(
            "heads: 2", "heads: 3", "heads: 3 does not divide hidden 16; these do: 1, 2, 4, 8, 16", id="heads"
        ),
    ],
)
def test_mistakes_of_a_recipe_file(old: str, new: str, message: str) -> None:
    Path("tiny.yaml").write_text(RECIPE.replace(old, new), encoding="utf-8")
    result = train()
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not Path("weights").exists()
    if "few" not in message:
        checked = toolkit("validate", "tiny.yaml")
        assert (checked.exit_code, checked.stderr) == (2, result.stderr)


def test_validate_says_what_a_good_recipe_trains() -> None:
    result = toolkit("validate", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert result.output == (
        "tiny.yaml: a good recipe: text-only trains decoder decap with corpus mini-captions, backbone mini-dense, "
        "bridge noise, into tiny.safetensors\n"
    )
    assert not Path("weights").exists()


def test_a_bank_from_a_text_file_is_found_by_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("animals.txt").write_text("a  small dog\n\na cat\na small dog\n", encoding="utf-8")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(here / "mine"))
    args = ["--backbone", "mini-dense", "--set", "backbone.weights=none", "--texts", "animals.txt"]
    result = toolkit("bank", "build", *args, "--out", "mine/animals.safetensors")
    assert result.exit_code == 0, result.output
    assert "wrote mine/animals.safetensors: 3 sentences in mini-dense/text[128]" in result.output
    header = read_header("mine/animals.safetensors")
    assert header is not None
    assert (header.kind, header.name, header.corpus, header.space) == (
        "bridge",
        "memory",
        "animals",
        "mini-dense/text[128]",
    )
    tensors = load_file("mine/animals.safetensors")
    assert bank_texts(tensors) == ["a small dog", "a cat", "a small dog"]
    assert tensors["embeddings"].shape == (3, 128)
    assert tensors["embeddings"][0].tolist() == tensors["embeddings"][2].tolist()


def test_a_bank_of_a_corpus_may_be_a_sample() -> None:
    args = ["--backbone", "mini-dense", "--set", "backbone.weights=none", "--corpus", "mini-captions"]
    result = toolkit("bank", "build", *args, "--size", "5", "--name", "few", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "weights": "weights/bank-few-mini-dense.safetensors",
        "bank": "few",
        "space": "mini-dense/text[128]",
        "texts": 5,
    }


def test_coco_captions_are_read() -> None:
    Path("coco.json").write_text(json.dumps({"annotations": [{"caption": "A dog.\n"}, {"caption": " a  cat"}]}))
    assert read_coco(Path("coco.json")) == ["A dog.", "a cat"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.txt", b"good\nb\xe9b\xe9\n", "a.txt:2: byte 2 of this line is not UTF-8", id="utf8"),
        pytest.param("a.txt", b"\n  \n", "a.txt: there is no sentence in this file", id="empty"),
        pytest.param("a.json", b'{\n"annotations": [\n}', "a.json:3: this is no JSON", id="json"),
        pytest.param("a.json", b"[]", "a.json: there are no annotations in this file", id="form"),
        pytest.param(
            "a.json",
            b'{"annotations": [{"caption": "a"}, {"text": "b"}]}',
            r"annotations\[1\] has no caption",
            id="entry",
        ),
    ],
)
def test_files_of_sentences_that_cannot_be_used(name: str, content: bytes, message: str) -> None:
    from regionkit.core.errors import DataError

    path = Path(name)
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lines(path) if name.endswith("txt") else read_coco(path)


def test_a_missing_file_is_named() -> None:
    result = toolkit("bank", "build", "--backbone", "mini-dense", "--texts", "gone.txt")
    assert result.exit_code == 2
    assert "gone.txt: cannot be read: No such file or directory" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param([], "one source of sentences, it got none", id="none"),
        pytest.param(["--corpus", "a", "--texts", "b"], "it got --corpus and --texts", id="two"),
        pytest.param(["--corpus", "mini-caption"], "did you mean: mini-captions", id="corpus"),
        pytest.param(
            ["--corpus", "mini-captions", "--set", "x=1"], "--set x=1: only options of the backbone", id="set"
        ),
        pytest.param(["--corpus", "mini-captions", "--size", "30000"], "--size asks for 30000", id="size"),
    ],
)
def test_bank_mistakes(args: list[str], message: str) -> None:
    result = toolkit("bank", "build", "--backbone", "mini-dense", *args)
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_samples_are_seeded_and_keep_their_order() -> None:
    texts = [f"{number:02}" for number in range(50)]
    drawn = sample(texts, 10, 0, "x")
    assert drawn == sorted(drawn) == sample(texts, 10, 0, "x")
    assert drawn != sample(texts, 10, 1, "x")
    assert sample(texts, None, 0, "x") == texts
