from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from regionkit.registry.cli import root
from regionkit.registry.commands.list_components import KEYS

TYPO = "base: toy\nbridge: {name: toy-noise, sdt: 1}\ndecoder: {name: toy-fixed, weights: 3}\n"


def listing(project, *args):
    return json.loads(project.run("list-components", "--json", *args).stdout)


def test_listing_has_stable_keys(toy):
    rows = listing(toy)
    assert KEYS == ("kind", "name", "plugin", "distribution", "version", "summary", "license", "status", "reason")
    assert all(tuple(row) == KEYS for row in rows)
    assert {
        "kind": "region_encoder",
        "name": "toy-pool",
        "plugin": "toy",
        "distribution": "toys",
        "version": "1.2",
        "summary": "Mean of everything",
        "license": "Apache-2.0",
        "status": "ok",
        "reason": "",
    } in rows


def test_listing_shows_what_cannot_be_used(toy, monkeypatch):
    toy.plugin("broken", "import not_a_module").plugin("off", "x = 1")
    monkeypatch.setenv("REGIONKIT_DISABLE", "off")
    rows = {(row["kind"], row["name"]): (row["status"], row["reason"]) for row in listing(toy)}
    assert rows["plugin", "broken"] == ("quarantined", "ModuleNotFoundError: No module named 'not_a_module'")
    assert rows["plugin", "off"] == ("disabled", "turned off by REGIONKIT_DISABLE")
    assert rows["decoder", "toy-extra"] == (
        "missing-package",
        "needs the package 'not_there_at_all': pip install 'regionkit[toys]'",
    )
    text = toy.run("list-components").stdout
    assert "quarantined: ModuleNotFoundError: No module named 'not_a_module'" in text


def test_listing_of_one_kind(toy):
    assert {row["kind"] for row in listing(toy, "--kind", "bridge")} == {"bridge"}
    result = toy.run("list-components", "--kind", "brdge")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: no kind of component named 'brdge'\n  did you mean: bridge, judge\n",
    )


def test_listing_of_presets(toy):
    toy({"toy_plugin/presets/torn.yaml": "summary: [A toy\n"})
    rows = {row["name"]: row for row in listing(toy, "--kind", "preset")}
    assert {row["kind"] for row in rows.values()} == {"preset"}
    assert all(tuple(row) == KEYS for row in rows.values())
    assert rows["toy"] == dict(zip(KEYS, ("preset", "toy", "toy", "toys", "1.2", "A toy", "", "ok", ""), strict=True))
    assert rows["mini"]["summary"] == "The captioner of the mini-world, with dense features and the memory bridge"
    assert rows["torn"]["status"] == "unreadable"
    assert "torn.yaml:2: not readable" in rows["torn"]["reason"]
    assert "preset  torn" in (text := toy.run("list-components", "--kind", "preset").stdout)
    assert "unreadable: " in text


def test_listing_as_markdown(toy):
    lines = toy.run("list-components", "--kind", "region_encoder", "--format", "md").stdout.splitlines()
    assert lines[:2] == ["| kind | name | plugin | what it is | license |", "| --- | --- | --- | --- | --- |"]
    assert "| region_encoder | `toy-pool` | toy | Mean of everything | Apache-2.0 |" in lines


HEAVY = ("torch", "timm", "transformers", "numpy", "pydantic", "omegaconf", "rich", "yaml", "PIL", "safetensors")


@pytest.mark.parametrize("command", [["list-components"], ["list-components", "--json"], ["--help"], ["--version"]])
def test_light_commands_import_nothing_heavy(command):
    code = (
        "import sys; from regionkit.registry.cli import root\n"
        f"root.main({command!r}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "print([name for name in sys.modules if name.startswith('regionkit.registry.commands.')], file=sys.stderr)"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    heavy, commands = run.stderr.splitlines()
    assert heavy == "[]"
    if command[0].startswith("-"):
        assert commands == "[]"
    assert run.stdout


def test_help_lists_commands_without_importing_them(toy):
    result = toy.run("--help")
    assert result.exit_code == 0
    assert "Say hello" in result.stdout
    assert "toy_plugin.commands" not in sys.modules


def test_plugin_command_runs(toy):
    assert toy.run("toy-hello").stdout == "hello\n"


@pytest.mark.parametrize(
    ("how", "code", "stderr"),
    [
        pytest.param("wrong", 2, "error: wrong use\n  type something else\n", id="wrong-use"),
        pytest.param("failed", 1, "error: the work failed\n", id="failed"),
        pytest.param("interrupt", 130, "interrupted\n", id="interrupt"),
    ],
)
def test_known_ends_have_their_status_and_no_traceback(toy, how, code, stderr):
    result = toy.run("toy-hello", how)
    assert (result.exit_code, result.stderr, result.stdout) == (code, stderr, "")


@pytest.mark.parametrize("args", [("--traceback", "toy-hello", "wrong"), ("toy-hello", "wrong", "--traceback")])
def test_traceback_is_shown_on_demand(toy, args):
    result = toy.run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("error: wrong use\n  type something else\n")


def test_a_bug_keeps_its_traceback(toy):
    assert isinstance(toy.run("toy-hello", "bug").exception, AssertionError)


@pytest.mark.parametrize("args", [("--offline", "toy-hello", "offline"), ("toy-hello", "offline", "--offline")])
def test_offline_tells_everybody(toy, args):
    assert toy.run(*args).stdout == "1 1\n"


def test_flags_after_two_dashes_belong_to_the_command(toy):
    result = toy.run("toy-hello", "--", "--offline")
    assert result.stdout == "hello\n"
    assert "REGIONKIT_OFFLINE" not in os.environ


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        pytest.param(
            ["list-component"], "error: no command named 'list-component'\n  did you mean: list-comp", id="typo"
        ),
        pytest.param(["zzz"], "error: no command named 'zzz'\n  commands are: ", id="list"),
        pytest.param(["validate"], "Missing argument 'FILE...'", id="argument"),
        pytest.param(["show", "x", "--foo"], "No such option", id="option"),
        pytest.param(["--foo"], "No such option", id="root-option"),
        pytest.param(
            ["show", "toy-pol"], "error: no component or preset named 'toy-pol'\n  did you mean: toy-pool", id="show"
        ),
        pytest.param(
            ["compat", "toy-aa"],
            "error: no part of a pipeline or preset named 'toy-aa'\n  did you mean: toy-a",
            id="compat",
        ),
        pytest.param(
            ["compat", "zzz"], "error: no part of a pipeline or preset named 'zzz'\n  there is: ", id="compat-list"
        ),
        pytest.param(
            ["compat", "toy-metric"],
            "error: 'toy-metric' is a metric; compat takes a part of a pipeline or a preset\n",
            id="compat-metric",
        ),
        pytest.param(
            ["show", "toyy", "--kind", "preset"], "error: no preset named 'toyy'\n  did you mean: toy", id="show-preset"
        ),
        pytest.param(["validate", "."], "error: .: cannot be read: Is a directory\n  give the path", id="folder"),
        pytest.param(
            ["cite", "toyz"], "error: no component, preset or paper named 'toyz'\n  did you mean: toy", id="cite"
        ),
        pytest.param(["data", "make", "toy-dat", "--out", "d"], "error: no dataset named 'toy-dat'", id="data"),
        pytest.param(["data", "verify", "."], "error: . is no folder that `toolkit data make` wrote", id="verify"),
        pytest.param(["caption", "x.png", "--preset", "toyy", "--whole"], "no preset named 'toyy'", id="preset"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_to_type(toy, args, wanted):
    toy({"x.png": b"no picture"})
    result = toy.run(*args)
    assert result.exit_code == 2
    assert wanted in result.stderr
    assert "Traceback" not in result.stderr


def test_command_that_cannot_be_imported_blames_its_plugin(toy):
    result = toy.run("toy-broken")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: command 'toy-broken' cannot be loaded: ModuleNotFoundError: No module named 'toy_plugin.nowhere'",
        "  it comes with plugin toy (toys 1.2); see: toolkit doctor",
    ]


def test_validate_tells_all_mistakes_of_all_files(toy):
    toy({"good.yaml": "base: toy\n", "bad.yaml": TYPO, "abl.yaml": "base: toy\nmetrics: [toy-metric]\n"})
    result = toy.run("validate", "good.yaml", "bad.yaml", "abl.yaml")
    assert result.exit_code == 2
    assert result.stdout == "good.yaml: a good pipeline: toy-a > toy-pool > toy-none > toy-fixed\n"
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] == [
        "error: bad.yaml:2: bridge.sdt: unknown option",
        "error: bad.yaml:2: bridge.std: the option 'std' is missing: it has no default",
        "error: bad.yaml:3: decoder.weights: expected str, got 3",
        "error: abl.yaml:1: data: missing",
    ]
    assert toy.run("validate", "good.yaml").exit_code == 0


def test_validate_as_json(toy):
    toy({"good.yaml": "base: toy\n", "bad.yaml": TYPO})
    result = toy.run("validate", "bad.yaml", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)[0]["where"] == "bad.yaml:2"
    assert set(json.loads(result.stdout)[0]) == {"where", "path", "message", "hints"}
    assert json.loads(toy.run("validate", "good.yaml", "--json").stdout) == []


def test_show_component(toy):
    toy.weights("toy_plugin/weights/w.safetensors", kind="backbone", name="toy-a", space="toy-a/image[4]", recipe="r")
    text = toy.run("show", "toy-a").stdout
    for line in (
        "from:      toy (toys 1.2), Apache-2.0",
        "paper:     Toys",
        "writes:    toy-a/image[4]",
        "sentences: toy-a/text[4]",
        "resolution: int (default 8)",
        "Pixels along each side.",
        "w: toy-a/image[4], made by r",
    ):
        assert line in text
    facts = json.loads(toy.run("show", "toy-a", "--json").stdout)
    assert facts[0]["options"][1] == {
        "name": "resolution", "type": "int", "default": 8, "required": False, "doc": "Pixels along each side.",
    }  # fmt: skip
    assert facts[0]["weights"][0]["name"] == "w"


def test_show_all_kinds_of_a_name(toy):
    assert {fact["kind"] for fact in json.loads(toy.run("show", "toy-fixed", "--json").stdout)} == {"bridge", "decoder"}
    assert len(json.loads(toy.run("show", "toy-fixed", "--kind", "bridge", "--json").stdout)) == 1


def test_show_preset(toy):
    text = toy.run("show", "toy").stdout
    assert text.startswith("preset toy: A toy\n  file: ")
    assert "  decoder toy-fixed: toy-a/text[4]" in text
    toy({"toy_plugin/presets/bad.yaml": "base: toy\ndecoder: toy-words\n"})
    assert "cannot run: " in toy.run("show", "bad").stdout


def test_compat_lists_what_fits_and_why_not(toy):
    rows = json.loads(toy.run("compat", "toy-a", "--json").stdout)
    by_names = {(row["region_encoder"], row["bridge"], row["decoder"]): row for row in rows}
    assert by_names["toy-pool", "toy-none", "toy-fixed"]["fits"]
    assert not by_names["toy-many", "toy-none", "toy-fixed"]["fits"]
    assert "several tokens" in by_names["toy-many", "toy-none", "toy-fixed"]["reason"]
    text = toy.run("compat", "toy-a").stdout
    assert "pairings do not fit; see: toolkit compat --all" in text
    assert "toy-pool" in text
    assert "several tokens" in toy.run("compat", "toy-a", "--all").stdout


def test_compat_of_a_preset(toy):
    rows = {row["kind"]: row["fits"] for row in json.loads(toy.run("compat", "toy", "--json").stdout)}
    assert rows["backbone"] == ["toy-a"]
    assert "toy-fixed" in rows["decoder"]
    assert "toy-pictures" not in rows["decoder"]
    assert "toy-none" in rows["bridge"]


@pytest.mark.slow  # ten thousand pairings
def test_compat_of_any_part_is_the_table_filtered(toy):
    everything = json.loads(toy.run("compat", "--json").stdout)
    names = {"backbone": "toy-a", "region_encoder": "toy-pool", "bridge": "toy-none", "decoder": "toy-words"}
    for kind, name in names.items():
        rows = json.loads(toy.run("compat", name, "--json").stdout)
        assert rows == [row for row in everything if row[kind] == name]
        assert rows


@pytest.mark.slow
def test_compat_also_shows_what_fits_once_it_is_trained(toy):
    def fits(*more):
        rows = json.loads(toy.run("compat", "point-qformer", "--json", *more).stdout)
        return {(row["backbone"], row["bridge"], row["decoder"]) for row in rows if row["fits"]}

    wanted = ("mini-vit", "language-projection", "lm-tokens")
    assert wanted not in fits()
    assert wanted in fits("--untrained")
    assert "see: toolkit compat --untrained" in toy.run("compat", "point-qformer").stdout


def test_compat_of_a_name_of_two_kinds_shows_both(toy):
    rows = json.loads(toy.run("compat", "toy-fixed", "--json").stdout)
    assert {row["bridge"] == "toy-fixed" for row in rows} == {True, False}
    assert all("toy-fixed" in (row["bridge"], row["decoder"]) for row in rows)


@pytest.mark.slow  # the toy registry has thousands of pairings
def test_compat_says_with_which_options_a_bridge_would_fit(toy):
    words = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]"}
    for index, corruption in enumerate(["noise(std=0.1)", "noise(std=0.3)", "blur(2)", "noise(radius=1)"]):
        toy.weights(f"toy_plugin/weights/w{index}.safetensors", **words, corruption=corruption)
    note = (
        "toy-noise: there are weights for corruption noise(std=0.1); noise(std=0.3); "
        "write bridge: {name: toy-noise, std: 0.1} or bridge: {name: toy-noise, std: 0.3}"
    )
    lines = toy.run("compat", "toy-words").stdout.splitlines()
    assert lines.count(note) == 1
    rows = json.loads(toy.run("compat", "toy-noise", "--json").stdout)
    assert {(row["backbone"], row["decoder"]) for row in rows if row["note"]} >= {("toy-a", "toy-words")}
    assert ("toy-b", "toy-words") not in {(row["backbone"], row["decoder"]) for row in rows if row["note"]}
    assert not any(row["fits"] for row in rows)
    assert "bridge: the option 'std' is missing: it has no default" in {row["reason"] for row in rows}
    toy({"toy_plugin/presets/worded.yaml": "base: toy\nbridge: {name: toy-noise, std: 0.1}\ndecoder: toy-words\n"})
    assert note in toy.run("compat", "worded").stdout.splitlines()
    (place,) = (row for row in json.loads(toy.run("compat", "worded", "--json").stdout) if row["kind"] == "bridge")
    assert note in place["notes"]


@pytest.fixture
def namesake(toy):
    """Return the project with a preset that is named like a metric and holds other papers' parts."""
    return toy({"toy_plugin/presets/cider-d.yaml": "base: toy\nsummary: A namesake\nbridge: none\n"})


def test_preset_is_shown_beside_a_component_of_its_name(namesake):
    text = namesake.run("show", "cider-d").stdout
    assert text.startswith("metric cider-d: ")
    assert "\npreset cider-d: A namesake\n  file: " in text
    assert "  decoder toy-fixed: toy-a/text[4]" in text
    facts = json.loads(namesake.run("show", "cider-d", "--json").stdout)
    assert [fact["kind"] for fact in facts] == ["metric", "preset"]
    assert facts[1]["plan"]["backbone"]["name"] == "toy-a"
    assert namesake.run("show", "cider-d", "--kind", "preset").stdout.startswith("preset cider-d: ")
    assert "preset" not in namesake.run("show", "cider-d", "--kind", "metric").stdout


def test_cite_takes_all_that_has_the_name(namesake):
    found = [paper["key"] for paper in json.loads(namesake.run("cite", "cider-d", "--json").stdout)]
    assert found == ["cider", "toys"]


def test_weights_list(toy):
    assert "toy-words" not in toy.run("weights", "list").stdout
    header = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]", "recipe": "toolkit train t.yaml"}
    toy.weights("toy_plugin/weights/good.safetensors", **header)
    path = toy.weights("toy_plugin/weights/cut.safetensors", **header)
    path.write_bytes(path.read_bytes()[:-1])
    rows = {row["file"]: row for row in json.loads(toy.run("weights", "list", "--json").stdout)}
    assert rows["good"]["status"] == "ok"
    assert rows["cut"]["status"].startswith("the weight file is damaged: ")
    assert rows["cut"]["recipe"] == "toolkit train t.yaml"
    assert "good" in toy.run("weights", "list", "--kind", "decoder").stdout


def test_cite(toy):
    toy({"x.yaml": "base: toy\ndata: [box@toy-data]\ngrid: {bridge: [toy-none, memory]}\nmetrics: [cider-d]\n"})
    assert toy.run("cite", "toy-a").stdout == "@misc{toys, title = {Toys}}\n"
    assert toy.run("cite", "toy").stdout.count("@") == 1
    assert toy.run("cite", "toys").stdout.count("@misc{toys") == 1
    found = [paper["key"] for paper in json.loads(toy.run("cite", "x.yaml", "--json").stdout)]
    assert {"toys", "decap"} <= set(found)
    assert "no paper to cite" in toy.run("cite", "toy-none").stdout
    assert "@misc{toys" in toy.run("cite").stdout


def test_data_is_made_and_verified(toy):
    made = toy.run("data", "make", "toy-data", "--split", "test", "--seed", "3", "--limit", "2", "--out", "d", "--json")
    assert json.loads(made.stdout) == {
        "dataset": "toy-data", "split": "test", "seed": 3, "limit": 2, "options": {}, "counts": {"pictures": 2},
        "out": "d",
    }  # fmt: skip
    assert (toy.folder / "d/picture.txt").read_text() == "test 3 2"
    assert toy.run("data", "verify", "d").exit_code == 0
    (toy.folder / "d/picture.txt").unlink()
    result = toy.run("data", "verify", "d")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: d: 1 fault\n  picture.txt is missing\n")
    assert json.loads(toy.run("data", "verify", "d", "--json").stdout)["faults"] == ["picture.txt is missing"]


def test_data_make_refuses_wrong_use(toy):
    toy({"full/x.txt": "x", "bad/dataset.json": "{"})
    assert "full is not empty" in toy.run("data", "make", "toy-data", "--out", "full").stderr
    assert (
        "has no split 'tst'\n  did you mean: test"
        in toy.run("data", "make", "toy-data", "--split", "tst", "--out", "n").stderr
    )
    assert "bad/dataset.json cannot be read" in toy.run("data", "verify", "bad").stderr


def test_data_list(toy):
    rows = {row["name"]: row for row in json.loads(toy.run("data", "list", "--json").stdout)}
    assert rows["toy-data"]["tasks"] == ["box", "point"]
    assert "toy-data" in toy.run("data", "list").stdout


def findings(result):
    return {(row["topic"], row["name"]): row for row in json.loads(result.stdout)}


def test_doctor_reports_plugins_weights_and_extras(toy, monkeypatch):
    toy.plugin("broken", "import not_a_module")
    path = toy.weights("mine/cut.safetensors", kind="decoder", name="toy-words", recipe="toolkit train t.yaml")
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(toy.folder / "mine"))
    result = toy.run("doctor", "--json")
    rows = findings(result)
    assert result.exit_code == 1
    assert rows["plugin", "broken"]["detail"] == "ModuleNotFoundError: No module named 'not_a_module'"
    assert rows["plugin", "toy"]["detail"] == "toys 1.2, 23 components, 3 commands"
    assert rows["package", "torch"]["status"] == "ok"
    assert rows["extra", "accelerate"]["status"] in ("ok", "note")
    assert "make it again with: toolkit train t.yaml" in rows["weights", "cut.safetensors"]["detail"]
    assert rows["folder", str(toy.folder / "cache")]["status"] == "ok"
    text = toy.run("doctor")
    assert text.exit_code == 1
    assert "error: 2 things need attention" in text.stderr


@pytest.mark.parametrize(
    ("found", "status", "detail"),
    [
        pytest.param("/bin/java", "ok", "/bin/java, for metric dense-map, metric meteor, metric spice", id="there"),
        pytest.param(
            None,
            "note",
            "not on the PATH; metric dense-map, metric meteor, metric spice may need it: "
            "pip install 'regionkit[meteor]'",
            id="missing",
        ),
    ],
)
def test_doctor_looks_for_programs_that_components_run(monkeypatch, found, status, detail):
    monkeypatch.setattr("shutil.which", lambda program: found if program == "java" else None)
    result = CliRunner().invoke(root, ["doctor", "--json"])
    rows = {(row["topic"], row["name"]): row for row in json.loads(result.stdout)}
    assert (rows["program", "java"]["status"], rows["program", "java"]["detail"]) == (status, detail)


def test_doctor_is_content_with_a_sound_installation(toy):
    result = toy.run("doctor")
    assert result.exit_code == 0, result.stderr


def test_doctor_works_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\nfrom regionkit.registry.cli import main; main(['doctor', '--json'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    rows = {(row["topic"], row["name"]): row for row in json.loads(run.stdout)}
    assert rows["device", "torch"]["status"] == "bad"
    assert "cannot be imported" in rows["device", "torch"]["detail"]


def test_closed_pipe_is_quiet():
    code = "from regionkit.registry.cli import main; main(['list-components', '--json'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert stderr == b""
