from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest
from data_toys import TEST, VAL, downloaded, picture, zoo

SOUND = [one for one in TEST if "image" in one]


@pytest.fixture
def home(project, monkeypatch):
    """Return a project whose zoo is in its place, with the hash of its first file."""
    monkeypatch.setenv("REGIONKIT_DATA", str(project.folder / "data"))
    files = downloaded()
    held = {name.replace("downloads/zoo-1.0", "data/zoo"): content for name, content in files.items()}
    return zoo(project, hashlib.sha256(held["data/zoo/records/test.json"].encode()).hexdigest())(held)


def test_bad_records_of_the_released_content_are_told_and_no_fault(home):
    result = home.run("data", "verify", "zoo")
    assert result.exit_code == 0
    assert result.stdout == (
        "TASK  SPLIT  SAMPLES  PICTURES  LEFT OUT  AS RELEASED\n"
        "box   test   2        2         1         yes\n"
        "box   val    1        1         0         yes\n"
        "\n"
        "3 pictures decoded, 1 files of known content read\n"
        f"left out of box/test: {home.folder}/data/zoo/records/test.json:3: it has no 'image'\n"
        "zoo: as it was released\n"
    )


def test_other_bad_records_are_faults_unless_they_are_allowed(home):
    home({"data/zoo/records/val.json": json.dumps([*VAL, {"size": [1, 1]}])})
    line = "box/val: data/zoo/records/val.json:2: it has no 'image'"
    assert faults(home, "--split", "val") == [line]
    assert faults(home, "--split", "val", "--allow-bad") == []
    found = json.loads(home.run("data", "verify", "zoo", "--allow-bad", "--json").stdout)
    assert [one.partition("records/")[2] for one in found["notes"]] == [
        "test.json:3: it has no 'image'", "val.json:2: it has no 'image'",
    ]  # fmt: skip
    result = home.run("data", "verify", "zoo")
    assert result.exit_code == 1
    assert result.stderr == f"error: zoo: 1 fault\n  {line.replace('data/', f'{home.folder}/data/', 1)}\n"


def faults(home, *arguments):
    result = home.run("data", "verify", "zoo", "--json", *arguments)
    found = json.loads(result.stdout)["faults"]
    assert result.exit_code == bool(found)
    return [line.replace(f"{home.folder}/", "") for line in found]


def test_what_is_not_as_released(home):
    home({"data/zoo/records/test.json": json.dumps(SOUND[:1])})
    digest = hashlib.sha256(json.dumps(SOUND[:1]).encode()).hexdigest()
    found = faults(home)
    assert found[0].startswith(f"data/zoo/records/test.json: its SHA-256 is {digest}, that of the released file is ")
    assert found[1:] == ["box/test: 3 samples of 2 pictures are released, here are 1 of 1"]
    assert faults(home, "--split", "val") == []


def test_files_that_are_missing(home):
    (home.folder / "data/zoo/records/val.json").unlink()
    line = (
        "not here: records/val.json (captions, for val): get it from https://zoo.example/records.zip; licence CC-BY-4.0"
    )
    assert faults(home, "--allow-bad") == [line]
    assert faults(home, "--allow-bad", "--split", "test") == []


def test_a_file_that_cannot_be_read_is_a_fault(home):
    home({"data/zoo/records/val.json": "["})
    assert faults(home, "--split", "val") == ["box/val: data/zoo/records/val.json: no JSON\n    download it again"]


def test_pictures_that_are_missing_or_damaged(home):
    (home.folder / "data/zoo/pictures/ape.png").unlink()
    home({"data/zoo/pictures/bee.png": picture()[:40]})
    found = faults(home, "--allow-bad")
    assert found[0] == (
        "box/test: 1 of 2 pictures is not there: ape\n    picture 'ape': data/zoo/pictures/ape.png is not there"
    )
    assert found[1].startswith("box/test: picture 'bee': data/zoo/pictures/bee.png")
    assert [line.partition("\n")[0] for line in found[2:]] == ["box/val: 1 of 1 picture is not there: ape"]
    # A picture that is not there is found without decoding any.
    assert len(faults(home, "--allow-bad", "--pictures", "0")) == 2


def test_a_sample_of_pictures_is_drawn_from_a_seed(home):
    records = [{"image": f"p{number}", "size": [4, 4], "captions": ["a"]} for number in range(40)]
    home({"data/zoo/records/val.json": json.dumps(records)})
    home({f"data/zoo/pictures/p{number}.png": b"no picture" for number in range(40)})

    def drawn(*arguments):
        found = faults(home, "--split", "val", *arguments)
        return {line.partition("'")[2].partition("'")[0] for line in found if "picture '" in line}

    assert len(drawn("--pictures", "5")) == 5
    assert drawn("--pictures", "5") == drawn("--pictures", "5")
    assert drawn("--pictures", "5") != drawn("--pictures", "5", "--seed", "1")
    assert len(drawn("--pictures", "all")) == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["zo"], "error: no dataset named 'zo'\n  did you mean: zoo\n", id="name"),
        pytest.param(["./zo"], "error: zo is no folder that `toolkit data make` wrote: dataset.json", id="folder"),
        pytest.param(
            ["zoo", "--task", "bx"], "error: data set 'zoo' has no task 'bx'\n  did you mean: box\n", id="task"
        ),
        pytest.param(
            ["zoo", "--split", "dev"], "error: data set 'zoo' has no split 'dev'\n  splits are: test, val\n", id="split"
        ),
        pytest.param(["zoo", "--pictures", "few"], "'few' is neither a number nor all", id="pictures"),
    ],
)
def test_mistakes(home, arguments, message):
    result = home.run("data", "verify", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_folder_that_was_made_wins_over_a_data_set_of_its_name(home):
    assert home.run("data", "make", "mini", "--limit", "1", "--out", "zoo").exit_code == 0
    assert home.run("data", "verify", "zoo").stdout == "zoo: as it was made\n"


def test_missing_pictures_are_one_line_with_one_example(home):
    records = [{"image": f"p{number}", "size": [4, 4], "captions": ["a"]} for number in range(25)]
    home({"data/zoo/records/val.json": json.dumps(records)})
    ids = ", ".join(f"p{number}" for number in range(20))
    assert faults(home, "--split", "val", "--task", "box")[-1] == (
        f"box/val: 25 of 25 pictures are not there: {ids}, and 5 more\n"
        "    picture 'p0': data/zoo/pictures/p0.png is not there"
    )


def test_the_keys_of_json(home):
    (home.folder / "data/zoo/pictures/ape.png").unlink()
    found = json.loads(home.run("data", "verify", "zoo", "--json").stdout)
    assert list(found) == ["dataset", "faults", "counts", "notes", "hashed", "pictures", "missing_pictures"]
    assert found["missing_pictures"] == {"box/test": ["ape"], "box/val": ["ape"]}
    home.run("data", "make", "mini", "--limit", "1", "--out", "made")
    assert list(json.loads(home.run("data", "verify", "made", "--json").stdout)) == ["folder", "dataset", "faults"]


def test_without_a_folder_of_data_sets(home, monkeypatch):
    monkeypatch.delenv("REGIONKIT_DATA")
    result = home.run("data", "verify", "zoo")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2, "error: no folder for 'zoo': REGIONKIT_DATA is not set",
    )  # fmt: skip


def test_a_make_that_was_interrupted_is_told_and_made_again(home, monkeypatch):
    from regionkit.plugins.mini.data import MiniDataset

    def interrupted(self, folder, split, seed, limit):
        (folder / "test-0-0.png").write_bytes(b"half")
        (folder / ".test-0-1.png.x.part").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MiniDataset, "make", interrupted)
        assert home.run("data", "make", "mini", "--limit", "2", "--out", "made").exit_code != 0
    result = home.run("data", "verify", "made")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: made: it is not finished: `toolkit data make mini` was interrupted\n"
        "  make it again with: toolkit data make mini --out made\n",
    )
    assert home.run("data", "make", "mini", "--limit", "2", "--out", "made").exit_code == 0
    assert home.run("data", "verify", "made").stdout == "made: as it was made\n"
    assert not list((home.folder / "made").glob(".*"))


def test_a_make_that_cannot_be_leaves_nothing(home, monkeypatch):
    from regionkit.plugins.mini.data import MiniDataset

    result = home.run("data", "make", "zoo", "--out", "made")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: data set 'zoo' is not made here, and cannot be written to disk\n"
        "  where to get it: toolkit data list zoo\n",
    )

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MiniDataset, "make", full)
    result = home.run("data", "make", "mini", "--out", "made")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: made cannot be written: No space left on device\n"
        "  make room there, or choose another folder with --out\n",
    )
    assert not (home.folder / "made").exists()
