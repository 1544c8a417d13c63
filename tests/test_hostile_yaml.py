"""YAML files that mean harm, or were damaged: refused by name and line, nothing executed, in no time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.yaml_nodes import MOST_LEVELS, MOST_VALUES
from regionkit.registry.yaml_text import read_yaml

GOOD = """\
version: 1
backbone: {name: mini-dense}
region_encoder: {name: patch-pool, weighting: gaussian}
bridge: {name: memory, bank: mini-captions, temperature: 0.02}
decoder: {name: decap}
"""
ABLATION = "base: mini\ndata: [box@mini]\nmetrics: [cider-d]\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 10)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 200))


def temperature(value: str) -> str:
    return GOOD.replace("0.02", value)


def decoder(options: str) -> str:
    return GOOD.replace("{name: decap}", f"{{name: decap, {options}}}")


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """Import what validation imports, which is no part of any measured time."""
    for name in ("quickstart.yaml", "patchioner-claims.yaml"):
        folder = Path(__file__).resolve().parents[1] / "examples" / "ablations"
        CliRunner().invoke(root, ["validate", str(folder / name)])


def validate(text: str | bytes, tmp_path: Path) -> tuple[int, str]:
    """Return exit status and output of ``toolkit validate`` on a file of this content, which must be quick."""
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    start = time.process_time()  # of this process: how busy the machine is does not matter
    result = CliRunner().invoke(root, ["validate", str(path)])
    seconds = time.process_time() - start
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    assert seconds < 3, f"{seconds:.1f} s"  # under one on an idle core
    return result.exit_code, result.output.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(GOOD + "_target_: os.system\n", "x.yaml:6: _target_: unknown key", id="target"),
        pytest.param(decoder("_target_: os.system"), "x.yaml:5: decoder._target_: unknown option", id="inner-target"),
        pytest.param(GOOD + "__class__: x\n", "x.yaml:6: __class__: unknown key", id="class"),
        pytest.param(decoder("__init__: {a: 1}"), "x.yaml:5: decoder.__init__: unknown option", id="init"),
        pytest.param(
            GOOD + "x: !!python/object/apply:os.system ['touch ran']\n",
            "x.yaml:6: the tag !!python/object/apply:os.system is not taken: files hold plain values",
            id="python-object",
        ),
        pytest.param(
            GOOD.replace("name: decap", "name: !!python/object/new:os.system ['touch ran']"),
            "x.yaml:5: the tag !!python/object/new:os.system is not taken",
            id="python-new",
        ),
        pytest.param(temperature("!!float 0.02"), "x.yaml:4: the tag !!float is not taken", id="plain-tag"),
        pytest.param(temperature("!mine 0.02"), "x.yaml:4: the tag !mine is not taken", id="own-tag"),
        pytest.param(temperature("!!binary '@@'"), "x.yaml:4: the tag !!binary is not taken", id="binary"),
        pytest.param(GOOD + "plugins: [./evil.py]\n", "x.yaml:6: plugins: this file brings plugins", id="plugins"),
        pytest.param(
            GOOD.replace("name: decap", "name: '${oc.env:HOME}'"),
            "x.yaml:5: decoder.name: '${oc.env:HOME}' is an interpolation",
            id="environment",
        ),
        pytest.param(GOOD + "'${oc.env:HOME}': 1\n", "x.yaml:6: ${oc.env:HOME}: ", id="environment-key"),
        pytest.param(GOOD + "summary: a ${x}\n", "x.yaml:6: summary: 'a ${x}' is an interpolation", id="summary"),
    ],
)
def test_nothing_in_a_file_is_ever_executed(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/secret/of/mine")
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    code, output = validate(text, tmp_path)
    assert (code, message in output) == (2, True), output
    assert "/secret/of/mine" not in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.py", "x.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(LAUGHS + GOOD, "x.yaml:4: this stands for more than 10,000 values, aliases", id="laughs"),
        pytest.param(MERGES, "x.yaml:5: this stands for more than 10,000 values, aliases", id="merges"),
        pytest.param(CHAIN, "x.yaml:64: brackets or lists are nested too deeply", id="chain"),
        pytest.param(GOOD + "x: &x [*x]\n", "x.yaml:6: an alias (*name) refers to something that contains", id="loop"),
        pytest.param(GOOD + "x: &x {y: {z: *x}}\n", "x.yaml:6: an alias (*name) refers to some", id="deep-loop"),
        pytest.param(GOOD + "x: " + "[" * 10_000_000, "x.yaml: the file is longer than 1,048,576 bytes", id="10-MB"),
        pytest.param(GOOD + "x: " + "[" * 1_000_000, "x.yaml:6: brackets or lists are nested too", id="brackets"),
        pytest.param(GOOD + "x: " + "{a: " * 200_000, "x.yaml:6: brackets or lists are nested too", id="braces"),
        pytest.param("- " * 500_000, "x.yaml:1: brackets or lists are nested too deeply", id="dashes"),
        pytest.param(
            "".join(" " * level + "a:\n" for level in range(1000)), "x.yaml:64: brackets or lists", id="indented"
        ),
        pytest.param(
            GOOD + "".join(f"k{n}: 1\n" for n in range(40_000)), "this stands for more than 10,000 values", id="many"
        ),
        pytest.param(
            ABLATION
            + "grid: {"
            + ", ".join(f"bridge.o{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for n in range(12))
            + "}\n",
            "x.yaml:4: grid: 1,000,000,000,000 pipelines are more than the 10,000",
            id="endless-grid",
        ),
        pytest.param(
            ABLATION
            + "grid: {bridge: [{name: noise, "
            + ", ".join(f"o{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for n in range(12))
            + "}]}\n",
            "x.yaml:4: grid.bridge: stands for 1,000,000,000,000 values",
            id="endless-axis",
        ),
        pytest.param(
            ABLATION + f"include: [{{bridge: {{name: noise, a: {[1] * 900}, b: {[1] * 900}, c: {[1] * 900}}}}}]\n",
            "x.yaml:4: include.0.bridge: an extra trial takes one value an axis, this has 729000000",
            id="endless-extra",
        ),
        pytest.param(
            ABLATION + f"grid: {{bridge.temperature: {list(range(1, 1001))}}}\nseeds: {list(range(1000))}\n",
            "x.yaml:4: grid: 1,000,000 trials are more than the 100,000",
            id="endless-trials",
        ),
    ],
)
def test_what_explodes_is_refused_before_it_does(text: str, message: str, tmp_path: Path) -> None:
    code, output = validate(text, tmp_path)
    assert (code, message in output) == (2, True), output[:2000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(GOOD + "x: \0\n", "x.yaml:6: the character 0x0000 is none that YAML takes", id="nul"),
        pytest.param(
            GOOD + 'extends: "a\\0b"\n', "x.yaml:6: extends: holds the control character '\\x00'", id="esc-nul"
        ),
        pytest.param(decoder('tokenizer: "\\x1b[2J"'), "x.yaml:5: decoder.tokenizer: holds the control", id="escape"),
        pytest.param(GOOD + '"\\x07": 1\n', "x.yaml:6: a key holds the control character '\\x07'", id="bell-key"),
        pytest.param(GOOD + 'x: "\\ud800"\n', "x.yaml:6: x: holds half of a character", id="surrogate"),
        pytest.param(GOOD + '"\\udfff": 1\n', "x.yaml:6: a key holds half of a character", id="surrogate-key"),
        pytest.param(GOOD + "x: \ud800\n", "x.yaml:6: the file is not UTF-8", id="raw-surrogate"),
        pytest.param(GOOD.encode("utf-16"), "x.yaml:1: the file is not UTF-8", id="utf-16"),
        pytest.param(GOOD + "\tx: 1\n", "x.yaml:6: a tab indents this line", id="tab"),
        pytest.param(GOOD + "decoder: decap\n", "x.yaml:6: decoder: written twice, first in line 5", id="twice"),
        pytest.param(
            decoder("name: decap"), "x.yaml:5: decoder.name: written twice, first in line 5", id="twice-inner"
        ),
        pytest.param(temperature("9" * 5000), "x.yaml:4: bridge.temperature: a number of 5000 characters", id="digits"),
        pytest.param(temperature("0x" + "f" * 999), "x.yaml:4: bridge.temperature: a number of 1001", id="hex"),
        pytest.param(temperature("1e400"), "x.yaml:4: bridge.temperature: the number 1e400 is too large", id="1e400"),
        pytest.param(temperature("-1_0.0e+999"), "the number -1_0.0e+999 is too large", id="-1e999"),
        pytest.param(temperature(".inf"), "x.yaml:4: bridge: temperature: inf must be more than 0", id="inf"),
        pytest.param(temperature(".nan"), "x.yaml:4: bridge.temperature: expected a number, got nan", id="nan"),
        pytest.param(temperature("1:30"), "x.yaml:4: bridge.temperature: YAML reads 1:30 as a number in", id="base-60"),
        pytest.param(temperature("2020-01-01"), "expected float, got the text '2020-01-01'", id="date"),
        pytest.param(temperature("2020-99-99"), "expected float, got the text '2020-99-99'", id="no-date"),
        pytest.param(GOOD.replace(": 1", ": 2020-01-01", 1), "x.yaml:1: version: expected 1, got '2020", id="version"),
        pytest.param(GOOD + "1: 2\n", "x.yaml:6: 1: unknown key", id="number-key"),
        pytest.param(GOOD + "1.5: 2\n", "x.yaml:6: YAML reads the key 1.5 as a number", id="float-key"),
        pytest.param(GOOD + "2020-01-01: 2\n", "x.yaml:6: YAML reads the key 2020-01-01 as a date", id="date-key"),
        pytest.param(decoder("~: 2"), "x.yaml:5: decoder: YAML reads the key ~ as nothing", id="null-key"),
        pytest.param(decoder("on: 2"), "x.yaml:5: decoder.True: unknown option", id="bool-key"),
        pytest.param(GOOD + "? [a, b]\n: 1\n", "x.yaml:6: a key must be a single word", id="list-key"),
        pytest.param(decoder("? {a: b} : 1"), "x.yaml:5: decoder: a key must be a single word", id="mapping-key"),
        pytest.param(GOOD + "<<: 3\n", "x.yaml:6: not readable as YAML: ", id="merge"),
        pytest.param(GOOD + "---\na: 1\n", "x.yaml:6: not readable as YAML: expected a single document", id="two"),
        pytest.param(GOOD + "extends: ./" + "a" * 5000, "x.yaml:6: extends: there is no file ", id="long-path"),
        pytest.param(GOOD + "extends: /dev/zero\n", "x.yaml:6: extends: there is no file /dev/zero", id="device"),
        pytest.param(decoder(f"weights: 'file:{'a' * 5000}'"), "there is no weight file ", id="long-weights"),
        pytest.param(decoder("weights: 'file:/dev/zero'"), "there is no weight file /dev/zero", id="weights-device"),
    ],
)
def test_odd_values_are_refused_where_they_stand(text: str | bytes, message: str, tmp_path: Path) -> None:
    code, output = validate(text, tmp_path)
    assert (code, message in output) == (2, True), output[:2000]
    output.encode()  # a terminal can show it
    assert not any(char in output for char in "\0\x07\x1b")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="byte-order-mark"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="crlf"),
        pytest.param(f"%YAML 1.1\n---\n{GOOD}...\n", id="directive"),
        pytest.param(GOOD.replace("{name: decap}", "&d {name: decap}"), id="anchor-without-alias"),
    ],
)
def test_odd_files_that_are_good_stay_good(text: str, tmp_path: Path) -> None:
    assert validate(text, tmp_path) == (0, "x.yaml: a good pipeline: mini-dense > patch-pool > memory > decap\n")


@pytest.mark.parametrize("count", [MOST_VALUES, MOST_VALUES + 1])
def test_a_file_may_hold_so_many_values_and_no_more(count: int) -> None:
    text = "a: [" + "x, " * (count - 3) + "]"  # the file, the key and the list are values too
    if count <= MOST_VALUES:
        assert len(read_yaml(text, "x")[0]["a"]) == count - 3
    else:
        with pytest.raises(Exception, match="x:1: this stands for more than 10,000 values"):
            read_yaml(text, "x")


@pytest.mark.parametrize("levels", [MOST_LEVELS, MOST_LEVELS + 1])
def test_a_file_may_go_so_deep_and_no_deeper(levels: int) -> None:
    text = "a: " + "[" * (levels - 1) + "]" * (levels - 1)
    if levels <= MOST_LEVELS:
        assert read_yaml(text, "x")[1]["a"] == "x:1"
    else:
        with pytest.raises(Exception, match="x:1: brackets or lists are nested too deeply"):
            read_yaml(text, "x")


@pytest.mark.timeout(30)
def test_what_is_no_regular_file_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    os.symlink(tmp_path / "loop.yaml", tmp_path / "loop.yaml")
    os.symlink("/dev/zero", tmp_path / "zero.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, message in [
        ("pipe.yaml", "this is a pipe or a device, not a file"),
        ("zero.yaml", "this is a pipe or a device, not a file"),
        ("folder.yaml", "cannot be read: Is a directory"),
        ("loop.yaml", "cannot be read: Too many levels of symbolic links"),
        ("a" * 5000 + ".yaml", "cannot be read: File name too long"),
    ]:
        result = CliRunner().invoke(root, ["validate", str(tmp_path / name)])
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("bridge.temperature=1e400", "the number 1e400 is too large", id="1e400"),
        pytest.param("bridge.temperature=" + "9" * 5000, "a number of 5000 characters", id="digits"),
        pytest.param("bridge.temperature=!!python/name:os.system x", "the tag !!python/name:os.system", id="tag"),
        pytest.param("bridge.temperature=${oc.env:HOME}", "is an interpolation", id="environment"),
        pytest.param(".".join("a" * 500) + "=1", "is not of the form a.b=c", id="deep"),
        pytest.param("bridge=" + "[" * 100_000, "brackets or lists are nested too deeply", id="brackets"),
    ],
)
def test_values_of_the_command_line_are_held_to_the_same(override: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    result = CliRunner().invoke(root, ["validate", str(tmp_path / "x.yaml"), "--set", override])
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_numbers_from_python_have_an_end_too() -> None:
    with pytest.raises(Exception, match=r"bridge.temperature: expected a number, got one of 3322 bits"):
        load(
            {
                "backbone": "mini-dense",
                "region_encoder": "patch-pool",
                "bridge": {"name": "memory", "temperature": 10**1000},
                "decoder": "decap",
            }
        )
