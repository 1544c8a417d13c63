"""``toolkit caption`` with parts of a newcomer: pictures that they fail at are recorded, and the parts are named."""

from __future__ import annotations

import json

import pytest
from PIL import Image

PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from regionkit.core.contracts import Backbone, Decoder, GapBridge, RegionEncoder
from regionkit.core.features import Caption, Features, RegionTokens
from regionkit.core.frames import Frame
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port


@dataclass(frozen=True)
class Config:
    fault: str = ""


@hookimpl
def regionkit_components():
    config = f"{__name__}:Config"
    names = {"writes": "Writes", "half": "Half", "other": "Other", "late": "Late", "odd": "Odd", "nothing": "Nothing"}
    return [
        ComponentSpec("backbone", "sees", f"{__name__}:Sees", writes=Port("sees[4]"), text="says[4]"),
        ComponentSpec("backbone", "lists", f"{__name__}:Lists", writes=Port("sees[4]"), text="says[4]"),
        ComponentSpec("region_encoder", "takes", f"{__name__}:Takes", config, reads=Port("image"),
                      writes=Port("image"), accepts=("box", "image")),
        *(ComponentSpec("decoder", name, f"{__name__}:{made}", config, reads=Port("any"))
          for name, made in names.items()),
    ]


class Sees(Backbone):
    space, text_space = "sees[4]", "says[4]"

    def frame(self, image_size):
        return Frame.squash(image_size, (8, 8), (2, 2))

    def encode(self, images):
        colours = [[*image.getpixel((0, 0))[:3], 1] for image in images]
        patches = torch.tensor(colours, dtype=torch.float32)[:, None, None].expand(-1, 2, 2, -1)
        return Features(patches, tuple(self.frame(image.size) for image in images))


    def encode_text(self, texts):
        return [][0]


class Lists(Sees):
    def encode_text(self, texts):
        return [[1.0] * 4] * len(texts)


class Takes(RegionEncoder):
    accepts = ("box", "image")

    def __init__(self, config):
        self.fault = config.fault

    def encode(self, scene, regions):
        vectors = scene.features.patches.mean((1, 2))[list(regions.image)]
        if self.fault == "together" and len(regions) > 1:
            raise ValueError("one at a time")
        if self.fault == "red" and bool((vectors[:, 0] > 200).any()):
            1 / 0
        if self.fault == "label":
            return RegionTokens.single(vectors, "sees/other[4]")
        return RegionTokens.single(vectors, scene.backbone.space)

    def attention(self, scene, regions):
        return [][0]


class Writes(Decoder):
    def __init__(self, config):
        self.fault = config.fault

    def generate(self, inputs, prompt=None, options=None):
        made = {"strings": "a dog", "none": None, "textless": Caption(None, 0.0), "nan": Caption("a", float("nan"))}
        return [made.get(self.fault, Caption("a dog", -1.0)) for _ in range(len(inputs))]

    def score(self, inputs, texts, prompt=None):
        return torch.zeros(len(texts))

    def loss(self, inputs, texts, prompt=None):
        return torch.zeros(())


class Half(Decoder):
    def generate(self, inputs, prompt=None, options=None):
        return []


class Other(Writes):
    def __init__(self, config, words):
        super().__init__(config)


class Late(Writes):
    def __init__(self, config):
        self.words = config.vocabulary


class Odd(Writes):
    @classmethod
    def build(cls, config):
        return cls(config)


class Nothing(Writes):
    @classmethod
    def build(cls, config, context):
        cls(config)
"""
OWNER = "of plugin newcomer (newcomer 0.3)"
ROW_A_TEXT = "(n, d), a row a text"
CODE = "its code is that of plugin newcomer (newcomer 0.3): newcomer:"
FAULT = "this is a fault of plugin newcomer (newcomer 0.3), which names it as newcomer:"


@pytest.fixture
def caption(project):
    """Return a function that captions a blue, a red and a green picture with the newcomer's parts."""
    project.plugin("newcomer", PLUGIN)
    for name in ("blue", "red", "green"):
        Image.new("RGB", (8, 8), name).save(project.folder / f"{name}.png")
    lines = [json.dumps({"image": f"{name}.png"}) for name in ("blue", "red", "green")]
    project({"regions.jsonl": "\n".join(lines)})

    def run(*more, encoder="", decoder="writes", fault="", source="regions.jsonl"):
        parts = {"backbone": "sees", "bridge": "none", "region_encoder": {"name": "takes", "fault": encoder}}
        parts["decoder"] = {"name": decoder, "fault": fault}
        project({"pipe.yaml": json.dumps({"version": 1, **parts})})
        return project.run("caption", source, "--preset", "pipe.yaml", "--device", "cpu", *more)

    return run


def records(project):
    return [json.loads(line) for line in (project.folder / "out.jsonl").read_text().splitlines()]


def test_what_nobody_foresaw_is_recorded_and_the_others_are_captioned(caption, project):
    result = caption("--out", "out.jsonl", encoder="red")
    assert result.exit_code == 1
    assert [set(found) & {"captions", "error"} for found in records(project)] == [{"captions"}, {"error"}, {"captions"}]
    told = f"region encoder 'takes' {OWNER}: ZeroDivisionError: division by zero (newcomer.py, line "
    assert records(project)[1]["error"].startswith(told)
    assert f"error: 1 of 3 pictures were not captioned\n  regions.jsonl:2: {told}" in result.stderr
    assert "see it whole with --on-error stop" in result.stderr
    assert "Traceback" not in result.output


def test_stop_shows_it_whole_and_keeps_what_came_before(caption, project):
    result = caption("--out", "out.jsonl", "--on-error", "stop", encoder="red")
    assert isinstance(result.exception, ZeroDivisionError)
    assert result.exception.__notes__ == [f"raised by region encoder 'takes' {OWNER}"]
    assert len(records(project)) == 1


def test_a_single_picture_is_told_of_on_lines_and_whole_with_traceback(caption):
    result = caption(encoder="red", source="red.png")
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert f"error: region encoder 'takes' {OWNER}: ZeroDivisionError: division by zero" in result.stderr
    whole = caption("--traceback", encoder="red", source="red.png")
    assert "ZeroDivisionError: division by zero\nraised by region encoder 'takes'" in whole.stderr


def test_pictures_that_fail_together_and_never_alone_are_told_of(caption):
    result = caption(encoder="together")
    assert result.exit_code == 0
    assert "note: 3 pictures failed together and none of them alone: region encoder 'takes'" in result.stderr
    assert result.stdout.splitlines() == [f"{name}.png: a dog" for name in ("blue", "red", "green")]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param("strings", "generate() gave a str where a Caption belongs", id="strings"),
        pytest.param("none", "generate() gave None where a Caption belongs", id="none"),
        pytest.param("textless", "generate() gave a Caption whose text is None, and no str", id="text"),
        pytest.param("nan", "generate() gave a Caption whose score is nan, and no finite log-probability", id="nan"),
    ],
)
def test_a_caption_that_is_none_is_never_printed(caption, fault, message):
    result = caption("--json", fault=fault)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    for line in result.stdout.splitlines():
        found = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        assert found["error"].startswith(f"decoder 'writes' {OWNER}: {message}")
    assert caption(source="blue.png", fault=fault).stdout == ""


def test_the_encoder_that_labels_its_tokens_otherwise_is_named(caption):
    result = caption(encoder="label", source="blue.png")
    assert result.exit_code == 1
    wrong = "encode() labelled its tokens sees/other[4], and its spec says that it writes sees[4]"
    assert f"error: region encoder 'takes' {OWNER}: {wrong}\n" in result.stderr


@pytest.mark.parametrize(
    ("decoder", "lines"),
    [
        pytest.param(
            "half",
            [
                "cannot be built: newcomer:Half lacks loss, score",
                "  a Decoder must have: def loss(self, inputs, texts, prompt=None); def score(self, inputs, texts, ",
                f"  {FAULT}Half",
            ],
            id="abstract",
        ),
        pytest.param(
            "other",
            [
                "cannot be built: TypeError: Other.__init__() missing 1 required positional argument: 'words' (",
                "  its constructor is given its filled options alone; write def __init__(self, config), or def build(",
                f"  {CODE}Other; see it whole with --traceback",
            ],
            id="constructor",
        ),
        pytest.param(
            "late",
            [
                "cannot be built: AttributeError: 'Config' object has no attribute 'vocabulary' (newcomer.py, line ",
                f"  {CODE}Late; see it whole with --traceback",
            ],
            id="its-own-code",
        ),
        pytest.param(
            "odd",
            [
                "cannot be built: TypeError: Odd.build() takes 2 positional arguments but 3 were given (",
                "  its constructor is given its filled options alone; write def __init__(self, config), or def build(",
                f"  {CODE}Odd; see it whole with --traceback",
            ],
            id="build",
        ),
        pytest.param(
            "nothing",
            [
                "cannot be built: newcomer:Nothing.build() gave None",
                "  return the Decoder that it makes: return cls(config)",
                f"  {FAULT}Nothing",
            ],
            id="nothing",
        ),
    ],
)
def test_a_part_that_cannot_be_built_is_named_with_what_is_missing(caption, decoder, lines):
    result = caption(decoder=decoder, source="blue.png")
    assert result.exit_code == 2
    found = [line for line in result.stderr.splitlines() if not line.startswith("note:")]
    assert len(found) == len(lines)
    assert found[0].startswith(f"error: decoder '{decoder}' {lines[0]}")
    for line, wanted in zip(found[1:], lines[1:], strict=True):
        assert line.startswith(wanted)
    assert "Traceback (most recent call last)" in caption("--traceback", decoder=decoder, source="blue.png").stderr


@pytest.mark.parametrize(
    ("backbone", "lines"),
    [
        pytest.param(
            "sees",
            [
                f"bridge 'memory' cannot be fitted: backbone 'sees' {OWNER}: IndexError: list index out of range (",
                "  see it whole with --traceback",
            ],
            id="raises",
        ),
        pytest.param(
            "lists",
            [f"backbone 'lists' {OWNER}: encode_text() gave a list, and the contract wants a Tensor: {ROW_A_TEXT}"],
            id="a-list",
        ),
    ],
)
def test_a_text_tower_that_fails_while_a_bank_is_fitted_is_named(caption, project, backbone, lines):
    caption()
    words = ["--set", f"backbone={backbone}", "--set", "bridge={name: memory, bank: mini-captions}"]
    result = project.run("caption", "blue.png", "--preset", "pipe.yaml", "--device", "cpu", *words)
    assert result.exit_code in (1, 2)
    found = [line for line in result.stderr.splitlines() if not line.startswith("note:")]
    assert found[0].startswith(f"error: {lines[0]}")
    assert found[1:] == lines[1:]


def test_explain_records_what_nobody_foresaw_too(caption, project):
    caption()
    words = "--preset", "pipe.yaml", "--device", "cpu", "--out", "out.jsonl"
    result = project.run("explain", "regions.jsonl", *words)
    assert result.exit_code == 1
    for found in records(project):
        assert found["error"].startswith(f"region encoder 'takes' {OWNER}: IndexError: list index out of range (newc")
    assert isinstance(project.run("explain", "red.png", *words, "--on-error", "stop").exception, IndexError)
