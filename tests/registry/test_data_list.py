from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from data_toys import TEST, downloaded, zoo

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease
from regionkit.registry.commands.data_list import as_table
from regionkit.registry.discovery.spec_checks import check_component


@pytest.fixture
def home(project, monkeypatch):
    """Return a project with the zoo and a folder of data sets."""
    monkeypatch.setenv("REGIONKIT_DATA", str(project.folder / "data"))
    return zoo(project)


def row(result, name):
    return next(line for line in result.stdout.splitlines() if line.startswith(f"{name} "))


def test_the_table_says_what_is_here(home):
    result = home.run("data", "list")
    assert result.stdout.splitlines()[0].split() == ["NAME", "TASKS", "SPLITS", "HERE", "LICENSE", "SUMMARY"]
    assert row(result, "zoo").endswith("  Animals")
    assert " no " in row(result, "zoo")
    home({"data/zoo/records/test.json": json.dumps(TEST)})
    assert "1 of 3 files" in row(home.run("data", "list"), "zoo")
    home(downloaded())
    home.run("data", "import", "zoo", "--from", "downloads")
    assert " yes " in row(home.run("data", "list"), "zoo")
    facts = {one["name"]: one for one in json.loads(home.run("data", "list", "--json").stdout)}
    assert (facts["zoo"]["here"], facts["mini"]["here"], facts["zoo"]["splits"]) == ("yes", "-", ["test", "val"])


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        pytest.param(None, "NAME TASKS SPLITS HERE LICENSE SUMMARY", id="no-terminal"),
        pytest.param(220, "NAME TASKS SPLITS HERE LICENSE SUMMARY", id="wide"),
        pytest.param(120, "NAME TASKS HERE SUMMARY", id="medium"),
        pytest.param(80, "NAME HERE SUMMARY", id="narrow"),
        pytest.param(20, "NAME HERE SUMMARY", id="tiny"),
    ],
)
def test_the_table_on_a_terminal(home, width, columns):
    from regionkit.registry.registry import get_registry

    lines = as_table(get_registry().specs("dataset"), width).splitlines()
    assert lines[0].split() == columns.split()
    told = [line for line in lines if line.startswith("This terminal is too narrow for: ")]
    assert bool(told) == (len(columns.split()) < 6)
    jsonl = next(line for line in lines if line.startswith("jsonl "))
    assert ("vcr" in jsonl) == (width is None)  # all tasks, or as many as there is room for
    assert max(len(line) - len(line.rpartition("  ")[2]) for line in lines if line not in told) < 44 or width != 80


def test_doctor_says_which_sets_are_here(home, monkeypatch):
    from regionkit.registry.commands.doctor import _data

    def told():
        return [(one.name, one.status, one.detail) for one in _data()]

    folder = home.folder / "data"
    assert told() == [("REGIONKIT_DATA", "note", f"{folder}: is not there yet; toolkit data import makes it")]
    home({"data/zoo/records/test.json": json.dumps(TEST)})
    some = ("zoo", "note", "1 of 3 files are here; the others: toolkit data list zoo")
    assert told() == [("REGIONKIT_DATA", "ok", str(folder)), some]
    home(downloaded())
    home.run("data", "import", "zoo", "--from", "downloads")
    assert told()[1] == ("zoo", "ok", "all files are here")
    monkeypatch.setenv("REGIONKIT_DATA", str(home.folder / "zoo_parts.py"))
    assert told() == [("REGIONKIT_DATA", "bad", f"{home.folder}/zoo_parts.py: is a file")]
    monkeypatch.delenv("REGIONKIT_DATA")
    assert told() == [
        ("REGIONKIT_DATA", "note", "not set; say where data sets are with: export REGIONKIT_DATA=DIR"),
    ]


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        pytest.param(
            "zoo", ["  whether a pipeline runs on it: toolkit run PRESET --data TASK@zoo --limit 1"], id="data"
        ),
        pytest.param("vqa", ["  data sets that pose it: toolkit data list"], id="task"),
        pytest.param("parrot", [], id="judge"),
    ],
)
def test_compat_says_where_to_look_for_what_is_no_part(home, name, hints):
    result = home.run("compat", name)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == [
        f"  all about it: toolkit show {name}",
        *hints,
        "  parts are: backbone, region_encoder, bridge, decoder; see: toolkit list-components",
    ]


def test_one_data_set(home):
    home({"data/zoo/records/test.json": json.dumps(TEST)})
    assert home.run("data", "list", "zoo").stdout == (
        "zoo: Animals\n"
        "  tasks:     box, point\n"
        "  splits:    test, val\n"
        "  licence:   CC-BY-4.0\n"
        "  homepage:  https://zoo.example\n"
        f"  folder:    {home.folder}/data/zoo\n"
        "  files:\n"
        "    records/test.json: here; captions, for test\n"
        "        get it from: https://zoo.example/records.zip\n"
        "        licence: MIT\n"
        "    records/val.json: not here; captions, for val\n"
        "        get it from: https://zoo.example/records.zip\n"
        "    pictures/*.png: not here; pictures\n"
        "        get it from: https://zoo.example/pictures.tar.gz\n"
        "    ../shelter/names.txt: not here; names, optional\n"
        "        get it from: https://shelter.example\n"
        "  holds:\n"
        "    box/test: 3 samples of 2 pictures\n"
        "    box/val: 1 sample\n"
        "    box/test with order=down: 9 samples\n"
        "  hand over what you downloaded with: toolkit data import zoo --from PATH\n"
    )
    facts = json.loads(home.run("data", "list", "zoo", "--json").stdout)
    assert facts["folder"] == f"{home.folder}/data/zoo"
    assert facts["files"][0]["found"] == f"{home.folder}/data/zoo/records/test.json"
    assert facts["files"][1]["license"] == "CC-BY-4.0"
    assert facts["counts"][2] == {"task": "box", "split": "test", "samples": 9, "images": 0, "options": ["order=down"]}


def test_show_says_the_same(home):
    text = home.run("show", "zoo").stdout
    assert (
        "  files:     (here: no; toolkit data list zoo)\n    records/test.json (captions, for test): get it from"
        in text
    )
    assert "  holds:\n    box/test: 3 samples of 2 pictures\n" in text
    (facts,) = json.loads(home.run("show", "zoo", "--json").stdout)
    assert facts["release"]["folder"] == "zoo"


def test_without_a_folder_of_data_sets(home, monkeypatch):
    monkeypatch.delenv("REGIONKIT_DATA")
    text = home.run("data", "list", "zoo").stdout
    assert "  folder:    below $REGIONKIT_DATA, which is not set: export REGIONKIT_DATA=DIR\n" in text
    assert "    records/test.json: not here; captions, for test\n" in text


def test_an_unknown_data_set(home):
    result = home.run("data", "list", "zo")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no dataset named 'zo'\n  did you mean: zoo\n")


def test_a_listing_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from click.testing import CliRunner; from regionkit.registry.cli import root\n"
        "for words in (['data', 'list'], ['data', 'list', 'jsonl'], ['data', 'list', '--json']):\n"
        "    result = CliRunner().invoke(root, words); assert result.exit_code == 0, result.output\n"
        "assert not {'torch', 'numpy', 'PIL', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GOOD = ComponentSpec(
    kind="dataset",
    name="zoo",
    target="zoo:Zoo",
    accepts=("box",),
    release=DataRelease(
        "zoo",
        files=(DataFile("a/*.json", splits=("test",)), DataFile("../coco/val2014/*.jpg")),
        counts=(DataCount("box", "test", 3),),
        splits=("test",),
    ),
)


def released(**changes):
    return replace(GOOD, release=replace(GOOD.release, **changes))


def test_a_sound_release():
    assert check_component(GOOD) is GOOD


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            replace(GOOD, kind="corpus", accepts=()),
            "corpus 'zoo': only a data set has a release; released weights are checkpoints",
            id="kind",
        ),
        pytest.param(
            replace(GOOD, release={"folder": "zoo"}),
            "dataset 'zoo': release must be a DataRelease, it is {'folder': 'zoo'}",
            id="type",
        ),
        pytest.param(
            released(folder="../zoo"),
            "dataset 'zoo': release: folder '../zoo' is no path below the folder of data sets",
            id="folder",
        ),
        pytest.param(
            released(splits="test"), "dataset 'zoo': release: splits must be a tuple, it is 'test'", id="splits"
        ),
        *(
            pytest.param(
                released(files=(DataFile(path),)),
                f"dataset 'zoo': release: file '{path}': a path is relative to the data set's folder, with / between "
                "names; only ../FOLDER/..., in the folder of another data set, leads out of it",
                id=label,
            )
            for label, path in (
                ("absolute", "/etc/passwd"),
                ("up", "a/../../b"),
                ("twice-up", "../../b/c"),
                ("backslash", "a\\b"),
                ("drive", "C:/a"),
                ("empty", ""),
            )
        ),
        pytest.param(
            released(files=(DataFile("../coco"),)),
            "dataset 'zoo': release: file '../coco': ../ leads to the folder of another data set: name a file in it",
            id="sibling",
        ),
        pytest.param(
            released(files=(DataFile("a", sha256="1"),)),
            "dataset 'zoo': release: file 'a': sha256 is not 64 hexadecimal digits",
            id="hash",
        ),
        pytest.param(
            released(files=(DataFile("a", archive="b/c.zip"),)),
            "dataset 'zoo': release: file 'a': archive 'b/c.zip' is no name of a file",
            id="archive",
        ),
        pytest.param(
            released(files=(DataFile("a", splits=("tset",)),)),
            "dataset 'zoo': release: file 'a': it is for the unknown split 'tset'; splits are: test",
            id="file-split",
        ),
        pytest.param(
            released(files=(DataFile("{split}.json"),)),
            "dataset 'zoo': release: file '{split}.json': a path is a name or a shell pattern with * ? [ ]; "
            "name the file of each split",
            id="braces",
        ),
        pytest.param(
            released(files=(DataFile("a"), DataFile("a"))),
            "dataset 'zoo': release: the file 'a' is named twice",
            id="twice",
        ),
        pytest.param(
            released(files=("a",)), "dataset 'zoo': release: files must hold DataFile objects, it holds 'a'", id="file"
        ),
        pytest.param(
            released(counts=(DataCount("point", "test", 3),)),
            "dataset 'zoo': release: count of point/test: the task is unknown; tasks are: box",
            id="count-task",
        ),
        pytest.param(
            released(counts=(DataCount("box", "val", 3),)),
            "dataset 'zoo': release: count of box/val: the split is unknown; splits are: test",
            id="count-split",
        ),
        pytest.param(
            released(counts=(DataCount("box", "test", -1),)),
            "dataset 'zoo': release: count of box/test: -1 is no number of samples or pictures",
            id="count",
        ),
        pytest.param(
            released(counts=(DataCount("box", "test", 3, options=("order",)),)),
            "dataset 'zoo': release: count of box/test: the option 'order' is not option=value",
            id="count-option",
        ),
    ],
)
def test_a_release_that_is_wrong(spec, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        check_component(spec)
    assert str(caught.value) == message
