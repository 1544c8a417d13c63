import hashlib
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
import weight_toys
from PIL import Image

from regionkit.core.errors import DataError
from regionkit.core.weights import read_header
from regionkit.registry import load
from regionkit.registry.assembly import build
from regionkit.registry.weights import bundles


def error(result, code=2):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def picture(project):
    """Return the path of a picture of the mini-world."""
    dataset = build("dataset", "mini")
    sample = dataset.samples("box", "test", 0, 1)[0]
    image = dataset.image(sample.image_id)
    assert isinstance(image, Image.Image)
    image.save("scene.png")
    return "scene.png"


def captions(project, picture, *arguments):
    regions = ("--box", "8,8,60,60", "--point", "40,40", "--whole")
    result = project.run("caption", picture, *regions, *arguments, "--json", "--device", "cpu", "--force")
    assert result.exit_code == 0, result.output
    return [(row["caption"], row["score"]) for row in json.loads(result.stdout)["captions"]]


def test_a_bundle_unpacked_elsewhere_captions_exactly_as_the_preset(project, picture, monkeypatch):
    result = project.run("weights", "bundle", "mini", "--out", "mini.zip")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-3:] == [
        "wrote mini.zip: 2 weight files, 1.4 MB",
        "on the other machine: toolkit weights pull file:mini.zip --out DIR",
        "use it with: toolkit caption PICTURE --preset DIR/pipeline.yaml",
    ]
    pulled = project.run("weights", "pull", "file:mini.zip", "--out", "else/where")
    assert pulled.exit_code == 0, pulled.output
    assert pulled.stdout.splitlines()[0] == "unpacked else/where: 2 files have the hashes of weights.json"
    expected = captions(project, picture, "--preset", "mini")
    used = []
    from safetensors import torch as stored

    real = stored.load_file
    monkeypatch.setattr(stored, "load_file", lambda path, *rest: (used.append(Path(path)), real(path, *rest))[1])
    there = ("--preset", "else/where/pipeline.yaml")
    assert captions(project, picture, *there, "--offline") == expected
    assert {path.as_posix() for path in used if "banks" not in path.parts} == {
        "else/where/backbone/mini-dense.safetensors",
        "else/where/decoder/mini-dense-decap-clean.safetensors",
    }


def test_a_folder_holds_the_files_a_manifest_and_the_pipeline_without_paths(project):
    result = project.run("weights", "bundle", "mini", "--out", "mine", "--set", "bridge.temperature=0.02")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == ("use it with: toolkit caption PICTURE --preset mine/pipeline.yaml")
    manifest = json.loads(Path("mine/weights.json").read_text())
    assert manifest["version"] == 1
    assert manifest["preset"] == "mini"
    assert manifest["fitted_to"] == {"bridge": "mini-captions"}
    backbone, decoder = manifest["files"]
    assert backbone["file"] == "backbone/mini-dense.safetensors"
    assert (backbone["kind"], backbone["name"], backbone["space"]) == (
        "backbone",
        "mini-dense",
        "mini-dense/image[128]",
    )
    assert backbone["bytes"] == Path("mine/backbone/mini-dense.safetensors").stat().st_size
    assert decoder["license"] == "Apache-2.0"
    assert str(project.folder) not in Path("mine/pipeline.yaml").read_text() + json.dumps(manifest)
    assert load("mine/pipeline.yaml").bridge.config.temperature == 0.02


def test_the_same_bundle_is_the_same_file(project):
    for name in ("a.zip", "b.zip"):
        assert project.run("weights", "bundle", "mini", "--out", name).exit_code == 0
    assert Path("a.zip").read_bytes() == Path("b.zip").read_bytes()


@pytest.fixture
def released(toy):
    """Return a project with released files of a whole pipeline in a folder."""
    project = weight_toys.install(toy)
    folder = project.folder / "files"
    folder.mkdir()
    torch.save(
        {"conv.weight": torch.arange(12.0).reshape(3, 4).half(), "norm.bias": torch.ones(4)}, folder / "Tower-B.pt"
    )
    (folder / "merges.txt").write_text("a b\n")
    torch.save({"head.weight": torch.arange(8.0).reshape(2, 4)}, folder / "words-009.pt")
    (folder / "words_config.json").write_text('{"n_head": 2}')
    return project


def test_official_files_are_converted_on_the_way_into_a_bundle(released):
    result = released.run("weights", "bundle", "released", "--weights", "file:files", "--out", "mine", "--json")
    assert result.exit_code == 0, result.output
    assert [row["file"] for row in json.loads(result.stdout)["files"]] == [
        "backbone/tower.safetensors",
        "decoder/words.safetensors",
    ]
    entries = json.loads(Path("mine/weights.json").read_text())["files"]
    assert (
        entries[0]["source"] == "merges merges.txt (hub://toys/tower/merges.txt); vision Tower-B.pt (hub://toys/tower)"
    )
    assert [entry["license"] for entry in entries] == ["MIT", "CC-BY-4.0"]
    header = read_header("mine/backbone/tower.safetensors")
    assert header.config == {"depth": 2}
    assert header.recipe == (
        "toolkit weights convert backbone/tower --role vision=Tower-B.pt --role merges=merges.txt "
        "--out tower.safetensors"
    )
    official = load("released", overrides=["weights=file:files"])
    bundled = load("mine/pipeline.yaml")
    for part in ("backbone", "decoder"):
        expected = getattr(official, part).context.weights.tensors()
        got = getattr(bundled, part).context.weights.tensors()
        assert sorted(got) == sorted(expected)
        assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


REFUSED = [
    pytest.param(
        ("mini", "--out", "full"), "--out full is there already\n  name another folder, or move it away", id="full"
    ),
    pytest.param(("nothing", "--out", "x"), "no preset named 'nothing'", id="no preset"),
    pytest.param(
        ("mini", "--out", "x", "--weights", "file:nowhere"), "--set weights: weights: there is no", id="nowhere"
    ),
    pytest.param(("mini", "--out", "x", "--weights", "file:full"), "--set weights: weights: ", id="no weights in it"),
    pytest.param(
        ("mini", "--out", "x", "--set", "decoder.weights=mini-dense-decap-noise"),
        "the pipeline cannot be bundled: from the folder alone it does not fit together",
        id="weights for another bridge",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_bundled_is_told(project, arguments, message):
    project({"full/file.txt": "keep"})
    before = sorted(project.folder.rglob("*"))
    assert error(project.run("weights", "bundle", *arguments)).startswith(message)
    assert sorted(project.folder.rglob("*")) == before


def test_a_bridge_fitted_to_sentences_of_this_machine_is_refused_with_the_command_that_makes_its_bank(released):
    released(
        {
            "x.yaml": """
            backbone: {name: toy-a}
            region_encoder: toy-pool
            bridge: {name: toy-bank, bank: toy-texts}
            decoder: toy-fixed
            """
        }
    )
    text = error(released.run("weights", "bundle", "x.yaml", "--out", "b"))
    assert text.splitlines() == [
        "bridge 'toy-bank' is fitted to corpus 'toy-texts', whose sentences are no weight file",
        "  make its bank one first: toolkit bank build --corpus toy-texts --backbone toy-a",
    ]


def changed(project, change):
    """Make a bundle and change the content of its archive by ``change(name, data)``; None leaves a file out."""
    assert project.run("weights", "bundle", "mini", "--out", "good.zip").exit_code == 0
    with zipfile.ZipFile("good.zip") as old, zipfile.ZipFile("bad.zip", "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGE = [
    pytest.param(
        lambda name, data: flip(data) if "backbone" in name else data,
        "bad.zip: backbone/mini-dense.safetensors has another hash than weights.json says\n  wanted sha256 ",
        id="a changed file",
    ),
    pytest.param(
        lambda name, data: None if "decoder" in name else data,
        "bad.zip: weights.json lists decoder/mini-dense-decap-clean.safetensors, which is not there\n",
        id="a missing file",
    ),
    pytest.param(
        lambda name, data: b"{" if name == "weights.json" else data,
        "bad.zip: its weights.json cannot be read: ",
        id="a broken manifest",
    ),
    pytest.param(
        lambda name, data: data.replace(b"temperature", b"temperaturE") if name == "pipeline.yaml" else data,
        "bad.zip: pipeline.yaml has another hash than weights.json says\n  wanted sha256 ",
        id="a changed pipeline",
    ),
    pytest.param(
        lambda name, data: data + b"x" if "backbone" in name else data,
        "bad.zip: the archive is refused: 'backbone/mini-dense.safetensors' has ",
        id="a file of another size",
    ),
    pytest.param(
        lambda name, data: data.replace(b'"bytes": ', b'"bytes": "9", "x": ', 1) if name == "weights.json" else data,
        "bad.zip: its weights.json cannot be read: ",
        id="a size that is no number",
    ),
    pytest.param(
        lambda name, data: b"[" * 100_000 if name == "weights.json" else data,
        "bad.zip: its weights.json cannot be read: it is nested too deep",
        id="a manifest nested without end",
    ),
    pytest.param(
        lambda name, data: data.replace(b"backbone/mini", b"../../../mini") if name == "weights.json" else data,
        "bad.zip: its weights.json cannot be read: ",
        id="a manifest that points out of the folder",
    ),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE)
def test_a_bundle_that_is_not_what_its_manifest_says_is_not_unpacked(project, change, message):
    changed(project, change)
    assert error(project.run("weights", "pull", "file:bad.zip", "--out", "mine")).startswith(message)
    assert sorted(path.name for path in project.folder.iterdir() if path.name != "cache") == ["bad.zip", "good.zip"]


def packed(ending, extra):
    """Write the bundle of ``mini`` and one more file of ``extra`` zeros as an archive."""
    path = Path(f"more{ending}")
    Path("pad.bin").write_bytes(bytes(extra))
    files = [*sorted(inner for inner in Path("mine").rglob("*") if inner.is_file()), Path("pad.bin")]
    names = [file.relative_to("mine").as_posix() if file.parts[0] == "mine" else file.name for file in files]
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, name in zip(files, names, strict=True):
                archive.write(file, name)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for file, name in zip(files, names, strict=True):
                archive.add(file, name)
    return path


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_what_the_manifest_does_not_list_is_not_unpacked(project, ending):
    assert project.run("weights", "bundle", "mini", "--out", "mine").exit_code == 0
    path = packed(ending, 5000)
    assert error(project.run("weights", "pull", f"file:{path}", "--out", "there")) == (
        f"{path}: the archive is refused: its weights.json does not list 'pad.bin'\n"
        "  fetch the bundle again\n  nothing was unpacked"
    )
    assert not Path("there").exists()


def test_a_zip_is_held_against_its_manifest_before_anything_is_written(project, monkeypatch):
    assert project.run("weights", "bundle", "mini", "--out", "mine").exit_code == 0
    path, written = packed(".zip", 1 << 20), []
    monkeypatch.setattr(bundles, "unpack", lambda *arguments, **_: written.append(arguments))
    with pytest.raises(DataError, match=r"its weights\.json does not list 'pad\.bin'"):
        bundles.unpack_bundle(path, Path("there"))
    assert not written


def test_the_manifest_of_a_bundle_lists_its_pipeline(project):
    assert project.run("weights", "bundle", "mini", "--out", "mine").exit_code == 0
    pipeline = Path("mine/pipeline.yaml").read_bytes()
    assert json.loads(Path("mine/weights.json").read_text())["pipeline"] == {
        "file": "pipeline.yaml",
        "sha256": hashlib.sha256(pipeline).hexdigest(),
        "bytes": len(pipeline),
    }


def test_a_bundle_goes_among_the_users_weights_under_its_name(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(project.folder / "all"))
    assert project.run("weights", "bundle", "mini", "--out", "mini-1.zip").exit_code == 0
    result = project.run("weights", "pull", "file:mini-1.zip", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["bundle"] == str(project.folder / "all" / "mini-1")
    assert report["checked"] is True
    assert len(report["files"]) == 2
    listed = [row for row in json.loads(project.run("weights", "list", "--json").stdout) if "mini-1" in row["path"]]
    assert [(row["file"], row["status"]) for row in listed] == [
        ("mini-dense", "ok"),
        ("mini-dense-decap-clean", "ok"),
    ]
    assert error(project.run("weights", "pull", "file:mini-1.zip")).startswith(f"{project.folder}/all/mini-1 is there")


def test_the_listing_says_when_a_file_is_not_the_one_of_its_bundle(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(project.folder / "all"))
    assert project.run("weights", "bundle", "mini", "--out", "all/mini").exit_code == 0
    path = project.folder / "all" / "mini" / "backbone" / "mini-dense.safetensors"
    path.write_bytes(flip(path.read_bytes()))
    project({})  # look again
    rows = {row["path"]: row["status"] for row in json.loads(project.run("weights", "list", "--json").stdout)}
    assert rows[str(path)] == "another file than weights.json of its bundle says; fetch the bundle again"
    findings = json.loads(project.run("doctor", "--json").stdout)
    bad = [(finding["name"], finding["detail"]) for finding in findings if finding["status"] == "bad"]
    assert (str(path), rows[str(path)]) in bad


def test_an_archive_without_a_manifest_is_unpacked_and_that_is_said(project):
    with zipfile.ZipFile("plain.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    result = project.run("weights", "pull", "file:plain.zip", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "unpacked mine: no weights.json, so no hash was checked\nuse it with --weights file:mine\n"
    )


def test_an_archive_that_would_leave_its_folder_is_refused_by_name(project):
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../../evil.txt", "x")
    text = error(project.run("weights", "pull", "evil.zip", "--out", "mine"))
    assert text == (
        "evil.zip: the archive is refused: '../../evil.txt' leads out of the folder\n  nothing was unpacked"
    )
    assert not Path("mine").exists()
    assert not (project.folder.parent / "evil.txt").exists()
