from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from data_toys import TEST, VAL, downloaded, picture, zipped, zoo

from regionkit.registry.commands import data_placing


@pytest.fixture
def home(project, monkeypatch):
    """Return a project with the zoo and a folder of data sets."""
    monkeypatch.setenv("REGIONKIT_DATA", str(project.folder / "data"))
    return zoo(project)


def facts(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_folder_is_linked_and_counted(home):
    home(downloaded())
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert result.exit_code == 0, result.output
    source = home.folder / "downloads/zoo-1.0"
    assert result.stdout == (
        f"zoo: {home.folder}/data/zoo\n"
        f"  records/test.json: linked from {source}/records/test.json\n"
        f"  records/val.json: linked from {source}/records/val.json\n"
        f"  pictures/*.png: linked from {source}/pictures\n"
        "\n"
        "TASK  SPLIT  SAMPLES  PICTURES  LEFT OUT  AS RELEASED\n"
        "box   test   2        2         1         yes\n"
        "box   val    1        1         0         yes\n"
        "left out of box/test:\n"
        f"  {home.folder}/data/zoo/records/test.json:3: it has no 'image'\n"
    )
    assert Path(home.folder / "data/zoo/pictures").readlink() == source / "pictures"
    again = facts(home.run("data", "import", "zoo", "--from", "downloads", "--json"))
    assert [one["how"] for one in again["files"]] == ["there already"] * 3
    assert [(one["split"], one["samples"], one["as_released"]) for one in again["counts"]] == [
        ("test", 2, True),
        ("val", 1, True),
    ]


def test_copies_are_files_of_their_own(home):
    home(downloaded())
    found = facts(home.run("data", "import", "zoo", "--from", "downloads", "--copy", "--json"))
    assert [(one["how"], one["count"]) for one in found["files"]] == [("copied", 1), ("copied", 1), ("copied", 2)]
    held = home.folder / "data/zoo"
    assert not any(path.is_symlink() for path in held.rglob("*"))
    assert tree(held) == ["pictures/ape.png", "pictures/bee.png", "records/test.json", "records/val.json"]


def tarball(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def archives():
    return {
        "dl/records.zip": zipped({"zoo/records/test.json": TEST, "zoo/records/val.json": VAL, "zoo/README": b"x"}),
        "dl/pictures.tar.gz": tarball({"pictures/ape.png": picture(), "pictures/bee.png": picture()}),
    }


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param(["dl"], id="folder-of-archives"),
        pytest.param(["dl/pictures.tar.gz", "dl/records.zip"], id="archives"),
    ],
)
def test_archives_are_unpacked_where_they_belong(home, sources):
    home(archives())
    named = [word for source in sources for word in ("--from", source)]
    found = facts(home.run("data", "import", "zoo", *named, "--json"))
    assert {(one["path"], one["how"]) for one in found["files"]} == {
        ("records/test.json", "unpacked"), ("records/val.json", "unpacked"), ("pictures/*.png", "unpacked"),
    }  # fmt: skip
    held = home.folder / "data/zoo"
    assert tree(held) == ["pictures/ape.png", "pictures/bee.png", "records/test.json", "records/val.json"]
    assert sorted(os.listdir(held)) == ["pictures", "records"]
    assert not any(path.is_symlink() for path in held.rglob("*"))
    # Nothing is unpacked again.
    assert facts(home.run("data", "import", "zoo", *named, "--json"))["files"] == []


def test_an_import_that_was_interrupted_goes_on(home, monkeypatch):
    home(archives())
    real, calls = os.replace, []

    def replace(source, target):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(target)
        return real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(data_placing.os, "replace", replace)
        assert home.run("data", "import", "zoo", "--from", "dl").exit_code != 0
    assert (home.folder / "data/zoo/.unpacked").is_dir()
    found = facts(home.run("data", "import", "zoo", "--from", "dl", "--json"))
    assert [one["as_released"] for one in found["counts"]] == [True, True]
    held = home.folder / "data/zoo"
    assert tree(held) == ["pictures/ape.png", "pictures/bee.png", "records/test.json", "records/val.json"]


def test_an_archive_is_named_and_not_where_it_was_unpacked(home):
    home(archives())
    result = home.run("data", "import", "zoo", "--from", "dl")
    assert f"records/test.json: unpacked from {home.folder}/dl/records.zip\n" in result.stdout
    assert ".unpacked" not in result.stdout


def test_what_a_killed_import_left_half_unpacked_goes_away(home):
    home({**archives(), "data/zoo/.unpacked/.records.zip-1.xyz.part/records/test.json": "["})
    facts(home.run("data", "import", "zoo", "--from", "dl", "--json"))
    assert sorted(os.listdir(home.folder / "data/zoo")) == ["pictures", "records"]


def test_two_imports_do_not_unpack_into_each_other(home):
    fcntl = pytest.importorskip("fcntl")
    home({**archives(), "data/zoo/.unpacked/records.zip-1/records/test.json": "["})
    handle = os.open(home.folder / "data/zoo/.unpacked", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        result = home.run("data", "import", "zoo", "--from", "dl")
    finally:
        os.close(handle)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: another import unpacks archives in {home.folder}/data/zoo\n"
        "  start this one again when that one has ended\n"
    )
    assert (home.folder / "data/zoo/.unpacked/records.zip-1").is_dir()
    facts(home.run("data", "import", "zoo", "--from", "dl", "--json"))


def test_an_archive_that_is_refused_leaves_nothing(home):
    home({"dl/records.zip": zipped({"../../evil.json": TEST})})
    assert home.run("data", "import", "zoo", "--from", "dl").exit_code == 2
    assert not (home.folder / "data/zoo").exists()


def test_a_full_disk(home, monkeypatch):
    home(downloaded())

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(data_placing.shutil, "copyfile", full)
    result = home.run("data", "import", "zoo", "--from", "downloads", "--copy")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {home.folder}/data/zoo/records/test.json cannot be written: No space left on device\n"
        "  make room there, or keep data sets elsewhere: export REGIONKIT_DATA=DIR\n"
        "  what was put in its place stays; start the command again to go on\n"
    )
    assert tree(home.folder / "data") == []


def test_a_folder_of_data_sets_that_is_a_file(home):
    home({**downloaded(), "data": "x"})
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: no folder {home.folder}/data/zoo for 'zoo': {home.folder}/data is a file\n"
        "  say where data sets are: export REGIONKIT_DATA=DIR\n"
        "  or where this one is: --set root=DIR\n",
    )


def test_names_with_odd_characters_and_links_in_a_circle(home):
    home({"dl/a b/ünï $x/records/test.json": json.dumps(TEST), "dl/a b/pictures/o'd \"d [1].png": picture()})
    (home.folder / "dl/a b/again").symlink_to(home.folder / "dl", target_is_directory=True)
    (home.folder / "dl/self").symlink_to(home.folder / "dl/self")
    found = facts(home.run("data", "import", "zoo", "--from", "dl", "--json"))
    assert [(one["path"], one["how"]) for one in found["files"]] == [
        ("records/test.json", "linked"), ("pictures/*.png", "linked"),
    ]  # fmt: skip
    assert (home.folder / "data/zoo/pictures/o'd \"d [1].png").is_file()


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        pytest.param(
            {"dl/all.zip": zipped({"records/test.json": TEST})},
            "archives in it were not opened (all.zip): hand one over by itself with --from",
            id="of-another-name",
        ),
        pytest.param(
            {"dl/x.7z": b"7z"}, "archives in it were not opened (x.7z): hand one over by itself with --from", id="7z"
        ),
    ],
)
def test_archives_that_are_not_opened_are_named(home, files, hint):
    home(files)
    assert hint in home.run("data", "import", "zoo", "--from", "dl").stderr


def test_an_archive_of_a_kind_that_is_not_read(home):
    home({"x.rar": b"Rar!"})
    result = home.run("data", "import", "zoo", "--from", "x.rar")
    assert "archives that are read: .zip, .tar, .tar.gz, .tgz; unpack others first" in result.stderr


def test_what_is_missing_is_told_with_where_to_get_it(home):
    home({"dl/test.json": json.dumps(TEST)})
    result = home.run("data", "import", "zoo", "--from", "dl/test.json")
    assert result.exit_code == 0
    assert (
        "not here:\n"
        "  records/val.json (captions, for val): get it from https://zoo.example/records.zip; "
        "licence CC-BY-4.0\n"
        "  pictures/*.png (pictures): get it from https://zoo.example/pictures.tar.gz; "
        "licence CC-BY-4.0\n"
    ) in result.stdout
    assert "box   test   2        2         1         yes" in result.stdout
    assert "val" not in result.stdout.rpartition("TASK")[2]


def test_a_file_in_the_way_is_never_replaced_unasked(home):
    home(downloaded())
    home({"data/zoo/records/test.json": "[]"})
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert result.exit_code == 2
    target, source = "data/zoo/records/test.json", "downloads/zoo-1.0/records/test.json"
    assert result.stderr == (
        "error: 1 file is in the way\n"
        f"  {home.folder}/{target} is there, and is another than {home.folder}/{source}\n"
        "  move them away, or replace them with --force; nothing was changed\n"
    )
    assert (home.folder / target).read_text() == "[]"
    assert not (home.folder / "data/zoo/pictures").exists()
    assert home.run("data", "import", "zoo", "--from", "downloads", "--force").exit_code == 0
    assert json.loads((home.folder / target).read_text()) == TEST
    # The old file was taken out of the way, not written through.
    assert (home.folder / target).is_symlink()


def test_pictures_are_added_one_by_one_to_a_folder_that_is_there(home):
    home(downloaded())
    home({"data/zoo/pictures/ape.png": picture()})
    found = facts(home.run("data", "import", "zoo", "--from", "downloads", "--json"))
    (pictures,) = [one for one in found["files"] if one["path"] == "pictures/*.png"]
    assert (pictures["how"], pictures["count"]) == ("linked", 1)
    assert not (home.folder / "data/zoo/pictures/ape.png").is_symlink()
    assert (home.folder / "data/zoo/pictures/bee.png").is_symlink()


def test_nothing_is_written_through_a_link_into_a_users_folder(home):
    home(downloaded())
    home({"mine/pictures/ape.png": picture(), "data/zoo/x": ""})
    (home.folder / "data/zoo/pictures").symlink_to(home.folder / "mine/pictures")
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert result.exit_code == 2
    assert f"is a link to {home.folder}/mine/pictures, and no place to write to" in result.stderr
    assert tree(home.folder / "mine") == ["pictures/ape.png"]


def test_a_folder_of_pictures_of_another_name(home):
    home({"elsewhere/ape.png": picture(), "elsewhere/bee.png": picture(), "elsewhere/deep/no.png": picture()})
    home({"dl/test.json": json.dumps(TEST)})
    found = facts(home.run("data", "import", "zoo", "--from", "elsewhere", "--from", "dl", "--json"))
    assert ("pictures/*.png", "linked") in [(one["path"], one["how"]) for one in found["files"]]
    assert (home.folder / "data/zoo/pictures/bee.png").is_file()


def test_a_sibling_folder(home):
    home({**downloaded(), "downloads/names.txt": "ape\n"})
    facts(home.run("data", "import", "zoo", "--from", "downloads", "--json"))
    assert (home.folder / "data/shelter/names.txt").read_text() == "ape\n"


def test_two_files_of_one_name_are_not_guessed(home):
    home({"dl/a/records/test.json": "[]", "dl/b/records/test.json": "[1]"})
    result = home.run("data", "import", "zoo", "--from", "dl")
    assert result.exit_code == 2
    first, second = (f"{home.folder}/dl/{name}/records/test.json" for name in "ab")
    assert result.stderr == (
        f"error: 2 files could be records/test.json: {first}, {second}\n"
        "  name the right one, or its folder, with --from\n"
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"dl/records.zip": zipped({"../../evil.json": TEST})}, "leads out of the folder", id="traversal"),
        pytest.param({"dl/records.zip": zipped({"zoo/records/test.json": TEST})[:60]}, "refused", id="truncated"),
        pytest.param({"dl/records.zip": b"PK\x03\x04"}, "it is damaged", id="damaged"),
    ],
)
def test_hostile_archives_are_refused(home, files, said):
    home(files)
    result = home.run("data", "import", "zoo", "--from", "dl")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (home.folder / "data/evil.json").exists()
    assert tree(home.folder / "data") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["zoo", "--from", "nowhere"], "error: --from nowhere: there is no such file or folder\n", id="path"
        ),
        pytest.param(
            ["zoo", "--from", "empty"],
            "error: no file of 'zoo' is in empty\n"
            "  its files are called: records/test.json, records/val.json, pictures/*.png, ../shelter/names.txt\n"
            "  where to get them: toolkit data list zoo\n",
            id="nothing",
        ),
        pytest.param(
            ["mini"],
            "error: data set 'mini' needs no files: there is nothing to import\n  see: toolkit show mini\n",
            id="generated",
        ),
        pytest.param(
            ["jsonl", "--set", "file=a.jsonl", "--from", "empty"],
            "error: data set 'jsonl' has no files of a release: its options say what it reads\n"
            "  leave --from out, and name them with --set; see: toolkit show jsonl\n",
            id="own",
        ),
        pytest.param(
            ["zoo", "--from", "empty", "--set", "name=mini"],
            "error: --set name=mini: the data set is 'zoo', as the command line says\n",
            id="name",
        ),
        pytest.param(
            ["zoo", "--set", "order=sideways"],
            "error: --set order: zoo.order: expected up or down, got the text 'sideways'\n",
            id="option",
        ),
    ],
)
def test_mistakes(home, arguments, message):
    home({"empty/x.txt": "x"})
    result = home.run("data", "import", *arguments)
    assert (result.exit_code, result.stderr) == (2, message)


def test_without_a_folder_of_data_sets(home, monkeypatch):
    monkeypatch.delenv("REGIONKIT_DATA")
    home(downloaded())
    assert home.run("data", "import", "zoo", "--from", "downloads").stderr == (
        "error: no folder for 'zoo': REGIONKIT_DATA is not set\n"
        "  say where data sets are: export REGIONKIT_DATA=DIR\n"
        "  or where this one is: --set root=DIR\n"
    )
    found = facts(home.run("data", "import", "zoo", "--from", "downloads", "--set", "root=here", "--json"))
    assert found["folder"] == "here"
    assert (home.folder / "here/records/test.json").is_symlink()


def test_the_keys_of_json(home):
    home(downloaded())
    found = facts(home.run("data", "import", "zoo", "--from", "downloads", "--json"))
    assert list(found) == ["dataset", "folder", "files", "missing", "counts", "errors"]
    assert list(found["files"][0]) == ["path", "how", "from", "to", "count"]
    assert {"task", "split", "samples", "images", "left_out", "expected", "as_released"} <= set(found["counts"][0])
    (home.folder / "data/zoo/records/val.json").unlink()
    (missing,) = facts(home.run("data", "import", "zoo", "--json"))["missing"]
    assert list(missing) == ["path", "source", "splits", "archive"]
    home({"data/zoo/records/val.json": "["})
    (error,) = facts(home.run("data", "import", "zoo", "--json", "--task", "box"))["errors"]
    assert list(error) == ["task", "split", "error"]


def test_counts_that_are_not_as_released(home):
    home({**downloaded(), "downloads/zoo-1.0/records/test.json": json.dumps(TEST[:1])})
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert result.exit_code == 0
    assert "box   test   1        1         0         no\n" in result.stdout
    assert result.stdout.endswith(
        "not as released:\n  box/test: 3 samples of 2 pictures are released, here are 1 of 1\n"
    )
    options = ("--set", "order=down", "--split", "test", "--task", "box")
    (count,) = facts(home.run("data", "import", "zoo", *options, "--json"))["counts"]
    assert (count["expected"], count["as_released"]) == ({"samples": 9, "images": 0}, False)


def test_nothing_can_be_read_yet(home):
    home({"downloads/pictures/ape.png": picture()})
    result = home.run("data", "import", "zoo", "--from", "downloads")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: nothing of 'zoo' can be read yet\n"
        "  hand over what is missing with: toolkit data import zoo --from PATH\n"
    )
    told = result.stdout.partition("cannot be read:\n")[2]
    assert "records/val.json" in told, "every reason counts where nothing can be read"


def test_a_users_own_jsonl_is_indexed(home):
    rows = [
        {"image": "a.png", "box": [0, 0, 4, 4], "references": ["a"]},
        {"image": "a.png", "box": [0, 0, "x", 4]},
        {"image": "b.png", "references": ["b"]},
    ]
    home({"own.jsonl": "\n".join(map(json.dumps, rows)), "a.png": picture(), "b.png": picture()})
    result = home.run("data", "import", "jsonl", "--set", "file=own.jsonl", "--split", "test", "--task", "box")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("TASK  SPLIT  SAMPLES  PICTURES  LEFT OUT  AS RELEASED\nbox   test   1        1 ")
    assert "left out of box/test:\n  own.jsonl:2: " in result.stdout
