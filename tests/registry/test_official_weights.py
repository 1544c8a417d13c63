"""Checkpoints as their authors released them, found by name and read by the component's own reader."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from regionkit.core.errors import ConfigError, WeightsError
from regionkit.core.regions import WholeImage
from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.registry.assembly import build_pipeline
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.schema import fill
from regionkit.registry.weights.choice import Wanted, choose_weights
from regionkit.registry.weights.index import content_hash
from regionkit.registry.weights.official import files_in

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
from regionkit.core.spec import Port, Ports


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
    return Ports(None, Port(f"rel-eye/image[{config.dim}]"), f"rel-eye/text[{config.dim}]")
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
        return tokens.relabelled(tokens.space.replace("image", "text"), unit=False)


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
        "decoder weights do not say their space, they are taken to be for rel-eye/text[6]: "
        "coco-009.safetensors, words.txt"
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


def test_without_a_folder_the_users_installed_files_are_taken_and_trusted(release, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(release.folder / "w"))
    made = plan("")
    assert made.weights["decoder"].files["model"].name == "coco-009.safetensors"
    assert made.on_trust == ("decoder",)
    save_file({"project": torch.ones(5, 2)}, release.folder / "w" / "coco-009.safetensors")
    text = refusal("")
    assert "no weights of decoder 'rel-pen' for rel-eye/text[6], corruption none" in text
    assert "the released ones that are here (coco-009.safetensors, words.txt) are for ?[5]" in text
    assert "missing" not in text


def test_what_is_here_of_a_release_is_not_called_missing(release, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(release.folder / "w"))
    (release.folder / "w" / "coco-009.safetensors").unlink()
    text = refusal("")
    assert "fetch the released ones: toolkit weights pull rel-pen; or name their folder: --weights file:DIR" in text
    assert "missing model: *-009.safetensors" in text
    assert "missing words" not in text


def test_a_link_that_leads_nowhere_and_a_pipe_are_no_files(release):
    place = release.folder / "w" / "coco-009.safetensors"
    place.unlink()
    place.symlink_to("gone")
    assert "missing model: *-009.safetensors" in refusal()
    place.unlink()
    place.symlink_to(place)
    assert "missing model: *-009.safetensors" in refusal()
    place.unlink()
    os.mkfifo(place)
    assert "missing model: *-009.safetensors" in refusal()


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


def test_a_file_that_is_just_being_fetched_or_unpacked_is_not_taken(release):
    for folder in ("w/.fetching-1", "w/.bundle.x.part/decoder"):
        release.weights(f"{folder}/mine.safetensors", kind="decoder", name="rel-pen", space="rel-eye/text[6]")
    assert plan().weights["decoder"].files["model"].name == "coco-009.safetensors"


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


def pinned(release, old, new):
    """Change the release's plugin in one place."""
    assert old in PLUGIN
    release.plugin("release", PLUGIN.replace(old, new), module="rel_plugin")


PIN = "5f" * 32
PINS = [
    param('("*-009.safetensors",)', f'("*-009.safetensors",), sha256="{PIN}"', "decoder 'rel-pen', model", id="beside"),
    param('eye_b.safetensors")', f'eye_b.safetensors#sha256={PIN}")', "backbone 'rel-eye', vision", id="in the source"),
]


@pytest.mark.parametrize(("old", "new", "what"), PINS)
def test_a_file_of_another_hash_than_its_component_pins_is_refused(release, old, new, what):
    pinned(release, old, new)
    text = refusal()
    assert f"{what}: the file w/" in text
    assert f"has another hash than was asked for\n  wanted sha256 {PIN}\n" in text


def test_a_file_of_the_hash_that_its_component_pins_is_read_and_hashed_once(release, monkeypatch):
    path = release.folder / "w" / "coco-009.safetensors"
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    pinned(release, '("*-009.safetensors",)', f'("*-009.safetensors",), sha256="{right}"')
    hashed, real = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: (hashed.append(file.name), real(file, name))[1])
    plan()
    plan()
    assert [Path(name).resolve() for name in hashed] == [path.resolve()]
    save_file({"project": torch.zeros(6, 2)}, path)
    assert "has another hash than was asked for" in refusal()


def test_options_may_be_lists_and_mappings(release):
    release(
        {
            "rel_config.py": CONFIG.replace(
                "    dim: int = 512", "    dim: int = 512\n    stages: list[int] = field(default_factory=list)"
            ).replace("import dataclass", "import dataclass, field")
        }
    )
    assert plan(backbone={"name": "rel-eye", "stages": [1, 2]}).ports["backbone"] == ("", "rel-eye/image[6]")
    plan(backbone={"name": "rel-eye", "stages": [1, 3]})
    plan(backbone={"name": "rel-eye", "stages": [1, 2]})
    import rel_parts

    assert len(rel_parts.READ) == 2


def test_files_that_are_all_shared_show_that_the_component_is_there(release):
    pinned(release, 'Checkpoint("model", ("*-009.safetensors",))', 'Checkpoint("model", ("*-009.*",), shared=True)')
    assert sorted(plan().weights["decoder"].files) == ["model", "words"]
    (release.folder / "w" / "words.txt").unlink()
    (release.folder / "w" / "coco-009.safetensors").unlink()
    decoder = {"name": "rel-pen", "weights": "file:w"}
    eye = {"name": "rel-eye", "weights": "none"}
    assert "w holds no weights of decoder 'rel-pen'" in refusal("", backbone=eye, decoder=decoder)


# ---------------------------------------------------------------- models in several files


def shards(folder, ending=".safetensors", index=True):
    """Write a model of two tensors in two files, as the hub has them."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "model" if ending == ".safetensors" else "pytorch_model"
    names = [f"{stem}-0000{number}-of-00002{ending}" for number in (1, 2)]
    for name, tensors in zip(names, ({"kernel": torch.ones(6)}, {"bias": torch.ones(6)}), strict=True):
        save_file(tensors, folder / name) if ending == ".safetensors" else torch.save(tensors, folder / name)
    (folder / "words.txt").write_text("a")
    if index:
        places = {"kernel": names[0], "bias": names[1]}
        (folder / f"{stem}{ending}.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.fixture
def sharded(release):
    """Return a project whose backbone reads any checkpoint that the core reads."""
    release(
        {
            "rel_parts.py": PARTS.replace("from safetensors.torch import load_file", "")
            .replace("load_file(", "read_checkpoint(")
            .replace("import torch\n", "import torch\nfrom regionkit.core.checkpoints import read_checkpoint\n", 1)
        }
    )
    (release.folder / "w" / "eye_b.safetensors").unlink()
    return release


@pytest.mark.parametrize(
    "reference",
    [
        param("file:s", id="folder"),
        param("file:s/model.safetensors.index.json", id="index"),
        param("file:s/model-00002-of-00002.safetensors", id="part"),
    ],
)
def test_a_part_may_name_a_model_in_several_files(sharded, reference):
    shards(sharded.folder / "s")
    made = plan(backbone={"name": "rel-eye", "weights": reference})
    assert made.weights["backbone"].files["vision"].name == "s"
    assert made.ports["backbone"] == ("", "rel-eye/image[6]")
    before = content_hash(made.weights["backbone"])
    save_file({"bias": torch.zeros(6)}, sharded.folder / "s" / "model-00002-of-00002.safetensors")
    assert content_hash(plan(backbone={"name": "rel-eye", "weights": reference}).weights["backbone"]) != before


def test_the_parts_of_torch_files_are_a_model_too(sharded):
    shards(sharded.folder / "s", ".bin")
    assert plan(backbone={"name": "rel-eye", "weights": "file:s"}, weights="file:w").ports["backbone"][1] == (
        "rel-eye/image[6]"
    )


def test_parts_without_their_index_are_refused_and_not_read_one_by_one(sharded):
    shards(sharded.folder / "s", index=False)
    text = refusal(backbone={"name": "rel-eye", "weights": "file:s"})
    assert "s: no checkpoint in this folder" in text


def test_a_folder_for_all_parts_is_a_model_only_for_the_part_whose_file_has_its_name(sharded):
    shards(sharded.folder / "w")
    text = refusal(decoder={"name": "rel-pen", "weights": "file:w"})
    assert "no weights of backbone 'rel-eye'" in text
    (sharded.folder / "w").rename(sharded.folder / "eye_7.safetensors")
    decoder = {"name": "rel-pen", "weights": "file:eye_7.safetensors"}
    assert plan("file:eye_7.safetensors", decoder=decoder).ports["backbone"] == ("", "rel-eye/image[6]")


def spec(*files):
    entries = tuple(Checkpoint(f"role{number}", names) for number, names in enumerate(files))
    return ComponentSpec(kind="backbone", name="some", target="x:Y", checkpoints=entries)


@pytest.mark.parametrize(
    ("written", "names", "found"),
    [
        param(["model.safetensors.index.json"], ("model.safetensors",), "", id="the name that the index is of"),
        param(["model-00001-of-00002.safetensors"], ("model*.safetensors",), "", id="a part fits the pattern"),
        param(["model.safetensors"], ("model.safetensors",), "model.safetensors", id="whole"),
        param(["backbone/model.safetensors"], ("model.safetensors",), "backbone/model.safetensors", id="kind"),
        param(["backbone/a/b/x"], ("b",), "backbone/a/b", id="a folder with its path"),
        param(["a/vision/x", "b/vision/x"], ("b/vision",), "b/vision", id="a path as a name"),
        param([".fetching-1/model.safetensors"], ("model.safetensors",), None, id="being fetched"),
    ],
)
def test_what_is_found_in_a_folder(tmp_path, written, names, found):
    for name in written:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_in(spec(names), tmp_path) == ({} if found is None else {"role0": tmp_path / found})
