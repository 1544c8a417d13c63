"""Options of ``toolkit caption`` that say how captions are generated, on a toy decoder that tells what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from regionkit.registry.cli import root

SCENE = Path(__file__).resolve().parents[2] / "docs" / "images" / "scene.png"
TELLING = """
class ToyDecoder(Remembers, torch.nn.Module, Decoder):
    def generate(self, inputs, prompt=None, options=None):
        if options is None:
            return [Caption("as by default", 0.0)] * len(inputs)
        said = f"{options.max_tokens} {options.beams} {options.temperature:g} {options.top_p:g} {options.seed}"
        return [Caption(f"{said} #{number}/{len(inputs)}", 0.0) for number in range(len(inputs))]
"""


@pytest.fixture
def telling(toy):
    """Return the toy project with a decoder that writes down its options, and three pictures."""
    parts = toy.folder / "toy_plugin" / "parts.py"
    before, _, rest = parts.read_text().partition("class ToyDecoder")
    _, _, after = rest.partition("    def score")
    toy({"toy_plugin/parts.py": f"{before}{TELLING.strip()}\n\n    def score{after}"})
    toy.weights("backbone.safetensors", kind="backbone", name="toy-a", space="toy-a/image[4]")
    (toy.folder / "pictures").mkdir()
    for name in "abc":
        Image.new("RGB", (8, 8)).save(toy.folder / "pictures" / f"{name}.png")
    return toy


def caption(project, *args):
    result = project.run("caption", *args, "--preset", "toy")
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("args", "told"),
    [
        pytest.param([], "as by default", id="none"),
        pytest.param(["--max-tokens", "7"], "7 1 0 1 0 #0/1", id="max-tokens"),
        pytest.param(["--beams", "4"], "30 4 0 1 0 #0/1", id="beams"),
        pytest.param(["--temperature", "0.7", "--top-p", "0.9", "--seed", "3"], "30 1 0.7 0.9 3 #0/1", id="samples"),
    ],
)
def test_options_reach_the_decoder(telling, args, told):
    assert caption(telling, "pictures/a.png", *args).stdout == f"{told}\n"


def test_results_repeat_what_was_asked(telling):
    plain = json.loads(caption(telling, "pictures/a.png", "--json").stdout)
    assert "generation" not in plain
    asked = json.loads(caption(telling, "pictures/a.png", "--json", "--beams", "2", "--max-tokens", "9").stdout)
    assert asked["generation"] == {"max_tokens": 9, "beams": 2}


def test_samples_of_a_picture_do_not_depend_on_its_batch(telling):
    """Samples follow a region's number in the call, so that each picture has to be a call of its own."""
    regions = ("--box", "0,0,4,4", "--box", "4,4,8,8", "--json")
    found = []
    for batch in ("1", "2", "8"):
        lines = caption(telling, "pictures", *regions, "--batch", batch, "--temperature", "1").stdout.splitlines()
        found.append([[entry["caption"] for entry in json.loads(line)["captions"]] for line in lines])
    assert found[0] == [["30 1 1 1 0 #0/2", "30 1 1 1 0 #1/2"]] * 3
    assert found[0] == found[1] == found[2]
    assert "#0/6" in caption(telling, "pictures", *regions, "--beams", "2").stdout, "greedy pictures share their calls"


def test_one_bad_picture_does_not_stop_the_samples_of_the_others(telling):
    args = ("pictures", "--box", "0,0,4,4", "--temperature", "1")
    Image.new("RGB", (8, 8)).save(telling.folder / "pictures" / "d.png")
    (telling.folder / "pictures" / "b.png").write_bytes(b"damaged")
    result = telling.run("caption", *args, "--preset", "toy")
    assert result.exit_code == 1
    assert result.stdout.count("#0/1") == 3
    assert "1 of 4 pictures were not captioned" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--seed", "1"], "note: --seed changes nothing without --temperature", id="seed"),
        pytest.param(
            ["--top-p", "0.5", "--seed", "1"],
            "note: --top-p and --seed change nothing without --temperature",
            id="both",
        ),
    ],
)
def test_options_that_change_nothing_are_noted(telling, args, message):
    assert message in caption(telling, "pictures/a.png", *args).stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--beams", "2", "--temperature", "1"], "error: a beam search does not sample", id="both"),
        pytest.param(["--beams", "0"], "Invalid value for '--beams'", id="beams"),
        pytest.param(["--max-tokens", "0"], "Invalid value for '--max-tokens'", id="max-tokens"),
        pytest.param(["--temperature", "-1"], "Invalid value for '--temperature'", id="temperature"),
        pytest.param(["--temperature", "nan"], "temperature must be 0 or more", id="nan"),
        pytest.param(["--top-p", "0"], "Invalid value for '--top-p'", id="top-p"),
        pytest.param(["--top-p", "nan"], "top_p: nan must be more than 0 and at most 1", id="top-p-nan"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_read(telling, args, message):
    result = telling.run("caption", "pictures/a.png", "--preset", "nowhere", *args)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_decoder_that_cannot_refuses():
    result = CliRunner().invoke(root, ["caption", str(SCENE), "--beams", "3"])
    assert result.exit_code == 2
    assert result.output.startswith("error: decoder 'decap' writes greedily and cannot follow beams 3\n")
    assert "leave that out, or choose a decoder on a language model, such as lm-tokens" in result.output
    short = CliRunner().invoke(root, ["caption", str(SCENE), "--max-tokens", "2"])
    assert short.exit_code == 0
    assert len(short.output.split()) == 2
