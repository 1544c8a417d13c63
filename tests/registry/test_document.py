from __future__ import annotations

import pytest

from regionkit.core.errors import ConfigError, UnknownName
from regionkit.registry.document import read_document, read_pipeline


def message(path="x.yaml", overrides=()):
    with pytest.raises(ConfigError) as caught:
        read_document(path, overrides)
    return str(caught.value)


def test_values_are_read_by_omegaconf_and_lines_by_yaml(project):
    project(
        {
            "x.yaml": """
            version: 1
            # a comment
            bridge: {name: noise,
              std: 1e-4}
            data:
              - box@mini
              - task: point
                name: mini
            """
        }
    )
    document = read_document("x.yaml")
    assert document.data["bridge"] == {"name": "noise", "std": 1e-4}
    assert isinstance(document.data["bridge"]["std"], float)
    assert "version" not in document.data
    wanted = {"bridge": 3, "bridge.name": 3, "bridge.std": 4, "data.0": 6, "data.1": 7, "data.1.name": 8}
    assert {path: document.line(path) for path in wanted} == {path: f"x.yaml:{line}" for path, line in wanted.items()}


def test_what_was_not_written_is_placed_at_its_parent(project):
    project({"x.yaml": "version: 1\nbridge: {name: noise}\n"})
    document = read_document("x.yaml")
    assert document.line("bridge.std") == "x.yaml:2"
    assert document.line("decoder.name") == "x.yaml:1"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("a: 1\n\tb: 2\n", "x.yaml:2: a tab indents this line\n  YAML is indented with spaces", id="tab"),
        pytest.param("a: [1\nb: 2\n", "x.yaml:2: not readable as YAML: while parsing a flow sequence", id="syntax"),
        pytest.param("- a\n- b\n", "x.yaml:1: the file must be a mapping (key: value lines), it is a list", id="list"),
        pytest.param("hello\n", "x.yaml:1: the file must be a mapping (key: value lines), it is a single", id="text"),
        pytest.param("# nothing\n", "x.yaml: the file is empty", id="empty"),
        pytest.param("a: 1\nb: 2\na: 3\n", "x.yaml:3: a: written twice, first in line 1\n  remove one", id="twice"),
        pytest.param("b: {a: 1,\n a: 3}\n", "x.yaml:2: b.a: written twice, first in line 1", id="twice-nested"),
        pytest.param("? [a]\n: 1\n", "x.yaml:1: a key must be a single word", id="key"),
        pytest.param("a: ${oc.env:HOME}\n", "x.yaml:1: a: '${oc.env:HOME}' is an interpolation", id="resolver"),
        pytest.param("a: {b: [1, 'x${b}']}\n", "x.yaml:1: a.b.1: 'x${b}' is an interpolation", id="interpolation"),
        pytest.param("${a}: 1\n", "x.yaml:1: ${a}: '${a}' is an interpolation", id="key-interpolation"),
        pytest.param("a: &x [*x]\n", "x.yaml:1: an alias (*name) refers to something that contains", id="alias"),
        pytest.param(
            "a: !!python/name:os.system ''\n", "x.yaml:1: the tag !!python/name:os.system is not taken", id="tag"
        ),
        pytest.param("version: 2\n", "x.yaml:1: version: the file is of version 2, this regionkit reads", id="newer"),
        pytest.param("version: one\n", "x.yaml:1: version: expected 1, got 'one'", id="version-text"),
        pytest.param("version: true\n", "x.yaml:1: version: expected 1, got True", id="version-bool"),
        pytest.param("extends: [a]\n", "x.yaml:1: extends: expected the name of a preset or", id="extends-list"),
        pytest.param("extends: ./x.yaml\n", "x.yaml:1: extends: the files extend each other in a circle", id="circle"),
        pytest.param("extends: ./y.yaml\n", "x.yaml:1: extends: there is no file y.yaml", id="extends-missing"),
        pytest.param("base: toyy\n", "x.yaml:1: base: no preset named 'toyy'\n  did you mean: toy", id="preset"),
        pytest.param(b"a: \xff\n", "x.yaml:1: the file is not UTF-8", id="utf8"),
    ],
)
def test_unreadable_file_says_where_and_what(toy, text, wanted):
    toy({"x.yaml": text})
    assert message().startswith(wanted)


def test_several_mistakes_of_the_text_are_told_together(project):
    project({"x.yaml": "a: ${x}\nb: 1\nb: ${y}\n"})
    assert len(message().splitlines()) == 6


def test_missing_file_and_folder(project):
    project({"pipeline.yaml": "a: 1\n"})
    assert message("pipelin.yaml") == "pipelin.yaml: there is no such file\n  did you mean: pipeline.yaml"
    assert message(".").startswith(".: cannot be read: ")


def test_missing_version_is_the_first(project):
    project({"x.yaml": "bridge: none\n"})
    assert read_document("x.yaml").data == {"bridge": "none"}


BASE = """
version: 1
backbone: {name: toy-a, resolution: 8}
bridge: {name: toy-noise, std: 0.1}
decoder: toy-words
"""


def test_parts_of_one_name_merge_and_others_replace(toy):
    toy(
        {
            "base.yaml": BASE,
            "sub/x.yaml": """
            extends: ../base.yaml
            backbone: {name: toy-a, weights: none}
            bridge: {name: toy-bank, bank: texts}
            decoder: {hidden: 3}
            """,
        }
    )
    document = read_document("sub/x.yaml")
    assert document.data == {
        "backbone": {"name": "toy-a", "resolution": 8, "weights": "none"},
        "bridge": {"name": "toy-bank", "bank": "texts"},
        "decoder": {"name": "toy-words", "hidden": 3},
    }
    assert document.line("backbone.resolution") == "sub/../base.yaml:2"
    assert document.line("backbone.weights") == "sub/x.yaml:2"
    assert document.line("bridge.bank") == "sub/x.yaml:3"
    assert document.line("bridge.std") == "sub/x.yaml:3"  # of the replaced part nothing is left
    assert document.name == "x"


def test_pipeline_may_say_base(toy):
    toy({"x.yaml": "base: toy\ndecoder: toy-extra\n"})
    assert read_document("x.yaml").data["decoder"] == "toy-extra"
    assert read_document("x.yaml").data["backbone"] == {"name": "toy-a"}


@pytest.mark.parametrize(
    "base",
    [
        pytest.param("toy", id="preset"),
        pytest.param("toy_plugin/presets/toy.yaml", id="path"),
        pytest.param("{base: toy}", id="mapping"),
    ],
)
def test_ablation_keeps_its_base_as_the_composed_pipeline(toy, base):
    toy({"x.yaml": f"base: {base}\ndata: [box@toy-data]\n"})
    document = read_document("x.yaml")
    assert document.data["base"]["backbone"] == {"name": "toy-a"}
    assert set(document.data["base"]) == {"backbone", "region_encoder", "bridge", "decoder"}
    assert set(document.data) == {"base", "data"}
    assert document.line("base.backbone").endswith("presets/toy.yaml:3")


def test_ablation_extends_an_ablation(toy):
    toy(
        {
            "a.yaml": "base: toy\ndata: [box@toy-data]\nseeds: [0, 1]\ngrid: {bridge: [toy-none]}\n",
            "b.yaml": "extends: a.yaml\nbase: {bridge: toy-any}\nseeds: [5]\ngrid: {backbone: [toy-a]}\n",
        }
    )
    data = read_document("b.yaml").data
    assert data["base"]["bridge"] == "toy-any"
    assert data["base"]["backbone"] == {"name": "toy-a"}
    assert data["seeds"] == [5]
    assert data["grid"] == {"bridge": ["toy-none"], "backbone": ["toy-a"]}


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        pytest.param("bridge.std=1e-3", ("bridge", "std"), 1e-3, id="float"),
        pytest.param("bridge.std=null", ("bridge", "std"), None, id="null"),
        pytest.param("bridge=toy-none", ("bridge",), "toy-none", id="replace-part"),
        pytest.param("bridge=toy-noise", ("bridge",), {"name": "toy-noise", "std": 0.1}, id="same-part"),
        pytest.param("bridge.name=toy-any", ("bridge",), {"name": "toy-any"}, id="rename"),
        pytest.param("decoder.hidden=3", ("decoder",), {"name": "toy-words", "hidden": 3}, id="shorthand"),
        pytest.param("decoder.x.y=[1, two]", ("decoder", "x", "y"), [1, "two"], id="nested"),
        pytest.param("bridge={name: toy-any}", ("bridge",), {"name": "toy-any"}, id="mapping"),
        pytest.param("seeds.1=7", ("seeds",), [0, 7], id="list-item"),
        pytest.param("label=", ("label",), "", id="empty"),
    ],
)
def test_override_lays_a_value_over_the_file(toy, override, path, value):
    toy({"x.yaml": BASE + "seeds: [0, 1]\n"})
    document = read_document("x.yaml", [override])
    found = document.data
    for key in path:
        found = found[key]
    assert found == value
    assert type(found) is type(value)
    name = override.partition("=")[0]
    assert document.line(name) == f"--set {name}"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        pytest.param("bridge", "--set: 'bridge' is not of the form a.b=c\n  for example: --set", id="no-equals"),
        pytest.param("=3", "--set: '=3' is not of the form a.b=c", id="no-path"),
        pytest.param(
            "bridge.std.x=3", "--set bridge.std.x: bridge.std is '0.1', which has nothing below it", id="leaf"
        ),
        pytest.param("seeds.2=3", "--set seeds.2: seeds is a list of 2, counted from 0", id="index"),
        pytest.param("a=${oc.env:HOME}", "'${oc.env:HOME}' is an interpolation", id="resolver"),
        pytest.param("a=[1", "not readable as YAML", id="syntax"),
    ],
)
def test_bad_override_is_explained(project, override, wanted):
    project({"x.yaml": BASE + "seeds: [0, 1]\n"})
    assert wanted in message(overrides=[override])


def test_unknown_override_is_reported_as_such(toy):
    toy({"x.yaml": BASE + "region_encoder: toy-pool\n"})
    result = toy.run("validate", "x.yaml", "--set", "bridge.sdt=3")
    assert "error: --set bridge.sdt: bridge.sdt: unknown option\n  did you mean: std" in result.stderr


def test_override_of_an_ablations_base_is_composed(toy):
    toy({"x.yaml": "data: [box@toy-data]\n"})
    document = read_document("x.yaml", ["base=toy", "base.bridge=toy-any"])
    assert document.data["base"]["bridge"] == "toy-any"


def test_read_pipeline_takes_a_preset_a_path_or_a_mapping(toy):
    data = read_pipeline("toy").data
    assert read_pipeline("toy_plugin/presets/toy.yaml").data == data  # with its summary
    assert data.pop("summary") == "A toy"
    assert read_pipeline({"version": 1, "base": "toy"}).data == data
    assert read_pipeline(data).data == data


def test_unknown_preset_says_what_exists(toy):
    toy({"zzz": "a: 1\n"})
    with pytest.raises(UnknownName) as caught:
        read_pipeline("zzz")
    assert "see: toolkit list-components --kind preset" in str(caught.value)
    assert str(caught.value).endswith("to read the file of that name write ./zzz")
    with pytest.raises(UnknownName, match="did you mean: toy"):
        read_pipeline("toyy")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(
            "base: ~nobody-at-all/x.yaml\n", "x.yaml:1: base: there is no file ~nobody-at-all/x.yaml", id="home"
        ),
        pytest.param('base: "a\\0b.yaml"\n', "x.yaml:1: base: holds the control character '\\x00'", id="null-byte"),
        pytest.param("a: " + "[" * 3000 + "]" * 3000, "x.yaml:1: brackets or lists are nested too deeply", id="deep"),
        pytest.param("a: " + "9" * 5000, "x.yaml:1: a: a number of 5000 characters", id="digits"),
    ],
)
def test_values_that_no_library_takes_are_mistakes(toy, text, wanted):
    toy({})
    (toy.folder / "x.yaml").write_text(text)
    assert wanted in message()


def test_a_digit_that_is_no_number_is_no_place_in_a_list(toy):
    toy({"x.yaml": "data: [a]"})
    assert message(overrides=["data.²=b"]) == "--set data.²: data is a list of 1, counted from 0"


def test_files_that_are_called_alike_are_named(toy):
    toy({"quickstart.yaml": "a: 1", "x.yaml": "base: ./quikstart.yaml"})
    assert message("quikstart.yaml") == "quikstart.yaml: there is no such file\n  did you mean: quickstart.yaml"
    assert "did you mean: quickstart.yaml" in message()
    assert message("nope.yaml") == "nope.yaml: there is no such file\n  give the path of a YAML file"


def test_files_of_weights_are_relative_to_the_file_that_names_them(project):
    project(
        {
            "sub/p.yaml": """
                version: 1
                weights: file:.
                backbone: {name: b, weights: "file:w/b.pt"}
                decoder: {name: d, weights: file:/else/d.pt}
                bridge: {name: m, weights: hub://org/name}
                region_encoder: {name: e, weights: auto}
                """,
            "a.yaml": "version: 1\nextends: sub/p.yaml\ngrid: {decoder.weights: ['file:x.pt', none]}\n",
        }
    )
    data = read_document("a.yaml", ["bridge.weights=file:y.pt"]).data
    assert data["weights"] == "file:sub"
    assert data["backbone"]["weights"] == "file:sub/w/b.pt"
    assert data["decoder"]["weights"] == "file:/else/d.pt"
    assert data["grid"] == {"decoder.weights": ["file:x.pt", "none"]}
    assert data["bridge"]["weights"] == "file:y.pt"  # the command line is relative to where the user stands
