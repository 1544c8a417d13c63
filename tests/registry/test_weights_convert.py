import hashlib
import json
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import weight_toys
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from regionkit.core.weights import read_header

UPSTREAM = Path(__file__).parents[3] / "shared" / "data" / "upstream"


def upstream(name):
    path = UPSTREAM / name
    if not path.is_file():
        pytest.skip(f"{name}, a file of a release, is not beside this checkout")
    return str(path)


@pytest.fixture
def released(toy):
    return weight_toys.install(toy)


@pytest.fixture
def files(released):
    """Return a folder of released files: tower, its merges, decoder and its config."""
    folder = released.folder / "files"
    folder.mkdir()
    torch.save({"conv.weight": torch.arange(12.0).reshape(3, 4), "norm.bias": torch.ones(4)}, folder / "Tower-B.pt")
    (folder / "merges.txt").write_text("a b\n")
    torch.save({"head.weight": torch.arange(8.0).reshape(2, 4)}, folder / "words-009.pt")
    (folder / "words_config.json").write_text('{"n_head": 2}')
    return folder


def error(result, code=2):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr.removeprefix("error: ").rstrip("\n")


def test_official_files_become_one_file_with_a_complete_header(released, files):
    result = released.run(
        "weights", "convert", "tower", "files/Tower-B.pt", "files/merges.txt", "--out", "t.safetensors"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "wrote t.safetensors: backbone 'tower', 20 numbers in 3 tensors\n"
        "  from vision Tower-B.pt, merges merges.txt\n"
        "  space tower/image[4]\n"
        "  licence MIT\n"
        "use it with --set backbone.weights=file:t.safetensors; for pipelines to find it: "
        f"export REGIONKIT_WEIGHTS={released.folder}\n"
    )
    header = read_header("t.safetensors")
    assert (header.kind, header.name, header.space) == ("backbone", "tower", "tower/image[4]")
    assert header.config == {"depth": 2}
    assert header.license == "MIT"
    assert header.recipe == (
        "toolkit weights convert backbone/tower --role vision=Tower-B.pt --role merges=merges.txt --out t.safetensors"
    )
    tensors = load_file("t.safetensors")
    assert torch.equal(tensors["stem.weight"], torch.arange(12.0).reshape(3, 4))
    assert bytes(tensors["merges"].numpy()) == b"a b\n"


def test_a_folder_is_searched_for_the_files(released, files):
    result = released.run("weights", "convert", "tower", "files", "--out", "t.safetensors", "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)
    assert row["from"] == {"vision": "files/Tower-B.pt", "merges": "files/merges.txt"}
    assert (row["kind"], row["name"], row["numbers"], row["license"]) == ("backbone", "tower", 20, "MIT")


def test_the_folder_one_stands_in_is_searched_too(released, files, monkeypatch):
    monkeypatch.chdir(files)
    result = released.run("weights", "convert", "tower", ".", "--out", "../t.safetensors")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(["parts"], id="folder"),
        pytest.param(["parts/model.safetensors.index.json"], id="index"),
        pytest.param(["parts/model-00001-of-00002.safetensors", "parts/model-00002-of-00002.safetensors"], id="parts"),
    ],
)
def test_a_model_in_several_files_becomes_one(released, files, named):
    tensors = torch.load(files / "Tower-B.pt")
    places = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate(tensors, 1)}
    Path("parts").mkdir()
    for name, place in places.items():
        save_file({name: tensors[name]}, Path("parts") / place)
    Path("parts/model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    result = released.run("weights", "convert", "tower", *named, "files/merges.txt", "--out", "t.safetensors", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["from"] == {"merges": "files/merges.txt", "vision": "parts"}
    assert sorted(load_file("t.safetensors")) == ["merges", "norm.bias", "stem.weight"]


def test_what_was_converted_is_found_by_pipelines_where_it_goes_by_itself(released, files, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(released.folder / "mine"))
    result = released.run("weights", "convert", "tower", "files")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("pipelines find it by themselves\n")
    listed = json.loads(released.run("weights", "list", "--json").stdout)
    assert [(row["file"], row["status"]) for row in listed if row["name"] == "tower"] == [("tower", "ok")]


def test_a_torchscript_archive_is_read_without_running_it(released, files):
    class Norm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.ones(4))

        def forward(self, x):
            return x + self.bias

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Linear(4, 3, bias=False)
            self.norm = Norm()

        def forward(self, x):
            return self.conv(self.norm(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(Tower(), torch.ones(1, 4))
        module.save(str(files / "Tower-B.pt"))
    result = released.run("weights", "convert", "tower", "files", "--out", "t.safetensors")
    assert result.exit_code == 0, result.output
    assert torch.equal(load_file("t.safetensors")["stem.weight"], module.state_dict()["conv.weight"])


def test_every_key_is_accounted_for_and_the_file_is_named_as_the_user_knows_it(released, files):
    class Stranger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.gate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Stranger(), torch.ones(1)).save(str(files / "Tower-B.pt"))
    text = error(released.run("weights", "convert", "tower", "files", "--out", "t.safetensors"))
    assert text.splitlines()[:2] == [
        "files/Tower-B.pt: not every tensor of this checkpoint is accounted for",
        "  unknown: gate",
    ]
    assert not Path("t.safetensors").exists()


def test_a_pickled_config_is_read_as_fields(released, files):
    (files / "words_config.json").unlink()
    (files / "words_config.pkl").write_bytes(CONFIG_PICKLE)
    result = released.run(
        "weights", "convert", "decoder/words", "files", "--space", "tower/text[4]", "--out", "w.safetensors"
    )
    assert result.exit_code == 0, result.output
    assert read_header("w.safetensors").config == {"heads": 12}


#: What protocol 2 makes of a transformers config with the one field ``n_head``.
CONFIG_PICKLE = (
    b"\x80\x02ctransformers.models.gpt2.configuration_gpt2\nGPT2Config\n)\x81}X\x06\x00\x00\x00n_headK\x0csb."
)


@pytest.mark.parametrize("right", [pytest.param(True, id="right"), pytest.param(False, id="wrong")])
def test_the_hash_that_is_pinned_is_that_of_the_released_file_and_not_of_what_is_made_of_it(released, files, right):
    pin = hashlib.sha256(CONFIG_PICKLE).hexdigest() if right else "0" * 64
    old = '("words_config.json",), '
    assert old in weight_toys.INIT
    released({"released_plugin/__init__.py": weight_toys.INIT.replace(old, f'{old}sha256="{pin}", ')})
    (files / "words_config.json").unlink()
    (files / "words_config.pkl").write_bytes(CONFIG_PICKLE)
    result = released.run("weights", "convert", "decoder/words", "files", "--out", "w.safetensors")
    if right:
        assert result.exit_code == 0, result.output
        return
    assert error(result).splitlines()[0] == (
        "decoder 'words', config: the file files/words_config.pkl has another hash than was asked for"
    )
    assert not Path("w.safetensors").exists()


def test_a_pickled_config_that_would_run_code_is_refused_by_name(released, files):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch it-ran",)

    (files / "words_config.json").unlink()
    (files / "words_config.pkl").write_bytes(pickle.dumps(Evil()))
    text = error(released.run("weights", "convert", "decoder/words", "files", "--out", "w.safetensors"))
    assert text.splitlines()[0] == (
        "files/words_config.pkl: the pickle wants posix.system, which is not on the list of harmless types; "
        "nothing was run"
    )
    assert not Path("it-ran").exists()
    assert not Path("w.safetensors").exists()


def test_what_the_user_states_completes_the_header(released, files):
    result = released.run(
        *("weights", "convert", "decoder/words", "files/words-009.pt", "--out", "w.safetensors", "--set", "heads=4"),
        *(
            "--space",
            "tower/text[4]",
            "--corpus",
            "toys",
            "--corruption",
            "noise(std=0.08)",
            "--license",
            "MIT",
            "--half",
        ),
    )
    assert result.exit_code == 0, result.output
    header = read_header("w.safetensors")
    assert (header.space, header.corpus, header.corruption, header.license) == (
        "tower/text[4]",
        "toys",
        "noise(std=0.08)",
        "MIT",
    )
    assert header.config == {"heads": 4}
    assert header.recipe.endswith(
        "--out w.safetensors --space 'tower/text[4]' --corpus toys --corruption 'noise(std=0.08)' --license MIT "
        "--set heads=4 --half"
    )
    assert load_file("w.safetensors")["head.weight"].dtype == torch.float16


def test_files_that_do_not_say_their_space_are_taken_on_trust_and_that_is_said(released, files):
    result = released.run("weights", "convert", "decoder/words", "files", "--out", "w.safetensors")
    assert "  space ?[4]; it is taken on trust, or given with --space NAME[DIM]\n" in result.stdout
    assert "  licence CC-BY-4.0\n" in result.stdout


REFUSED = [
    pytest.param(
        ("words", "files/words-009.pt"),
        "several components are named 'words'\n  write one of: bridge/words, decoder/words",
        id="a name of two kinds",
    ),
    pytest.param(
        ("towr", "files"),
        "'towr' is neither a component nor a file\n  did you mean: tower",
        id="a name of nothing",
    ),
    pytest.param(("tower", "files/none.pt"), "there is no file files/none.pt", id="no such file"),
    pytest.param(
        ("tower", "files/Tower-B.pt"),
        "backbone 'tower' needs more files than were given\n"
        "  missing merges: merges.txt, from hub://toys/tower/merges.txt",
        id="a role is missing",
    ),
    pytest.param(
        ("tower", "files", "--role", "visoin=files/Tower-B.pt"),
        "backbone 'tower' has no file 'visoin'\n  did you mean: vision\n"
        "  its files are vision: Tower-*.pt or tower*; merges: merges.txt",
        id="a role that does not exist",
    ),
    pytest.param(("tower", "files", "--role", "vision"), "--role vision: write ROLE=PATH", id="half a role"),
    pytest.param(
        ("tower", "files", "--role", "vision=nowhere.pt"),
        "--role vision=nowhere.pt: there is no file nowhere.pt",
        id="a role without its file",
    ),
    pytest.param(
        ("tower", "files/Tower-B.pt", "other/Tower-C.pt", "files/merges.txt"),
        "files/Tower-B.pt and other/Tower-C.pt are both 'vision' of backbone 'tower'\n  say which: --role vision=PATH",
        id="two files of one role",
    ),
    pytest.param(
        ("tower", "files", "files/words-009.pt"),
        "files/words-009.pt is none of the files of backbone 'tower' by its name\n"
        "  its files are vision: Tower-*.pt or tower*; merges: merges.txt\n"
        "  say which it is: --role ROLE=files/words-009.pt",
        id="a file of another component",
    ),
    pytest.param(
        ("tower", "files", "--out", "t.bin"), "--out t.bin: the file ends in .safetensors", id="another ending"
    ),
    pytest.param(
        ("tower", "files", "--space", "tower"),
        "--space: 'tower' is not a space: write it as name[dim], for example clip-vit-b16/text[512]",
        id="no space",
    ),
    pytest.param(
        ("tower", "files", "--space", "other/image[4]"),
        "--space other/image[4]: the files say that they are for tower/image[4]\n"
        "  leave --space out, or give the one that is true",
        id="another space",
    ),
    pytest.param(
        ("decoder/words", "files", "--space", "tower/text[5]"),
        "--space tower/text[5]: the files are 4 wide\n  leave --space out, or give the one that is true",
        id="another width",
    ),
    pytest.param(
        ("decoder/words", "files/words-009.pt"),
        "files/words-009.pt: how many heads?\n  --set heads=4",
        id="an option is needed",
    ),
    pytest.param(
        ("toy-words", "files"),
        "decoder 'toy-words' has no released layout that could be converted\n"
        "  its weights are made with toolkit train; see: toolkit show toy-words",
        id="a component without a reader",
    ),
    pytest.param(
        ("tower", "files", "--names", "x.txt"), "--names belongs to single pickles, not to a component", id="names"
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_converted_is_told_with_what_to_type(released, files, arguments, message):
    (released.folder / "other").mkdir()
    torch.save({"conv.weight": torch.ones(3, 4)}, released.folder / "other" / "Tower-C.pt")
    before = sorted(released.folder.rglob("*.safetensors"))
    assert error(released.run("weights", "convert", *arguments)).startswith(message)
    assert sorted(released.folder.rglob("*.safetensors")) == before


def test_the_file_that_is_read_is_never_overwritten(released, files):
    (files / "tower-own.safetensors").write_bytes(b"x")
    arguments = ("--role", "vision=files/tower-own.safetensors", "--role", "merges=files/merges.txt")
    text = error(released.run("weights", "convert", "tower", *arguments, "--out", "files/tower-own.safetensors"))
    assert text == "--out files/tower-own.safetensors is the file that is read\n  choose another name"
    assert (files / "tower-own.safetensors").read_bytes() == b"x"


def test_a_pickled_vocabulary_becomes_json_with_sorted_sets(project):
    value = {"objects": {"vg": {"dog", "cat", "ü"}}, "count": 3, "pair": ("a", None, 1.5)}
    Path("v.pickle").write_bytes(pickle.dumps(value))
    result = project.run("weights", "convert", "v.pickle", "--out", "v.json")
    assert (result.exit_code, result.stdout) == (0, "wrote v.json: an object of 3 keys: objects, count, pair\n")
    assert json.loads(Path("v.json").read_text(encoding="utf-8")) == {
        "objects": {"vg": ["cat", "dog", "ü"]},
        "count": 3,
        "pair": ["a", None, 1.5],
    }


def test_pickled_embeddings_become_safetensors_with_their_names(project):
    embeddings = torch.randn(3, 4)
    Path("e.pickle").write_bytes(pickle.dumps((["cat", "dog", "emu"], embeddings)))
    result = project.run("weights", "convert", "e.pickle", "--out", "e.safetensors", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["holds"] == "1 tensor: embeddings (3, 4) float32, with 3 names"
    with safe_open("e.safetensors", "pt") as file:
        assert json.loads(file.metadata()["names"]) == ["cat", "dog", "emu"]
        assert torch.equal(file.get_tensor("embeddings"), embeddings)


@pytest.mark.parametrize("name", ["names.json", "names.txt"])
def test_names_of_embeddings_may_come_from_a_file(project, name):
    Path("e.pickle").write_bytes(pickle.dumps(torch.zeros(2, 4)))
    Path("names.json").write_text('["cat", "dog"]')
    Path("names.txt").write_text("cat\n\ndog\n")
    result = project.run("weights", "convert", "e.pickle", "--out", "e.safetensors", "--names", name)
    assert result.exit_code == 0, result.output
    with safe_open("e.safetensors", "pt") as file:
        assert json.loads(file.metadata()["names"]) == ["cat", "dog"]


def test_a_program_of_torchscript_becomes_its_tensors(project):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(torch.nn.Linear(2, 3), torch.ones(1, 2))
        module.save("m.pt")
    result = project.run("weights", "convert", "m.pt", "--out", "m.safetensors")
    assert result.exit_code == 0, result.output
    assert torch.equal(load_file("m.safetensors")["weight"], module.state_dict()["weight"])


def test_a_checkpoint_with_its_arguments_in_it_becomes_its_tensors(project):
    import argparse

    torch.save({"model": {"w": torch.ones(2)}, "args": argparse.Namespace(lr=0.1)}, "c.pt")
    result = project.run("weights", "convert", "c.pt", "--out", "c.safetensors")
    assert result.exit_code == 0, result.output
    assert list(load_file("c.safetensors")) == ["w"]
    result = project.run("weights", "convert", "c.pt", "--out", "c.json")
    assert json.loads(Path("c.json").read_text())["args"] == {"_type": "argparse.Namespace", "lr": 0.1}


class Strange:
    def __init__(self):
        self.width = 3


SINGLE = [
    pytest.param(("v.pickle",), "say what to make of v.pickle: --out X.json or --out X.safetensors", id="no out"),
    pytest.param(
        ("v.pickle", "--out", "v.yaml"), "--out v.yaml: the file ends in .json or .safetensors", id="another ending"
    ),
    pytest.param(
        ("v.pickle", "--out", "v.safetensors"), "v.pickle: not everything in it is a tensor: a", id="words as tensors"
    ),
    pytest.param(
        ("v.pickle", "e.pickle", "--out", "v.json"),
        "'v.pickle' is a file, and one pickle is converted at a time",
        id="two files",
    ),
    pytest.param(
        ("v.pickle", "--out", "v.json", "--space", "a[4]"),
        "--space belongs to the weights of a component\n  name the component first",
        id="a space",
    ),
    pytest.param(
        ("v.txt", "--out", "v.json"), "v.txt: files that can be converted alone end in .pkl, .pickle, .pt", id="text"
    ),
    pytest.param(
        ("e.pickle", "--out", "e.safetensors", "--names", "three.txt"),
        "three.txt: 3 names do not go with tensors of {'embeddings': (2, 4)}",
        id="names of others",
    ),
    pytest.param(
        ("e.pickle", "--out", "e.safetensors", "--names", "none.txt"),
        "--names none.txt: No such file or directory",
        id="no names",
    ),
    pytest.param(
        ("big.pickle", "--out", "big.json"), "big.pickle: it holds 200,000 numbers, which JSON is not", id="big"
    ),
    pytest.param(
        ("nan.pickle", "--out", "nan.json"), "nan.pickle: it cannot be written as JSON: it holds NaN", id="nan"
    ),
    pytest.param(
        ("strange.pickle", "--out", "s.json"),
        "strange.pickle: the pickle wants test_weights_convert.Strange, which is not on the list of harmless types; "
        "nothing was run",
        id="a stranger's class",
    ),
    pytest.param(("cut.pickle", "--out", "c.json"), "cut.pickle: the pickle is damaged: ", id="cut"),
    pytest.param(
        ("legacy.pt", "--out", "l.safetensors"),
        "legacy.pt: the pickle is damaged: no readable archive of torch",
        id="old",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), SINGLE)
def test_a_single_file_that_cannot_be_converted_is_told_with_what_to_type(project, arguments, message):
    for name, value in {
        "v.pickle": {"a": "b"},
        "e.pickle": torch.zeros(2, 4),
        "big.pickle": torch.zeros(200_000),
        "nan.pickle": [float("nan")],
        "strange.pickle": Strange(),
    }.items():
        Path(name).write_bytes(pickle.dumps(value))
    Path("cut.pickle").write_bytes(pickle.dumps({"a": "b"})[:-4])
    Path("v.txt").write_text("x")
    Path("three.txt").write_text("a\nb\nc\n")
    torch.save({"w": torch.ones(1)}, "legacy.pt", _use_new_zipfile_serialization=False)
    assert error(project.run("weights", "convert", *arguments)).startswith(message)
    assert not list(Path().glob("*.json"))
    assert not list(Path().glob("*.safetensors"))


def views_of_one_tensor():
    whole = torch.zeros(1_000_000)
    return {str(number): whole[:] for number in range(30)}


UNWRITABLE = [
    pytest.param({1j, (1, "a")}, "x.json", "it cannot be written as JSON: it holds a complex", id="complex"),
    pytest.param(np.array([1j]), "x.json", "it cannot be written as JSON: it holds a complex", id="complex array"),
    pytest.param(np.array([b"a"]), "x.json", "it cannot be written as JSON: it holds bytes that are no text", id="S"),
    pytest.param(
        [10**5000],
        "x.json",
        "it cannot be written as JSON: it holds a whole number of more than 13000 bits",
        id="a number of 5,000 digits",
    ),
    pytest.param({"a": torch.ones(1), ("b",): torch.ones(1)}, "x.safetensors", "a tuple is no name of", id="tuple key"),
    pytest.param(
        {"1": torch.ones(1), 1: torch.ones(1)}, "x.safetensors", "two keys are both written '1'", id="same name"
    ),
    pytest.param(
        {"a\ud800": torch.ones(1)}, "x.safetensors", "the name 'a\\ud800' is no Unicode", id="name of no Unicode"
    ),
    pytest.param(
        {"a" * 9000: 1, "\x1b[31m": 2},
        "x.safetensors",
        f"not everything in it is a tensor: {'a' * 120}..., \\x1b[31m",
        id="long names",
    ),
    pytest.param(
        views_of_one_tensor(),
        "x.safetensors",
        "its tensors share their numbers, and written one by one they have 120,000,000 bytes",
        id="views of one tensor",
    ),
]


@pytest.mark.parametrize(("value", "out", "message"), UNWRITABLE)
def test_a_value_that_the_form_has_no_place_for_is_told_without_a_traceback(project, value, out, message):
    name = "v.pt" if "share" in message else "v.pickle"  # in a pickle, each view has the numbers for itself
    with open(name, "wb") as stream:
        (torch.save if name == "v.pt" else pickle.dump)(value, stream)
    assert error(project.run("weights", "convert", name, "--out", out)).startswith(f"{name}: {message}")
    assert not Path(out).exists()


def test_sets_of_unlike_members_become_lists(project):
    Path("v.pickle").write_bytes(pickle.dumps({"pairs": {(1, "a"), ("a", 1)}, "mixed": {1, "a", None}}))
    result = project.run("weights", "convert", "v.pickle", "--out", "v.json")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("v.json").read_text()) == {"pairs": [["a", 1], [1, "a"]], "mixed": [None, 1, "a"]}


def test_an_array_whose_type_is_a_deep_list_is_refused_without_a_traceback(project):
    data = b"\x80\x02cnumpy\ndtype\n" + b"]" * 5000 + b"a" * 4999 + b"\x85R."
    Path("v.pickle").write_bytes(data)
    text = error(project.run("weights", "convert", "v.pickle", "--out", "v.json"))
    assert text.splitlines()[0] == (
        "v.pickle: the pickle is damaged: it holds a numpy array of the type <list>, "
        "which is not of plain numbers or texts"
    )


def test_the_fields_of_a_class_that_the_user_names_are_read(project):
    Path("strange.pickle").write_bytes(pickle.dumps(Strange()))
    result = project.run("weights", "convert", "strange.pickle", "--out", "s.json", "--record", "*.Strange")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("s.json").read_text()) == {"_type": "test_weights_convert.Strange", "width": 3}


def test_the_pickled_config_of_a_real_decoder_becomes_json(project):
    result = project.run("weights", "convert", upstream("decap_decoder_config.pkl"), "--out", "c.json")
    assert result.exit_code == 0, result.output
    fields = json.loads(Path("c.json").read_text())
    assert (fields["n_layer"], fields["n_head"], fields["n_embd"]) == (4, 4, 768)


def test_the_real_vocabulary_of_visual_genome_becomes_json(project):
    result = project.run(
        "weights", "convert", upstream("all_objects_attributes_relationships.pickle"), "--out", "v.json"
    )
    assert result.stdout == "wrote v.json: an object of 3 keys: relationships, attributes, objects\n"
    words = json.loads(Path("v.json").read_text(encoding="utf-8"))["objects"]["gqa"]
    assert len(words) == 1703
    assert words == sorted(words)


def test_real_entity_embeddings_become_safetensors(project):
    name = "coco_embeddings_ViT-B16_t2d__with_ensemble.pickle"
    result = project.run("weights", "convert", upstream(name), "--out", "e.safetensors")
    assert result.stdout == "wrote e.safetensors: 1 tensor: embeddings (80, 768) float32\n"
    assert torch.allclose(load_file("e.safetensors")["embeddings"].norm(dim=1), torch.ones(80), atol=1e-3)
