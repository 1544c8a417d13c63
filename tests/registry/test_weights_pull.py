import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest
import torch
import weight_toys
from click.testing import CliRunner
from hub_server import COMMIT, hub_of_this_machine
from safetensors.torch import save

from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.registry.cli import root
from regionkit.registry.weights.fetching import Need, fetch, with_remote
from regionkit.registry.weights.official import cached, files_in

TOWER = save({"conv.weight": torch.arange(12.0).reshape(3, 4), "norm.bias": torch.ones(4)})


def checkpoint(tensors):
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a hub of this machine that the client talks to, with an empty cache."""
    with hub_of_this_machine(monkeypatch, tmp_path / "hub") as server:
        server.repositories["toys/tower"] = {
            "model.safetensors": TOWER,
            "config.json": b"{}",
            "merges.txt": b"a b\n",
            "pytorch_model.bin": b"never fetched",
            "onnx/model.onnx": b"never fetched",
            ".gitattributes": b"",
        }
        server.repositories["toys/bridge"] = {"bridge.pt": checkpoint({"head.weight": torch.ones(2, 4)})}
        yield server


@pytest.fixture
def released(toy, hub):
    return weight_toys.install(toy)


def error(result, code):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr[result.stderr.index("error: ") :].removeprefix("error: ").rstrip("\n")


def statuses(result):
    return {row["role"]: row["status"] for row in json.loads(result.stdout)["files"]}


def test_a_component_is_listed_then_fetched_into_the_cache_and_then_loads(released, hub):
    result = released.run("weights", "pull", "tower", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:3] == [
        "          PART            ROLE    FILE                          SIZE    LICENCE  SOURCE",
        "to fetch  backbone tower  vision  model.safetensors and 2 more  0.0 MB  MIT      hub://toys/tower",
        "to fetch  backbone tower  merges  merges.txt                    0.0 MB  MIT      hub://toys/tower/merges.txt",
    ]
    assert result.stdout.endswith("pipelines find the weights by themselves\n")
    snapshot = released.folder / "hub" / "models--toys--tower" / "snapshots" / COMMIT
    assert sorted(path.name for path in snapshot.iterdir()) == ["config.json", "merges.txt", "model.safetensors"]
    assert (snapshot / "model.safetensors").read_bytes() == TOWER
    hub.requests.clear()
    again = released.run("weights", "pull", "tower")
    assert again.exit_code == 0, again.output
    assert again.stdout.endswith("everything is here\n")
    assert hub.requests == []


def test_what_was_pulled_into_a_folder_is_a_folder_of_weights(released, hub):
    result = released.run("weights", "pull", "tower", "--yes", "--out", "mine")
    assert result.exit_code == 0, result.output
    files = sorted(path.relative_to("mine").as_posix() for path in Path("mine").rglob("*") if path.is_file())
    assert files == [
        "backbone/tower/config.json",
        "backbone/tower/merges.txt",
        "backbone/tower/model.safetensors",
        "merges.txt",
    ]
    assert result.stdout.endswith(
        f"use the weights with --weights file:mine, or: export REGIONKIT_WEIGHTS={released.folder / 'mine'}\n"
    )
    again = released.run("weights", "pull", "tower", "--out", "mine", "--json")
    assert statuses(again) == {"vision": "here", "merges": "here"}


def test_a_folder_is_filled_from_the_cache_where_that_has_the_files(released, hub):
    released.run("weights", "pull", "tower", "--yes")
    hub.requests.clear()
    result = released.run("weights", "pull", "tower", "--yes", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert Path("mine/backbone/tower/model.safetensors").read_bytes() == TOWER
    assert {request.split("?")[0] for request in hub.requests} == {"GET /api/models/toys/tower"}


def test_a_preset_says_what_is_to_be_fetched_by_hand_and_where_it_goes(released, hub, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(released.folder / "mine"))
    text = error(released.run("weights", "pull", "released", "--yes"), 1)
    assert text.splitlines() == [
        "1 thing is missing",
        f"  decoder words, model: download words-*.pt from https://toys.example/words and put it into "
        f"{released.folder}/mine/decoder",
        f"  then use it with --weights file:{released.folder}/mine, or: "
        f"export REGIONKIT_WEIGHTS={released.folder}/mine",
    ]
    folder = released.folder / "mine" / "decoder"
    folder.mkdir(parents=True)
    (folder / "words-009.pt").write_bytes(checkpoint({"head.weight": torch.ones(2, 4)}))
    (folder / "words_config.json").write_text('{"n_head": 2}')
    result = released.run("weights", "pull", "released")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("everything is here\n")


def test_a_preset_whose_weights_are_installed_needs_nothing(released, hub):
    result = released.run("weights", "pull", "mini", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["missing"] == 0
    assert {(row["part"], row["status"]) for row in report["files"]} == {
        ("backbone mini-dense", "here"),
        ("decoder decap", "here"),
    }
    assert hub.requests == []


def test_a_repository_is_fetched_whole(released, hub):
    result = released.run("weights", "pull", "hub://toys/bridge", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("use the weights with --weights hub://toys/bridge\n")
    assert (released.folder / "hub/models--toys--bridge/snapshots" / COMMIT / "bridge.pt").is_file()


def test_nothing_is_fetched_without_being_asked_for(released, hub):
    text = error(released.run("weights", "pull", "tower"), 1)
    assert text == "nothing was fetched: 4 files, 0.0 MB, are to be, and nobody can be asked\n  add --yes"
    result = released.run("weights", "pull", "tower", "--json")
    assert result.exit_code == 1
    assert statuses(result) == {"vision": "to fetch", "merges": "to fetch"}
    assert not [request for request in hub.requests if "resolve" in request]


def test_json_lists_source_licence_size_and_hash(released, hub):
    result = released.run("weights", "pull", "hub://toys/tower/model.safetensors", "--json", "--yes")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["files"]
    assert (row["status"], row["license"], row["bytes"]) == ("fetched", "mit", len(TOWER))
    assert row["sha256"] == hashlib.sha256(TOWER).hexdigest()
    assert row["source"] == "hub://toys/tower/model.safetensors"


@pytest.mark.parametrize("out", [pytest.param((), id="cache"), pytest.param(("--out", "mine"), id="folder")])
def test_a_file_of_another_hash_than_the_hub_says_is_refused_and_taken_away(released, hub, out):
    hub.lies["bridge.pt"] = bytes(len(hub.repositories["toys/bridge"]["bridge.pt"]))
    text = error(released.run("weights", "pull", "hub://toys/bridge", "--yes", *out), 1)
    assert text.splitlines()[0].startswith("hub://toys/bridge/bridge.pt: the file ")
    assert text.splitlines()[0].endswith("bridge.pt has another hash than was asked for")
    assert not [path for path in released.folder.rglob("bridge.pt")]


def test_a_file_of_another_hash_than_the_reference_pins_is_refused(released, hub):
    text = error(released.run("weights", "pull", f"hub://toys/bridge/bridge.pt#sha256={'0' * 64}", "--yes"), 1)
    assert "has another hash than was asked for" in text
    assert f"wanted sha256 {'0' * 64}" in text
    right = hashlib.sha256(hub.repositories["toys/bridge"]["bridge.pt"]).hexdigest()
    result = released.run("weights", "pull", f"hub://toys/bridge/bridge.pt#sha256={right}", "--yes")
    assert result.exit_code == 0, result.output


def test_a_file_that_was_in_the_cache_before_stays_there_when_its_hash_is_wrong(released, hub):
    assert released.run("weights", "pull", "hub://toys/bridge/bridge.pt", "--yes").exit_code == 0
    path = released.folder / "hub/models--toys--bridge/snapshots" / COMMIT / "bridge.pt"
    before = path.read_bytes()
    text = error(released.run("weights", "pull", f"hub://toys/bridge/bridge.pt#sha256={'0' * 64}", "--yes"), 1)
    assert "has another hash than was asked for" in text
    assert text.endswith(f"it was in the cache already: {path}")
    assert path.read_bytes() == before
    offline = ("weights", "pull", f"hub://toys/bridge/bridge.pt#sha256={'0' * 64}", "--offline")
    assert "has another hash than was asked for" in error(released.run(*offline), 2)


def test_a_file_of_another_hash_never_takes_the_place_of_one_that_is_there(released, hub):
    (released.folder / "mine").mkdir()
    Path("mine/bridge.pt").write_bytes(b"mine")
    text = error(
        released.run("weights", "pull", f"hub://toys/bridge/bridge.pt#sha256={'0' * 64}", "--yes", "--out", "mine"), 1
    )
    assert "has another hash than was asked for" in text
    assert [path.name for path in Path("mine").iterdir()] == ["bridge.pt"]
    assert Path("mine/bridge.pt").read_bytes() == b"mine"


def test_a_damaged_file_in_the_cache_is_not_copied_but_fetched(released, hub):
    assert released.run("weights", "pull", "hub://toys/bridge", "--yes").exit_code == 0
    path = released.folder / "hub/models--toys--bridge/snapshots" / COMMIT / "bridge.pt"
    path.resolve().write_bytes(b"damaged")
    result = released.run("weights", "pull", "hub://toys/bridge", "--yes", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert Path("mine/bridge.pt").read_bytes() == hub.repositories["toys/bridge"]["bridge.pt"]


def test_a_component_whose_file_has_another_hash_than_is_pinned_is_not_called_complete(toy, hub):
    pin = f'source="hub://toys/bridge/bridge.pt", sha256="{"0" * 64}"'
    source = 'source="hub://toys/bridge/bridge.pt"'
    assert source in weight_toys.INIT
    weight_toys.install(toy)
    project = toy({"released_plugin/__init__.py": weight_toys.INIT.replace(source, pin)})
    assert project.run("weights", "pull", "hub://toys/bridge", "--yes").exit_code == 0
    result = project.run("weights", "pull", "bridge/words", "--json")
    assert (result.exit_code, statuses(result)) == (1, {"model": "to fetch"})


def test_what_others_are_fetching_into_the_same_folder_stays(released, hub):
    other = released.folder / "mine" / ".fetching-other" / "bridge.pt"
    old = released.folder / "mine" / ".fetching" / "bridge.pt"
    for path in (other, old):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    result = released.run("weights", "pull", "hub://toys/bridge", "--yes", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert other.read_bytes() == old.read_bytes() == b"half"
    assert sorted(path.name for path in Path("mine").iterdir()) == [".fetching", ".fetching-other", "bridge.pt"]


def test_two_that_fetch_into_one_folder_do_not_disturb_each_other(released, hub):
    needs = [
        with_remote(Need("backbone some", "", "weights", source=f"hub://toys/{name}")) for name in ("tower", "bridge")
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda need: fetch(need, Path("mine")), needs))
    held = hub.repositories["toys/tower"] | hub.repositories["toys/bridge"]
    got = {path.relative_to("mine").as_posix(): path for path in Path("mine").rglob("*") if path.is_file()}
    assert sorted(got) == sorted(name for name in held if not name.startswith("."))
    assert all(path.read_bytes() == held[name] for name, path in got.items())


def test_files_that_are_whole_already_are_not_fetched_again(released, hub):
    assert released.run("weights", "pull", "hub://toys/tower", "--yes", "--out", "mine").exit_code == 0
    Path("mine/config.json").write_bytes(b"damaged")
    hub.requests.clear()
    assert released.run("weights", "pull", "hub://toys/tower", "--yes", "--out", "mine").exit_code == 0
    fetched = {
        request.rpartition("/")[2] for request in hub.requests if request.startswith("GET") and "resolve" in request
    }
    assert fetched == {"config.json"}
    assert Path("mine/config.json").read_bytes() == b"{}"


FOLDERS = ("vision_tower", "context_provider", "mm_projector", "llm")


@pytest.fixture
def assembled(hub):
    """Return a component whose weights are four folders of one repository, each of files of the same names."""
    hub.repositories["toys/whole"] = {
        f"{folder}/{name}": f"{folder} {name}".encode()
        for folder in FOLDERS
        for name in ("model.safetensors", "config.json")
    } | {"README.md": b"#"}
    entries = tuple(Checkpoint(folder, (folder,), source=f"hub://toys/whole/{folder}") for folder in FOLDERS)
    return ComponentSpec(kind="backbone", name="whole", target="x:Y", checkpoints=entries)


@pytest.mark.parametrize("out", [pytest.param(None, id="cache"), pytest.param(Path("mine"), id="folder")])
def test_four_folders_of_one_repository_keep_their_names_and_are_found(released, hub, assembled, out):
    for entry in assembled.checkpoints:
        need = Need("backbone whole", "backbone", entry.role, entry.files, entry.source)
        path = fetch(with_remote(need), out)
        assert path.name == entry.role
        assert sorted(inner.name for inner in path.iterdir()) == ["config.json", "model.safetensors"]
    root = path.parent if out is None else out
    found = files_in(assembled, root)
    assert sorted(found) == sorted(FOLDERS)
    for role, folder in found.items():
        assert (folder / "model.safetensors").read_bytes() == f"{role} model.safetensors".encode()
    assert not (root / "README.md").exists()
    if out is None:
        assert {cached(entry) for entry in assembled.checkpoints} == {root / name for name in FOLDERS}


def test_a_cache_with_some_parts_of_a_model_alone_is_not_taken_for_the_weights(released, hub):
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    hub.repositories["toys/tower"] = {
        "merges.txt": b"a b\n",
        "model.safetensors.index.json": b"{}",
        **dict.fromkeys(names, TOWER),
    }
    assert released.run("weights", "pull", f"hub://toys/tower/{names[0]}", "--yes").exit_code == 0
    result = released.run("weights", "pull", "tower", "--json")
    assert statuses(result)["vision"] == "to fetch"
    assert released.run("weights", "pull", "tower", "--yes").exit_code == 0
    assert statuses(released.run("weights", "pull", "tower", "--json"))["vision"] == "here"


REFUSED = [
    pytest.param(
        ("hub://toys/none", "--yes"), 1, "hub://toys/none cannot be fetched: RepositoryNotFoundError", id="repo"
    ),
    pytest.param(
        ("hub://toys/bridge/none.pt", "--yes"),
        1,
        "hub://toys/bridge holds no file none.pt\n  its files are: bridge.pt",
        id="file",
    ),
    pytest.param(("hub://toys",), 2, "weights 'hub://toys' name no repository", id="half a reference"),
    pytest.param(("bridge/nothere",), 2, "no bridge named 'nothere'", id="no component of the kind"),
    pytest.param(("towr",), 2, "'towr' is neither a preset nor a component\n  did you mean: tower", id="misspelt"),
    pytest.param(("words",), 2, "several components are named 'words'", id="two kinds"),
    pytest.param(
        ("toy-pool",),
        2,
        "region_encoder 'toy-pool' has no released weights that could be fetched\n  it needs none",
        id="no weights",
    ),
    pytest.param(("file:none.zip",), 2, "there is no archive none.zip", id="no archive"),
    pytest.param(("none.yaml",), 2, "none.yaml: there is no such file", id="no file"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_what_cannot_be_pulled_is_told_with_what_to_type(released, arguments, code, message):
    text = error(released.run("weights", "pull", *arguments), code)
    assert text.startswith(message), text


def test_a_repository_with_a_file_outside_its_folder_is_refused(released, hub):
    hub.repositories["toys/evil"] = {"x/../../evil.safetensors": b"x"}
    text = error(released.run("weights", "pull", "hub://toys/evil", "--yes", "--out", "mine"), 1)
    assert text == "hub://toys/evil holds a file named 'x/../../evil.safetensors', which leads out of its folder"
    assert not list(released.folder.rglob("evil.safetensors"))


def test_without_a_network_it_is_still_listed_what_is_needed(released, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    result = released.run("weights", "pull", "tower", "--yes")
    assert "hub://toys/tower cannot be fetched: " in error(result, 1)
    assert "backbone tower  vision" in result.stdout


def test_offline_says_what_is_missing_and_what_to_do_and_asks_nobody(released, hub):
    text = error(released.run("weights", "pull", "tower", "--yes", "--offline"), 1)
    assert text.splitlines() == [
        "2 things are missing, and --offline fetches nothing",
        "  backbone tower, vision: hub://toys/tower",
        "  backbone tower, merges: hub://toys/tower/merges.txt",
        "  where there is a network: toolkit weights pull tower --yes --out weights, and bring the folder",
    ]
    assert hub.requests == []


def test_offline_takes_what_the_cache_has(released, hub):
    assert released.run("weights", "pull", "tower", "--yes").exit_code == 0
    hub.requests.clear()
    result = released.run("weights", "pull", "tower", "--offline", "--json")
    assert result.exit_code == 0, result.output
    assert statuses(result) == {"vision": "here", "merges": "here"}
    assert released.run("weights", "pull", "hub://toys/tower", "--offline").exit_code == 0
    assert hub.requests == []


def test_a_cache_with_another_file_of_the_repository_alone_is_not_taken_for_the_weights(released, hub):
    assert released.run("weights", "pull", "hub://toys/tower/merges.txt", "--yes").exit_code == 0
    result = released.run("weights", "pull", "tower", "--offline", "--json")
    assert result.exit_code == 1
    assert statuses(result) == {"vision": "to fetch", "merges": "here"}


def test_the_command_line_honours_the_variables_of_the_hub(hub, tmp_path):
    toolkit = shutil.which("toolkit") or str(Path(sys.executable).parent / "toolkit")
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    environment.pop("HF_HUB_OFFLINE", None)
    arguments = [toolkit, "weights", "pull", "hub://toys/bridge", "--yes", "--out", "mine"]
    done = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "bridge.pt").read_bytes() == hub.repositories["toys/bridge"]["bridge.pt"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["bridge.pt"]


def test_pulling_does_not_import_torch(tmp_path):
    code = "import sys; from regionkit.registry.cli import main\ntry: main(['weights', 'pull', 'mini'])\nfinally: "
    code += "print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "False\n")


def test_help_is_there_for_every_command():
    for name in ("pull", "bundle", "convert", "list"):
        result = CliRunner().invoke(root, ["weights", name, "--help"])
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")
        assert not {"decap", "clip", "coco"} & set(re.findall(r"\w+", result.output.lower()))


def test_options_decide_which_files_are_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    run = CliRunner().invoke

    def sources(*args):
        files = json.loads(run(root, ["--offline", "weights", "pull", *args, "--json"]).stdout)["files"]
        return {file["source"] for file in files if file["role"] == "model" and "clip" in file["part"]}

    assert sources("clip") == {"hub://openai/clip-vit-base-patch16"}
    assert sources("clip", "--set", "model=vit-l14") == {"hub://openai/clip-vit-large-patch14"}
    assert sources("clip", "--set", "backbone.model=vit-l14") == {"hub://openai/clip-vit-large-patch14"}
    changed = ["patchioner-clip-b16", "--set", "backbone.model=vit-l14"]
    assert sources(*changed) == {"hub://openai/clip-vit-large-patch14"}
    wrong = run(root, ["weights", "pull", "clip", "--set", "moel=vit-l14"])
    assert error(wrong, 2).startswith("--set: backbone.moel: unknown option\n  did you mean: model\n")
    told = run(root, ["weights", "pull", "hub://a/b", "--set", "model=vit-l14"])
    assert told.exit_code == 2
    assert "--set changes options of a preset, a pipeline file or a component: leave it out" in told.stderr


@pytest.mark.parametrize("command", [["run", "--data", "box@mini"], ["run", "--dry-run"], ["run"]])
def test_commands_that_are_told_keep_what_was_laid_over_the_preset(monkeypatch, tmp_path, command):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    word, *more = command
    result = CliRunner().invoke(root, [word, "patchioner-clip-b16", "--set", "backbone.model=vit-l14", *more])
    assert "get them with: toolkit weights pull patchioner-clip-b16 --set backbone.model=vit-l14\n" in result.output
    quoted = CliRunner().invoke(root, [word, "patchioner-qwen3-vl-crop", "--set", "decoder.prompt=two words", *more])
    assert "toolkit weights pull patchioner-qwen3-vl-crop --set 'decoder.prompt=two words'\n" in quoted.output
