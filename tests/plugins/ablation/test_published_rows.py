"""Published numbers beside ours: `toolkit run`, its JSON, its dry run, and weights that are not here."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from regionkit.core.plugin import hookimpl
from regionkit.registry.cli import root
from regionkit.registry.published.matching import forget, published_for
from regionkit.registry.registry import Owner, get_registry

PRESET = """version: 1
summary: colours
backbone: t-grid
region_encoder: t-pool
bridge: {name: t-shift, amount: 0.0}
decoder: t-nearest
"""
TABLE = """version: 1
paper: colours
table: 3
title: Captions of colours
metrics: {C: {metric: cider-d, scale: 100}, B: {metric: bleu, part: "4", scale: 1}, L: {metric: t-lengths}}
columns:
  - {data: {task: box, name: t-colours, split: test}, prints: [C, B, L]}
  - {data: {task: box, name: t-colours, split: test, scenes: 4}, prints: [C]}
  - {data: {task: image, name: t-colours, split: test}, prints: [C]}
rows:
  - {label: Shifted, preset: colours, note: a note, values: [[27.9, 0.25, null], [12.0], [69.2]]}
  - {label: Global, preset: {box: colours-global, image: colours}, values: [[19.5, null, 3], [null], [51.5]]}
  - {label: Other, runs: false, why: it is another's, values: [[1.5, null, null], [null], [null]]}
"""


@pytest.fixture(autouse=True)
def colours(fakes: None, tmp_path: Path) -> Iterator[None]:
    """Bring two presets, and a table of theirs, into the registry of this module."""
    for name, text in (
        ("presets/colours", PRESET),
        ("presets/colours-global", "version: 1\nsummary: means\nextends: colours\nregion_encoder: t-global\n"),
        ("published/table", TABLE),
    ):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    @hookimpl
    def regionkit_presets() -> list[str]:
        return [str(tmp_path / "presets")]

    @hookimpl
    def regionkit_published() -> list[str]:
        return [str(tmp_path / "published")]

    plugin = types.SimpleNamespace(regionkit_presets=regionkit_presets, regionkit_published=regionkit_published)
    registry = get_registry()
    before = len(registry.published), len(registry._preset_folders)
    assert registry.register(plugin, Owner("colours", "tests", "0")) is None
    yield
    registry._forget(plugin)
    del registry.plugins["colours"], registry.published[before[0] :], registry._preset_folders[before[1] :]
    vars(registry).pop("_owned_presets", None)
    forget()


def call(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["run", *map(str, arguments)])


def told(*arguments: object) -> dict:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_run_prints_ours_beside_the_published_numbers_with_the_difference(tmp_path):
    data = told("colours", "--data", "box@t-colours,image@t-colours", "--metrics", "cider-d,bleu", "--no-cache")
    rows = {(row["data"], row["published"]): row for row in data["published"]["rows"]}
    assert set(rows) == {
        ("box@t-colours", 27.9), ("box@t-colours", 0.25), ("image@t-colours", 69.2), ("image@t-colours", 51.5),
    }  # fmt: skip
    scores = {(trial["data"], name): trial[name] for trial in data["trials"] for name in ("cider-d", "bleu-4")}
    first = rows["box@t-colours", 27.9]
    assert first["ours"] == pytest.approx(100 * scores["box@t-colours", "cider-d"])
    assert first["difference"] == pytest.approx(first["ours"] - 27.9)
    assert first["printed_in"] == [{"paper": "colours", "table": "3", "row": "Shifted"}]
    assert rows["box@t-colours", 0.25]["column"] == "bleu-4"
    assert rows["box@t-colours", 0.25]["ours"] == pytest.approx(scores["box@t-colours", "bleu-4"])
    result = call("colours", "--data", "box@t-colours", "--metrics", "cider-d", "--no-cache", "--out", tmp_path / "run")
    line = f"| box@t-colours | cider-d | {first['ours']:.2f} | 27.9      | {first['difference']:+.2f}"
    assert line.split() == [part for part in _line(result.stdout, "27.9").split()][: len(line.split())]
    assert _line(result.stdout, "27.9").endswith("| table 3: Shifted |")
    assert "difference: ours minus the paper's" in result.stdout
    assert "table 3, row 'Shifted': a note." in result.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Beside published numbers" in page
    assert f"{first['difference']:+.2f}" in page
    (tmp_path / "run" / "published.json").write_text('{"rows": [3]}')  # an addition that cannot be read is left out
    assert CliRunner().invoke(root, ["report", str(tmp_path / "run")]).exit_code == 0
    assert "Beside published numbers" not in (tmp_path / "run" / "report.html").read_text()


def test_published_json_of_a_run_holds_what_json_prints(tmp_path):
    arguments = ("colours", "--data", "box@t-colours", "--metrics", "cider-d", "--no-cache")
    first = told(*arguments, "--out", tmp_path / "run")["published"]["rows"][0]
    assert json.loads((tmp_path / "run" / "published.json").read_text())["rows"] == [
        {**first, "ours": pytest.approx(first["ours"]), "difference": pytest.approx(first["difference"])}
    ]


def _line(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line)


def test_several_seeds_are_compared_by_their_mean():
    data = told("colours", "--data", "box@t-colours", "--metrics", "cider-d", "--seed", 0, "--seed", 1, "--no-cache")
    values = [trial["cider-d"] for trial in data["trials"]]
    assert len(values) == 2
    assert data["published"]["rows"][0]["ours"] == pytest.approx(100 * sum(values) / 2)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        pytest.param(["--limit", "2"], "--limit 2: the paper's numbers are of all samples", id="fewer-pictures"),
        pytest.param(
            ["--set", "cider-d.tokeniser=words"],
            "cider-d(tokeniser=words): tokeniser is words, published with ptb",
            id="metric-with-other-options",
        ),
        pytest.param(["--set", "task.max_tokens=5"], "box has other options: max_tokens", id="task-with-other-options"),
    ],
)
def test_what_was_asked_otherwise_is_shown_and_not_compared(extra, reason):
    arguments = ["colours", "--data", "box@t-colours", "--metrics", "cider-d", "--no-cache", *extra]
    row = told(*arguments)["published"]["rows"][0]
    assert row["difference"] is None
    assert row["ours"] is not None
    assert row["not_compared"] == [reason]
    assert f"Not compared: {reason}." in call(*arguments).stdout


def test_data_with_other_options_have_their_own_numbers_or_none():
    four = told("colours", "--data", "box@t-colours", "--set", "data.scenes=4", "--metrics", "cider-d", "--no-cache")
    assert [row["published"] for row in four["published"]["rows"]] == [12.0]
    result = call("colours", "--data", "box@t-colours", "--set", "data.scenes=5", "--metrics", "cider-d", "--no-cache")
    assert "Published numbers of colours are of other data or metrics: box@t-colours/test, " in result.stdout
    other = call("colours", "--data", "box@t-colours/other", "--metrics", "cider-d", "--no-cache")
    assert "Published numbers of colours are of other data or metrics" in other.stdout


def test_a_changed_pipeline_is_no_published_row_and_says_so():
    arguments = ("colours", "--data", "box@t-colours", "--metrics", "cider-d", "--set", "bridge.amount=0.5")
    sentence = "The published rows of colours are for other options: bridge.amount is 0.5, published with 0.0."
    assert sentence in call(*arguments, "--no-cache").stdout
    data = told(*arguments, "--no-cache")["published"]
    assert data["rows"] == []
    assert data["differs"] == ["bridge.amount is 0.5, published with 0.0"]


def test_a_pipeline_that_equals_another_preset_has_its_rows(tmp_path):
    """By ``--set`` or in a file: what it does counts, not what it is called; where weights lie does not."""
    changed = told("colours", "--data", "box@t-colours", "--set", "region_encoder=t-global", "--metrics", "cider-d",
                   "--no-cache")  # fmt: skip
    assert [row["published"] for row in changed["published"]["rows"]] == [19.5]
    path = tmp_path / "mine.yaml"
    path.write_text(PRESET.replace("amount: 0.0", "amount: 0"))
    match = published_for(yaml.safe_load(path.read_text()))
    assert (match.preset, [row.label for row in match.rows]) == ("colours", ["Shifted", "Global"])
    # Of a row that several presets make, each has the numbers of its own tasks.
    assert [value.printed for row in match.rows for value in row.of("colours")] == [27.9, 0.25, 12.0, 69.2, 51.5]


def test_pipelines_that_no_paper_printed_say_nothing_of_it():
    result = call("mini", "--data", "box@t-colours", "--metrics", "cider-d", "--set", "backbone=t-grid")
    assert "ublished" not in result.output
    assert published_for({"backbone": "nothing"}, "mini").sentence == ""


def test_regions_that_were_perturbed_are_not_compared():
    data = told("colours", "--data", "box@t-colours", "--metrics", "cider-d", "--robustness", "jitter=0.2",
                "--no-cache")  # fmt: skip
    assert [row["data"] for row in data["published"]["rows"]] == ["box@t-colours"]


def test_a_dry_run_prints_every_option_and_the_published_rows(tmp_path):
    result = call("colours", "--dry-run", "--set", "bridge.amount=0.0")
    assert result.exit_code == 0, result.output
    whole = result.stdout.partition("\n\n")[0]
    assert yaml.safe_load(whole)["backbone"] == {"name": "t-grid", "grid": 4}
    assert yaml.safe_load(whole)["bridge"] == {"name": "t-shift", "amount": 0.0, "corruption": "none"}
    assert "everything is here:\n  backbone t-grid: grid/image[16]" in result.stdout
    assert (
        "published: colours, table 3, row 'Shifted'\n  box@t-colours/test: cider-d 27.9, bleu-4 0.25" in result.stdout
    )
    assert "  note: a note" in result.stdout
    # What it prints is a file of the same pipeline.
    path = tmp_path / "same.yaml"
    path.write_text(whole)
    assert CliRunner().invoke(root, ["validate", str(path)]).exit_code == 0
    # With data, the numbers of those alone.
    asked = call("colours", "--dry-run", "--data", "image@t-colours").stdout
    assert "image@t-colours/test: cider-d 69.2" in asked
    assert "27.9" not in asked
    four = call("colours", "--dry-run", "--data", "box@t-colours", "--set", "data.scenes=4").stdout
    assert "box@t-colours/test(scenes=4): cider-d 12.0" in four
    assert "27.9" not in four
    assert "no published row is of colours on these data" in call("colours", "--dry-run", "--task", "box").stdout
    plain = json.loads(call("colours", "--dry-run", "--json").stdout)
    assert plain["pipeline"]["bridge"]["amount"] == 0.0
    assert plain["absent"] == []
    assert [row["row"] for row in plain["published"]] == ["Shifted", "Global"]


def test_a_dry_run_of_a_pipeline_with_mistakes_is_refused():
    result = call("colours", "--dry-run", "--set", "bridge.amont=1")
    assert result.exit_code == 2
    assert "did you mean: amount" in result.stderr


ABSENT = """patchioner-talk2dino cannot run: 6 files of its weights are not here
  backbone dinov2-talk2dino, vision: dinov2_vitb14_reg4_pretrain* or vit_base_patch14_reg4_dinov2*, from \
hub://timm/vit_base_patch14_reg4_dinov2.lvd142m; licence Apache-2.0, 346 MB for 86.6 million weights in float32
  backbone dinov2-talk2dino, text: ViT-B-16* or clip-vit-base-patch16* or model.safetensors or pytorch_model.bin, from \
hub://openai/clip-vit-base-patch16; licence MIT, 599 MB for 149.6 million weights in float32
"""


def test_weights_that_are_not_here_are_told_file_by_file(monkeypatch, tmp_path):
    """Which file, from where, licence, size, and the command that gets it; data that are not here beside them."""
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    result = call("patchioner-talk2dino", "--data", "trace@trace-captions")
    assert result.exit_code == 2
    assert ABSENT in result.stderr
    for words in (
        "backbone dinov2-talk2dino, projection: vitb_mlp_infonce*.pth",
        "licence see its repository, 3.9 MB\n",
        "bridge memory, bank: *_text_embeddings*.h5 or *.h5, from ",
        "1.8 GB for 591,753 sentences of width 768",
        "decoder decap, model: ",
        "273 MB for 68.3 million weights in float32\n",
        "  get them with: toolkit weights pull patchioner-talk2dino\n",
        "  what it would do: toolkit run patchioner-talk2dino --dry-run",
        "data set 'trace-captions' is not here",
    ):
        assert words in result.stderr
    assert "no trial of" not in result.stderr
    dry = call("patchioner-talk2dino", "--dry-run")
    assert dry.exit_code == 0
    assert ABSENT in dry.stdout
    assert "published: patchioner, table 2, row 'T2D + Mem. (≈ DeCap)'" in dry.stdout


def test_weights_that_nobody_released_name_the_recipes_that_make_them(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    result = call("patchioner-talk2dino-relaion-5.6m-memory", "--data", "box@mini")
    assert result.exit_code == 2
    for words in (
        "bridge memory, bank 'relaion-500k': not released, made with toolkit bank build --backbone dinov2-talk2dino "
        "--corpus NAME --name relaion-500k\n",
        "decoder decap, weights 'decap-talk2dino-relaion-5.6m': not released, made with toolkit train FILE\n",
    ):
        assert words in result.stderr
    learned = call("patchioner-talk2dino-learned", "--dry-run").stdout
    assert "region_encoder learned-pool, weights: not released, made with toolkit train FILE\n" in learned
    assert "recipes that make them: examples/recipes/learned-talk2dino.yaml\n" in learned


def test_a_run_without_data_and_weights_tells_of_both(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    result = call("patchioner-talk2dino")
    assert result.exit_code == 2
    assert "error: name what to run on: --task image,box, or --data TASK@NAME\n" in result.stderr
    assert ABSENT in result.stderr
    assert "Usage" in call("mini").stderr


def test_a_row_of_which_something_was_not_released_names_its_recipe_beside_the_releases(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    result = call("patchioner-close")
    recipe = "recipes that make what was not released for this row: examples/recipes/close-coco.yaml\n"
    assert recipe in result.stderr
    assert "not released for this row" not in call("patchioner-talk2dino").stderr
    result = call("patchioner-siglip2")
    for words in (
        "bridge memory, bank 'coco-karpathy': not released, made with toolkit bank build --backbone siglip2 "
        "--corpus NAME --name coco-karpathy\n",
        "decoder decap, weights 'decap-siglip2': not released, made with toolkit train FILE\n",
        "recipes that make them: examples/recipes/decap-siglip2.yaml\n",
    ):
        assert words in result.stderr


def pulled(name):
    result = CliRunner().invoke(root, ["weights", "pull", name, "--offline"])
    assert result.exit_code == 1, result.output
    return result


def test_pulling_lists_what_a_run_lists(monkeypatch, tmp_path):
    """Sizes, a memory that the preset does not do without, files that its options ask for, no releases of others."""
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    result = pulled("patchioner-talk2dino-meacap")
    assert "346 MB for 86.6 million weights in float32" in result.stdout
    assert "?" not in result.stdout
    assert "by hand   decoder meacap             memory_captions " in result.stdout
    for words in (
        "error: 10 things are missing, and --offline fetches nothing\n",
        "  decoder meacap, memory_captions: download memory_captions.json from ",
        "  decoder meacap, parser: hub://lizhuang144/flan-t5-base-VG-factual-sg\n",
    ):
        assert words in result.stderr
    count = "patchioner-talk2dino-meacap cannot run: 10 files of its weights are not here\n"
    assert count in call("patchioner-talk2dino-meacap").stderr
    own = pulled("patchioner-talk2dino-relaion-5.6m-memory")
    assert "decoder decap" not in own.stdout
    assert "bridge memory" not in own.stdout
    for words in (
        "  decoder decap, weights 'decap-talk2dino-relaion-5.6m': not released, made with toolkit train FILE\n",
        "  bridge memory, bank 'relaion-500k': not released, made with toolkit bank build --backbone dinov2-talk2dino "
        "--corpus NAME --name relaion-500k\n",
        "  which recipe that is: toolkit run patchioner-talk2dino-relaion-5.6m-memory --dry-run",
    ):
        assert words in own.stderr
