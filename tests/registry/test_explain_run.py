"""``toolkit explain RUN SAMPLE`` on a small run in the mini-world, and on runs that cannot be explained any more."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image

from regionkit.core.results import DATABASE, ResultStore
from regionkit.registry.cli import root
from regionkit.registry.commands.explain_records import sentences
from regionkit.registry.commands.explain_run import best_first
from regionkit.registry.run_folders import labels_of, trials_of

FILE = """\
version: 1
base: mini
data: [box@mini, image@mini]
limit: 2
metrics: [noun-f1]
grid:
  region_encoder: [patch-pool, crop]
  bridge: [memory, {name: noise, std: 0.08}]
"""
SAMPLE = "test/0/0/box/0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    (folder / "grid.yaml").write_text(FILE)
    result = CliRunner().invoke(root, ["ablate", str(folder / "grid.yaml"), "--out", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return folder / "run"


def invoke(*args):
    return CliRunner().invoke(root, ["explain", *map(str, args)])


def explained(*args):
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*args, status=2):
    result = invoke(*args)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def trial(run, **labels):
    with ResultStore(run / DATABASE, read_only=True) as store:
        wanted = labels.pop("data", "box@mini")
        found = [one for one in trials_of(store) if one.data == wanted and labels.items() <= one.labels.items()]
    return found[0].id


@pytest.fixture(scope="module")
def everything(run):
    found = explained(run, SAMPLE)
    return {**found, "trials": sorted(found["trials"], key=lambda one: [*one["labels"].values()])}


def test_every_trial_of_the_sample_is_explained_by_default(everything):
    assert list(everything) == ["version", "run", "sample", "trials"]
    assert everything["sample"] == SAMPLE
    labels = [tuple(one["labels"].values()) for one in everything["trials"]]
    assert labels == [("crop", "memory"), ("crop", "noise"), ("patch-pool", "memory"), ("patch-pool", "noise")]
    for one in everything["trials"]:
        assert one["caption"]["same"] is True
        assert one["caption"]["recorded"] == one["caption"]["now"] == one["explained"]
        assert one["changes"] == []
        assert one["data"] == "box@mini"
        total = sum(token["log_probability"] for token in one["tokens"])
        assert total == pytest.approx(one["log_probability"], abs=1e-3)


def test_patches_texts_and_tokens_of_a_pooling_pipeline_with_a_memory(everything):
    one = everything["trials"][2]
    patches, texts, tokens = one["patches"], one["texts"], one["tokens"]
    assert patches["grid"] == [12, 12]
    assert sum(map(sum, patches["weights"])) == pytest.approx(1, abs=1e-3)
    assert patches["inside"] == 1
    assert patches["left_out"] == "patches"
    assert patches["cells"] == 144
    assert len(patches["top"]) == 10
    strengths = [abs(cell["influence"]) for cell in patches["top"]]
    assert strengths == sorted(strengths, reverse=True)
    assert patches["top"][0]["inside"] is True
    row, column = patches["top"][0]["row"], patches["top"][0]["column"]
    assert patches["influence"][row][column] == patches["top"][0]["influence"]
    assert patches["region"] == pytest.approx(sum(token["region"] for token in tokens), abs=1e-3)
    assert [text["weight"] for text in texts] == sorted((text["weight"] for text in texts), reverse=True)
    assert 0.5 < sum(text["weight"] for text in texts) <= 1.0001
    assert [len(token["texts"]) for token in tokens] == [len(texts)] * len(tokens)
    for at, text in enumerate(texts):
        assert text["influence"] == pytest.approx(sum(token["texts"][at] for token in tokens), abs=1e-3)
    assert tokens[-1]["text"] == "<end>"
    assert all(len(token["alternatives"]) == 3 for token in tokens)


def test_what_a_part_cannot_say_is_a_sentence_in_its_place(everything):
    crop, noise = everything["trials"][0], everything["trials"][3]
    assert crop["patches"]["weights"] is None
    assert crop["patches"]["left_out"] == "picture"
    assert crop["notes"] == {"weights": "region encoder 'Crop' has no attention map"}
    assert noise["texts"] == []
    assert noise["notes"] == {"texts": "bridge 'Noise' has no memory of texts to show"}
    assert all(token["texts"] is None for token in noise["tokens"])


def test_words_a_picture_and_a_json(run, tmp_path):
    one = trial(run, region_encoder="patch-pool", bridge="memory")
    result = invoke(f"{run}#{one[:6]}", SAMPLE, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    said = result.stdout
    assert said.startswith(
        f"{SAMPLE}\n\n{one}: box@mini, seed 0, region_encoder=patch-pool, bridge=memory\n  caption: "
    )
    assert "\n  the caption that is made now is the recorded one\n  patches: 100% of the weight inside" in said
    assert "\n  texts: " in said
    assert "\n  tokens: a " in said
    assert json.loads((tmp_path / "out" / "explained.json").read_text())["trials"][0]["trial"] == one
    with Image.open(tmp_path / "out" / "explained.png") as sheet:
        assert sheet.width == 1240
    invoke(run, SAMPLE, "--trial", one, "--out", tmp_path / "one.webp")
    with Image.open(tmp_path / "one.webp") as sheet:
        assert sheet.format == "WEBP"
    invoke(run, SAMPLE, "--trial", one, "--out", tmp_path / "one.json", "--texts", 2)
    assert len(json.loads((tmp_path / "one.json").read_text())["trials"][0]["texts"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.webp", "out"]


def test_samples_are_listed_and_named_by_their_beginnings(run):
    assert json.loads(invoke(run, "--list", "--json").stdout)[SAMPLE] == 4
    assert invoke(run, "test/0/0", "--list").stdout.splitlines() == [
        "sample            trials",
        "test/0/0/box/0    4",
        "test/0/0/image/0  4",
    ]
    assert "name a sample" in refused(run)
    told = refused(run, "test/0/0")
    assert "2 samples begin with 'test/0/0' they are: test/0/0/box/0, test/0/0/image/0 see all of them" in told
    told = refused(run, "test/0/0/bocks/0")
    assert "no sample 'test/0/0/bocks/0' in this run did you mean: test/0/0/box/0" in told
    assert "samples are called like: test/0/0/box/0" in refused(run, "zzz")


def test_most_trials_are_a_limit_with_a_sentence(run):
    found = explained(run, SAMPLE, "--most", 1)
    assert len(found["trials"]) == 1
    assert found["more"] == (
        "3 more trials hold this sample, none with a better noun-f1: name them with --trial, or raise --most"
    )


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_trials_of_the_sample_come_first(run, tmp_path, higher):
    shutil.copytree(run, tmp_path / "copy")
    with ResultStore(run / DATABASE, read_only=True) as store:
        names = [one.id for one in trials_of(store) if one.data == "box@mini"]
    with sqlite3.connect(tmp_path / "copy" / DATABASE) as database:
        database.execute("UPDATE scores SET higher_is_better = ?", (higher,))
        for name, value in zip(names, (0.5, 0.25, 1.0, 0.5), strict=True):
            database.execute("UPDATE sample_scores SET value = ? WHERE trial = ? AND position = 0", (value, name))
        database.execute("DELETE FROM sample_scores WHERE trial = ?", (names[0],))
    database.close()
    with ResultStore(tmp_path / "copy" / DATABASE, read_only=True) as store:
        trials = [one for one in trials_of(store) if one.data == "box@mini"]
        found, column = best_first(store, trials, SAMPLE)
        assert column == "noun-f1"
        order = [2, 3, 1, 0] if higher else [1, 3, 2, 0]
        assert [one.id for one in found] == [names[at] for at in order]
        assert best_first(store, trials, "nothing") == (trials, "")
    (first,) = explained(tmp_path / "copy", SAMPLE, "--most", 1)["trials"]
    assert first["trial"] == names[order[0]]
    chosen = explained(tmp_path / "copy", SAMPLE, "--trial", names[0], "--trial", names[2], "--most", 1)
    assert [one["trial"] for one in chosen["trials"]] == [names[0]], "those that are named stay in their order"
    assert chosen["more"].startswith("1 more trials hold this sample: ")


def test_trials_that_are_not_there_or_lack_the_sample_are_told_of(run):
    assert f"{run}: no trial 'zz'; choose one as {run}#TRIAL trials are: " in refused(f"{run}#zz", SAMPLE)
    other = trial(run, data="image@mini")
    assert "no sample 'test/0/0/box/0' in this run" in refused(f"{run}#{other}", SAMPLE)
    both = refused(run, "test/0/0/box", "--trial", other, "--trial", trial(run))
    assert f"trial {other} has no sample '{SAMPLE}'; it is of image@mini" in both


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--box", "1,2,3,4"], "--box does not go with {run}: it is a run", id="region"),
        pytest.param(["--preset", "mini"], "--preset does not go with {run}: it is a run", id="pipeline"),
        pytest.param(["--out", "maps.npz"], "--out maps.npz: write a picture", id="arrays"),
    ],
)
def test_options_of_pictures_do_not_go_with_a_run(run, arguments, words):
    assert words.format(run=run) in refused(run, SAMPLE, *arguments)


def test_options_of_runs_do_not_go_with_a_picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    told = refused(tmp_path / "a.png", "--trial", "x")
    assert f"--trial does not go with {tmp_path / 'a.png'}: {tmp_path / 'a.png'} is no folder of results" in told
    told = refused(tmp_path / "a.png", "1,2,3,4")
    assert "unexpected argument '1,2,3,4'" in told
    assert "coordinates are one argument: --box 21,44,48,74" in told


@pytest.fixture
def changed(run, tmp_path):
    """Return a copy of the run and a function that changes what is stored of one trial."""
    shutil.copytree(run, tmp_path / "copy")
    one = trial(run, region_encoder="patch-pool", bridge="memory")

    def change(statement, edit=None):
        with sqlite3.connect(tmp_path / "copy" / DATABASE) as database:
            if edit is not None:
                (text,) = database.execute("SELECT config FROM trials WHERE id = ?", (one,)).fetchone()
                config = json.loads(text)
                edit(config)
                database.execute("UPDATE trials SET config = ? WHERE id = ?", (json.dumps(config), one))
            if statement:
                database.execute(statement, (one,))
        database.close()
        return f"{tmp_path / 'copy'}#{one}"

    return change


def test_a_recorded_caption_that_is_no_longer_made_is_explained_all_the_same(changed):
    source = changed("UPDATE samples SET caption = 'a red car' WHERE trial = ? AND position = 0")
    one = explained(source, SAMPLE)["trials"][0]
    assert one["caption"]["same"] is False
    assert (one["caption"]["recorded"], one["explained"]) == ("a red car", "a red car")
    assert one["log_probability"] < -5
    assert "another caption than the one that is made now" in invoke(source, SAMPLE).stdout


def test_code_and_weights_that_have_changed_are_named(changed):
    def edit(config):
        config["code"] = "0123"
        config["pipeline"]["weights"]["decoder"]["sha256"] = "abc"

    changes = explained(changed("", edit), SAMPLE)["trials"][0]["changes"]
    assert len(changes) == 2
    assert changes[0].startswith("the weights of the decoder are others: they were mini-dense-decap")
    assert "(abc), they are mini-dense-decap" in changes[0]
    assert changes[1].startswith("the code has changed: it was 0123, it is ")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param(
            lambda config: config["pipeline"]["decoder"].update(name="decapp"), "no decoder named 'decapp'", id="part"
        ),
        pytest.param(
            lambda config: config["pipeline"]["decoder"].update(weights="file:/gone.safetensors"),
            "/gone.safetensors",
            id="weights",
        ),
        pytest.param(
            lambda config: config["data"]["dataset"].update(name="minni"), "no dataset named 'minni'", id="data"
        ),
        pytest.param(lambda config: config.pop("pipeline"), "this trial was stored without its pipeline", id="record"),
    ],
)
def test_what_is_gone_is_named_and_ends_with_1(changed, edit, words):
    told = refused(changed("", edit), SAMPLE, status=1)
    assert f"'{SAMPLE}' could not be explained: " in told
    assert words in told


def test_a_sample_without_a_caption_is_explained_by_what_is_made_now(changed):
    source = changed("UPDATE samples SET caption = NULL, error = 'no' WHERE trial = ? AND position = 0")
    one = explained(source, SAMPLE)["trials"][0]
    assert one["caption"]["recorded"] is None
    assert one["explained"] == one["caption"]["now"]
    assert "no caption is recorded; explained is the one that is made now" in invoke(source, SAMPLE).stdout


def test_a_damaged_record_is_named(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy" / DATABASE) as database:
        database.execute("UPDATE trials SET config = '{'")
    database.close()
    assert "the results cannot be read" in refused(tmp_path / "copy", SAMPLE)


def test_trials_are_told_apart_by_parts_and_by_options_that_differ():
    def config(bridge, **options):
        return {"pipeline": {"bridge": {"name": bridge, "weights": "auto", **options}, "decoder": {"name": "d"}}}

    found = labels_of(
        {"a": config("memory", temperature=0.01), "b": config("memory", temperature=0.05), "c": config("none"), "d": {}}
    )
    assert found == {
        "a": {"bridge": "memory", "bridge.temperature": "0.01"},
        "b": {"bridge": "memory", "bridge.temperature": "0.05"},
        "c": {"bridge": "none"},
        "d": {},
    }


def test_a_folder_whose_name_is_no_utf8_has_its_json(run, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run \xff"))
    shutil.copytree(run, folder)
    result = invoke(folder, SAMPLE, "--trial", trial(run, bridge="memory"), "--out", tmp_path / "told.json", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))["run"] == str(folder)
    assert json.loads(result.stdout)["run"] == str(folder)


def test_an_influence_that_is_rounded_to_nothing_has_no_sign():
    patches = SimpleNamespace(inside=None, influence=None, of_region=-0.001)
    found = SimpleNamespace(patches=patches, texts=(), texts_influence=None, tokens=(), notes={})
    assert sentences(found) == ["patches: without the region the caption loses 0.00 nats"]
