"""Checkpoints as their authors released them, found by name and read by the component's own reader."""

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from regionkit.core.errors import ConfigError, WeightsError
from regionkit.core.regions import WholeImage
from regionkit.registry.assembly import build_pipeline
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.schema import fill
from regionkit.registry.weight_choice import Wanted, choose_weights
from regionkit.registry.weight_index import content_hash

param = pytest.param

PLUGIN = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import Checkpoint, ComponentSpec, Port, STILL_REGIONS


def spec(kind, name, **more):
    return ComponentSpec(kind=kind, name=name, target=f"rel_parts:{kind.title()}",
                         config=f"rel_config:{kind.title()}Config", reader=f"rel_parts:read_{kind}",
                         weights="index", **more)


@hookimpl
def regionkit_components():
    return [
        spec("backbone", "rel-eye", ports="rel_config:eye_ports", checkpoints=(
            Checkpoint("vision", ("eye_*.safetensors",), source="hub://org/eye/eye_b.safetensors"),
            Checkpoint("words", ("words.txt",), source="https://example.org/words.txt", shared=True))),
        spec("decoder", "rel-pen", reads=Port("weights"),
             checkpoints=(Checkpoint("model", ("*-009.safetensors",)),
                          Checkpoint("config", ("pen.json",), optional=True),
                          Checkpoint("words", ("words.txt",), shared=True))),
        ComponentSpec(kind="region_encoder", name="rel-mean", target="rel_parts:Encoder", writes=Port("image"),
                      accepts=STILL_REGIONS),
        ComponentSpec(kind="bridge", name="rel-none", target="rel_parts:Bridge", reads=Port("image"),
                      writes=Port("text"), relabels=True),
    ]
"""

CONFIG = '''
from __future__ import annotations
from dataclasses import dataclass
from regionkit.core.spec import Port


@dataclass(frozen=True)
class BackboneConfig:
    """Options.

    Attributes:
        dim: Width.
        weights: Which.
    """

    dim: int = 512
    weights: str = "auto"


@dataclass(frozen=True)
class DecoderConfig:
    """Options.

    Attributes:
        heads: Heads.
        weights: Which.
    """

    heads: int = 4
    weights: str = "auto"


def eye_ports(config):
    return None, Port(f"rel-eye/image[{config.dim}]"), f"rel-eye/text[{config.dim}]"
'''

PARTS = """
import torch
from safetensors.torch import load_file
from regionkit.core.contracts import Backbone as BackboneContract, Decoder as DecoderContract, GapBridge, RegionEncoder
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.features import Caption, Features, RegionTokens
from regionkit.core.frames import Frame
from regionkit.core.weights import WeightHeader

READ = []


def read_backbone(files, config):
    READ.append(sorted(files))
    tensors = load_file(files["vision"])
    if "kernel" not in tensors:
        raise WeightsError(f"{files['vision']}: left over: {', '.join(tensors)}")
    dim = tensors["kernel"].shape[0]
    return WeightArtifact({"weight": tensors["kernel"]},
                          WeightHeader("backbone", "rel-eye", f"rel-eye/image[{dim}]", config={"dim": dim}))


def read_decoder(files, config):
    tensors = load_file(files["model"])
    if "bug" in tensors:
        raise ZeroDivisionError("division by zero")
    dim = tensors["project"].shape[0]
    return WeightArtifact(tensors, WeightHeader("decoder", "rel-pen", f"?[{dim}]"))


class Backbone(BackboneContract):
    def __init__(self, config, context):
        self.space, self.weights = context.writes, context.weights.tensors()

    @classmethod
    def build(cls, config, context):
        return cls(config, context)

    def frame(self, image_size):
        return Frame.squash(image_size, (8, 8), (2, 2))

    def encode(self, images):
        dim = len(self.weights["weight"])
        return Features(torch.ones(len(images), 2, 2, dim), tuple(self.frame(image.size) for image in images))


class Encoder(RegionEncoder):
    def encode(self, scene, regions):
        return RegionTokens.single(scene.features.patches.mean((1, 2))[list(regions.image)], scene.backbone.space)


class Bridge(GapBridge):
    def bridge(self, tokens):
        return tokens


class Decoder(DecoderContract):
    def __init__(self, config, context):
        self.total = float(context.weights.tensors()["project"].sum())

    @classmethod
    def build(cls, config, context):
        return cls(config, context)

    def generate(self, inputs, prompt=None, options=None):
        return [Caption(f"{self.total:g}", 0.0) for _ in range(len(inputs))]

    def score(self, inputs, texts, prompt=None):
        return torch.zeros(len(texts))

    def loss(self, inputs, texts, prompt=None):
        return torch.zeros(())
"""

PIPELINE = {"backbone": "rel-eye", "region_encoder": "rel-mean", "bridge": "rel-none", "decoder": "rel-pen"}


@pytest.fixture
def release(project):
    """Return a project with a component of official layouts, and a folder of its files."""
    project({"rel_config.py": CONFIG, "rel_parts.py": PARTS})
    project.plugin("release", PLUGIN, module="rel_plugin")
    folder = project.folder / "w"
    folder.mkdir()
    save_file({"kernel": torch.ones(6)}, folder / "eye_b.safetensors")
    save_file({"project": torch.ones(6, 2)}, folder / "coco-009.safetensors")
    (folder / "words.txt").write_text("a b c")
    return project


def plan(weights="file:w", **parts):
    document = read_pipeline({**PIPELINE, **parts, **({"weights": weights} if weights else {})})
    return plan_pipeline(document.data, document.line)


def refusal(*args, **parts):
    with pytest.raises(ConfigError) as caught:
        plan(*args, **parts)
    return str(caught.value)


def test_official_files_are_read_and_captioned_from(release):
    made = plan()
    assert made.ports["backbone"] == ("", "rel-eye/image[6]")
    assert made.parts["backbone"].config.dim == 6
    assert made.on_trust == ("decoder",)
    assert made.notes()[-1] == (
        "decoder weights do not say their space, they are taken to be for rel-eye/text[6]: coco-009.safetensors, words.txt"
    )
    captions = build_pipeline(made, device="cpu").caption(Image.new("RGB", (8, 8)), [WholeImage()])
    assert [caption.text for caption in captions] == ["12"]


def test_the_identity_of_official_weights_is_that_of_all_their_files(release):
    first = content_hash(plan().weights["backbone"])
    (release.folder / "w" / "words.txt").write_text("a b c d")
    assert content_hash(plan().weights["backbone"]) != first


def test_a_part_may_name_the_folder_or_a_file_itself(release):
    named = {"name": "rel-pen", "weights": "file:w/coco-009.safetensors"}
    made = plan("", backbone={"name": "rel-eye", "weights": "file:w"}, decoder=named)
    assert made.weights["decoder"].path.name == "coco-009.safetensors"
    assert sorted(made.weights["decoder"].files) == ["model", "words"]


def test_a_file_of_another_name_is_taken_where_only_one_can_be_meant(release):
    (release.folder / "w" / "coco-009.safetensors").rename(release.folder / "w" / "mine.safetensors")
    decoder = {"name": "rel-pen", "weights": "file:w/mine.safetensors"}
    assert plan(decoder=decoder).weights["decoder"].files["model"].name == "mine.safetensors"


def test_missing_files_are_named_with_their_source(release):
    (release.folder / "w" / "words.txt").unlink()
    text = refusal()
    assert "backbone 'rel-eye' needs more files than are there (vision eye_b.safetensors)" in text
    assert "missing words: words.txt, from https://example.org/words.txt" in text
    assert "toolkit weights pull rel-eye" in text


def test_a_shared_file_may_lie_among_the_users_weights(release, monkeypatch):
    (release.folder / "own").mkdir()
    (release.folder / "w" / "words.txt").rename(release.folder / "own" / "words.txt")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(release.folder / "own"))
    assert plan().weights["backbone"].files["words"].parent.name == "own"


def test_without_a_folder_the_installed_files_are_taken_if_they_say_their_space(release, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(release.folder / "w"))
    text = refusal("")
    assert "no weights of decoder 'rel-pen' for rel-eye/text[6], corruption none" in text
    assert "fetch the released ones: toolkit weights pull rel-pen; or name their folder: --weights file:DIR" in text
    assert "backbone" not in text.splitlines()[0]


def test_a_width_that_does_not_fit_is_refused(release):
    save_file({"project": torch.ones(5, 2)}, release.folder / "w" / "coco-009.safetensors")
    assert (
        "decoder weights 'coco-009.safetensors, words.txt' were trained in ?[5], and rel-eye/text[6] is needed here"
        in refusal()
    )


def test_a_readers_refusal_is_told_and_its_crash_is_no_traceback(release):
    save_file({"colonel": torch.ones(6)}, release.folder / "w" / "eye_b.safetensors")
    assert "eye_b.safetensors: left over: colonel" in refusal()
    save_file({"kernel": torch.ones(6)}, release.folder / "w" / "eye_b.safetensors")
    save_file({"bug": torch.ones(6)}, release.folder / "w" / "coco-009.safetensors")
    text = refusal()
    assert "cannot be read: ZeroDivisionError: division by zero" in text
    assert "fault of plugin release (release 0.3): rel_parts:read_decoder" in text


def test_a_file_of_ours_in_the_folder_wins(release):
    release.weights("w/mine.safetensors", kind="decoder", name="rel-pen", space="rel-eye/text[6]")
    made = plan()
    assert made.weights["decoder"].path.name == "mine.safetensors"
    assert made.on_trust == ()


def test_weights_for_something_else_in_the_named_folder_are_no_reason_to_look_elsewhere(release):
    (release.folder / "w" / "coco-009.safetensors").unlink()
    release.weights("w/mine.safetensors", kind="decoder", name="rel-pen", space="other/text[6]")
    release.weights("own/good.safetensors", kind="decoder", name="rel-pen", space="rel-eye/text[6]")
    text = refusal()
    assert "the weights of decoder 'rel-pen' in w are for other/text[6], corruption none" in text


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        param("file:nowhere", "there is no weight file nowhere", id="missing"),
        param("coco", "expected a reference to a folder, got 'coco'", id="name"),
        param(3, "expected a reference to a folder, got 3", id="number"),
        param("file:w/words.txt", "w/words.txt is a file, and a folder is needed here", id="file"),
        param("file:empty", "holds weights of none of the parts", id="empty"),
    ],
)
def test_what_is_no_folder_of_weights_is_refused(release, weights, message):
    (release.folder / "empty").mkdir()
    release.weights("toy/a.safetensors", kind="decoder", name="rel-pen", space="rel-eye/text[6]")
    parts = {"backbone": {"name": "rel-eye", "weights": "file:w"}, "decoder": {"name": "rel-pen", "weights": "file:w"}}
    text = refusal(weights, **parts)
    assert message in text


def test_the_command_line_takes_a_folder_for_all_parts(release, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    lines = "\n".join(f"{kind}: {name}" for kind, name in PIPELINE.items())
    release({"p.yaml": f"version: 1\n{lines}\n"})
    run = release.run("caption", "p.png", "--preset", "p.yaml", "--weights", "file:w", "--json", "--device", "cpu")
    assert run.exit_code == 0, run.output
    assert '"12"' in run.stdout
    run = release.run("caption", "p.png", "--preset", "p.yaml", "--weights", "file:v")
    assert run.exit_code == 2
    assert "error: there is no weight file v" in run.stderr


def test_checkpoints_are_read_once_while_they_stay_as_they_are(release):
    plan()
    plan()
    import rel_parts

    assert rel_parts.READ == [["vision", "words"]]


def test_a_pinned_hash_is_checked(release):
    decoder = {"name": "rel-pen", "weights": f"file:w/coco-009.safetensors#sha256={'0' * 64}"}
    assert "has another hash than was asked for" in refusal(decoder=decoder)


def test_reading_a_part_without_official_layouts_from_a_folder(toy):
    (toy.folder / "w").mkdir()
    part = fill("decoder", {"name": "toy-words", "weights": "file:w"})
    with pytest.raises(WeightsError) as caught:
        choose_weights(part, Wanted("toy-a/text[4]"))
    assert "w holds no weights of decoder 'toy-words'" in str(caught.value)
    assert "toolkit weights convert --help" in str(caught.value)
