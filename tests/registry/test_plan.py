from __future__ import annotations

import subprocess
import sys

import pytest

from regionkit.core.errors import ConfigError
from regionkit.core.spec import PARTS
from regionkit.registry.plan import fitting, plan_pipeline
from regionkit.registry.schema import fill
from regionkit.registry.weights.absent import absent_weights

GOOD = {"backbone": "toy-a", "region_encoder": "toy-pool", "bridge": "toy-none", "decoder": "toy-fixed"}


def plan(**parts):
    return plan_pipeline({**GOOD, **parts})


def listed(text: str, label: str) -> list[str]:
    """Return the names after ``label: `` on a line of their own; the list holds what is in-tree too, and grows."""
    (line,) = (line.strip() for line in text.splitlines() if line.strip().startswith(f"{label}: "))
    return line.removeprefix(f"{label}: ").split(", ")


def refusal(**parts) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(**parts)
    return str(caught.value)


@pytest.fixture
def trained(toy):
    """Return a project with weights of the toy decoder for two spaces and two corruptions."""
    for space, corruption in (("a", "none"), ("a", "noise(std=0.1)"), ("b", "none")):
        toy.weights(
            f"toy_plugin/weights/words-{space}-{corruption[:5]}.safetensors",
            kind="decoder",
            name="toy-words",
            space=f"toy-{space}/text[4]",
            corruption=corruption,
            corpus="toy-texts",
            recipe="toolkit train toy.yaml",
            config={"hidden": 99, "sizes": [1, 2]},
        )
    return toy


def test_ports_are_resolved(toy):
    assert plan().ports == {
        "backbone": ("", "toy-a/image[4]"),
        "region_encoder": ("toy-a/image[4]", "toy-a/image[4]"),
        "bridge": ("toy-a/image[4]", "toy-a/text[4]"),
        "decoder": ("toy-a/text[4]", ""),
    }


@pytest.mark.parametrize("name", [pytest.param("none", id="ours"), pytest.param("toy-relabel", id="a-strangers")])
def test_unbridged_pipeline_is_marked(toy, name):
    bridged, unbridged = plan(), plan(bridge=name)
    assert not bridged.unbridged
    assert unbridged.unbridged
    assert "unbridged: image vectors enter a decoder of text as they are" in unbridged.describe()
    assert unbridged.to_dict()["unbridged"] is True


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        pytest.param(
            {"backbone": "toy-b"},
            [
                "decoder: bridge 'toy-none' writes toy-b/text[4], but decoder 'toy-fixed' reads toy-a/text[4]",
            ],
            id="decoder-space",
        ),
        pytest.param(
            {"bridge": "toy-any"},
            [
                "bridge 'toy-any' writes toy-a/image[4], but decoder 'toy-fixed' reads toy-a/text[4]",
            ],
            id="same",
        ),
        pytest.param(
            {"bridge": "toy-fixed"},
            [
                "region_encoder 'toy-pool' writes toy-a/image[4], but bridge 'toy-fixed' reads elsewhere[7]",
            ],
            id="bridge-space",
        ),
        pytest.param(
            {"region_encoder": "toy-many"},
            [
                "region_encoder 'toy-many' writes several tokens a region, but bridge 'toy-none' reads one",
            ],
            id="many",
        ),
        pytest.param(
            {"region_encoder": "toy-views", "bridge": "toy-any"},
            [
                "region_encoder 'toy-views' writes views (pictures), but decoder 'toy-fixed' reads toy-a/text[4]",
            ],
            id="views",
        ),
        pytest.param(
            {"decoder": "toy-pictures"},
            ["region_encoder 'toy-pool' writes toy-a/image[4], but decoder 'toy-pictures' reads views (pictures)"],
            id="no-views",
        ),
        pytest.param(
            {"backbone": "toy-mute"},
            [
                "bridge 'toy-none' works in the backbone's space of sentences, and the backbone has no text tower",
            ],
            id="mute",
        ),
        pytest.param(
            {"backbone": "toy-b", "bridge": "toy-fixed"},
            ["bridge 'toy-fixed' reads elsewhere[7]", "no single other part makes it fit; see: toolkit compat"],
            id="nothing-fits",
        ),
        pytest.param(
            {"decoder": {"name": "toy-ports", "hidden": 5, "weights": "none"}},
            ["bridge 'toy-none' writes toy-a/text[4], but decoder 'toy-ports' reads wide[5]"],
            id="ports-function",
        ),
        pytest.param(
            {"decoder": "toy-extra", "bridge": "toy-fixed"},
            [
                "decoder: decoder 'toy-extra' needs the package 'not_there_at_all', which is not installed",
                "install it with: pip install 'regionkit[toys]'",
                "bridge 'toy-fixed' reads elsewhere[7]",
            ],
            id="extra-and-port",
        ),
    ],
)
def test_wrong_pairing_names_both_ports_and_what_would_fit(toy, parts, wanted):
    text = refusal(**parts)
    assert all(line in text for line in wanted), text


@pytest.mark.parametrize(
    ("parts", "label", "fit", "misfit"),
    [
        pytest.param({"bridge": "toy-any"}, "bridges", {"toy-none", "none"}, {"toy-any", "toy-fixed"}, id="same"),
        pytest.param({"bridge": "toy-fixed"}, "bridges", {"toy-none"}, {"toy-fixed", "toy-projector"}, id="space"),
        pytest.param({"region_encoder": "toy-many"}, "region_encoders", {"toy-pool"}, {"toy-many"}, id="many"),
        pytest.param(
            {"region_encoder": "toy-views", "bridge": "toy-any"},
            "decoders",
            {"toy-pictures"},
            {"toy-fixed", "toy-words"},
            id="views",
        ),
        pytest.param({"backbone": "toy-mute"}, "backbones", {"toy-a"}, {"toy-b", "toy-mute"}, id="backbone"),
    ],
)
def test_wrong_pairing_lists_what_would_fit(toy, parts, label, fit, misfit):
    names = set(listed(refusal(**parts), f"{label} that fit here"))
    assert fit <= names
    assert not misfit & names


def test_port_mistake_has_a_line(toy, problems_of):
    text = problems_of("backbone: toy-a\nregion_encoder: toy-many\nbridge: toy-none\ndecoder: toy-fixed\n")
    assert text.startswith("x.yaml:3: bridge: region_encoder 'toy-many' writes several tokens")


def test_views_pass_the_bridge(toy):
    found = plan(region_encoder="toy-views", bridge="none", decoder="toy-pictures")
    assert found.ports["bridge"] == ("views", "views")
    assert found.ports["decoder"] == ("views", "")
    assert not found.unbridged


def test_missing_part_and_unknown_key(toy):
    with pytest.raises(ConfigError) as caught:
        plan_pipeline({"backbone": "toy-a", "brdge": "none"})
    text = str(caught.value)
    assert "brdge: unknown key\n  did you mean: bridge" in text
    assert all(f"{kind}: say which {kind} to use" in text for kind in ("region_encoder", "decoder"))
    assert "say which bridge" not in text


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        pytest.param(
            "backbone: toy-a\nregion_encodr:\n  name: toy-pool\n  weighting: gausian\nbridge: none\n"
            "decoder: toy-fixed\n",
            [
                "x.yaml:2: region_encodr: unknown key",
                "x.yaml:4: region_encoder.weighting: expected uniform or gaussian or off, got the text 'gausian'",
            ],
            id="in-the-place-of",
        ),
        pytest.param(
            "base: toy\nregion_encodr: {scale: big}\n",
            ["x.yaml:2: region_encodr: unknown key", "x.yaml:2: region_encoder.scale: expected float, got"],
            id="over-the-base",
        ),
        pytest.param(
            "base: toy\nencoder: {name: toy-pool, sclae: 1}\n",
            ["x.yaml:2: encoder: unknown key", "x.yaml:2: region_encoder.sclae: unknown option"],
            id="told-by-its-component",
        ),
        pytest.param(
            "base: toy\nregion_encodr: toy-many\n", ["x.yaml:2: region_encodr: unknown key"], id="name-over-the-base"
        ),
        pytest.param("base: toy\nsumary: x\n", ["x.yaml:2: sumary: unknown key"], id="no-part"),
        pytest.param(
            "backbone: toy-a\nregion_encoder: toy-pool\nbrdge: toy-fixed\ndecoder: toy-fixed\n",
            ["x.yaml:3: brdge: unknown key", "x.yaml:3: bridge: region_encoder 'toy-pool' writes"],
            id="ports",
        ),
    ],
)
def test_misspelt_section_is_checked_as_what_was_meant(toy, problems_of, source, wanted):
    found = [line for line in problems_of(source).splitlines() if not line.startswith("  ")]
    assert len(found) == len(wanted), found
    assert all(line.startswith(start) for line, start in zip(found, wanted, strict=True)), found


def test_section_without_a_name_is_checked_where_its_options_tell(toy, problems_of):
    text = problems_of("backbone: toy-a\nregion_encodr: {maybe: x, flag: 1}\nbridge: none\ndecoder: toy-fixed\n")
    assert "x.yaml:2: region_encoder: say which region_encoder to use: name: NAME" in text
    assert listed(text, "these are options of") == ["toy-pool"]
    assert "x.yaml:2: region_encoder.maybe: expected " in text
    assert "x.yaml:2: region_encoder.flag: expected " in text


def test_problems_are_also_appended(toy):
    problems = []
    with pytest.raises(ConfigError):
        plan_pipeline({**GOOD, "backbone": "toy-b"}, problems=problems)
    assert [problem.path for problem in problems] == ["decoder"]


@pytest.mark.parametrize(
    ("parts", "file"),
    [
        pytest.param({}, "words-a-none", id="space-a"),
        pytest.param({"backbone": "toy-b"}, "words-b-none", id="space-b"),
        pytest.param({"bridge": {"name": "toy-noise", "std": 0.1}}, "words-a-noise", id="corruption"),
        pytest.param(
            {"backbone": "toy-b", "decoder": {"name": "toy-words", "weights": "words-b-none"}},
            "words-b-none",
            id="name",
        ),
    ],
)
def test_weights_are_chosen_by_what_they_were_trained_for(trained, parts, file):
    found = plan(**{"decoder": "toy-words", **parts})
    assert found.weights["decoder"].path.stem == file
    assert f", weights {file}" in found.describe()[3]
    assert found.to_dict()["weights"]["decoder"]["name"] == file


def test_weights_decide_the_shape_unless_the_user_does(trained):
    assert plan(decoder="toy-words").parts["decoder"].config.hidden == 99
    named = {"name": "toy-words", "weights": "words-a-none", "hidden": 3}
    assert plan(decoder=named).parts["decoder"].config.hidden == 3
    assert plan(decoder="toy-words").parts["decoder"].to_dict()["sizes"] == [1, 2]


def test_weights_that_were_trained_with_other_options_are_not_taken_unasked(trained):
    assert refusal(decoder={"name": "toy-words", "hidden": 3}).splitlines()[:2] == [
        "decoder: no weights of decoder 'toy-words' for toy-a/text[4], corruption none",
        "  'words-a-none' was trained with hidden: 99; to run it so all the same write decoder.weights: words-a-none",
    ]


def test_weights_none_starts_untrained(trained):
    found = plan(decoder={"name": "toy-words", "weights": "none"})
    assert found.weights["decoder"] is None
    assert found.parts["decoder"].config.hidden == 16


def test_no_weights_says_what_exists_and_how_to_make_them(trained):
    text = refusal(decoder="toy-words", bridge={"name": "toy-noise", "std": 0.3})
    assert text.splitlines() == [
        "decoder: no weights of decoder 'toy-words' for toy-a/text[4], corruption noise(std=0.3)",
        "  there are weights for: toy-a/text[4], corruption noise(std=0.1), corpus toy-texts; toy-a/text[4], "
        "corruption none, corpus toy-texts; toy-b/text[4], corruption none, corpus toy-texts",
        "  the others were made with: toolkit train toy.yaml",
        "  in a recipe it may start untrained: decoder.weights: none",
    ]


def test_no_weights_at_all_names_the_recipes_of_the_kind(toy):
    text = refusal(decoder="toy-words")
    assert "there are no weights of decoder 'toy-words' at all" in text
    (recipes,) = (line.strip() for line in text.splitlines() if "train them: " in line)
    assert recipes.startswith("train them: toolkit train FILE, with recipe: ")
    assert "toy-recipe" in recipes.rpartition(": ")[2].split(" or ")


def test_several_weights_are_an_error_unless_one_is_the_users(trained, monkeypatch):
    header = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]"}
    trained.weights("toy_plugin/weights/second.safetensors", **header)
    text = refusal(decoder="toy-words")
    assert "several weight files fit decoder 'toy-words' (toy-a/text[4], corruption none): second (" in text
    assert "say which: decoder.weights: second" in text
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(trained.folder / "mine"))
    trained.weights("mine/own.safetensors", **header)
    assert plan(decoder="toy-words").weights["decoder"].path.stem == "own"


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        pytest.param("words-a-non", ["no weight file named 'words-a-non'", "did you mean: words-a-none"], id="name"),
        pytest.param("file:nothing.safetensors", ["there is no weight file nothing.safetensors"], id="file"),
        pytest.param(
            "hub://org/name",
            ["hub://org/name is not in the cache of the hub", "fetch it first: toolkit weights pull hub://org/name"],
            id="hub",
        ),
        pytest.param("pkg:nowhere_pkg/x", ["there is no package 'nowhere_pkg'"], id="package"),
        pytest.param(
            "words-b-none",
            [
                "decoder weights 'words-b-none' were trained in toy-b/text[4], and toy-a/text[4] is needed here",
                "the others were made with: toolkit train toy.yaml",
            ],
            id="space",
        ),
        pytest.param(
            "bank", ["bank.safetensors holds weights of bridge 'toy-bank', not of decoder 'toy-words'"], id="kind"
        ),
    ],
)
def test_wrong_weights_are_refused(trained, weights, wanted):
    trained.weights("toy_plugin/weights/bank.safetensors", kind="bridge", name="toy-bank", space="toy-z/text[4]")
    text = refusal(decoder={"name": "toy-words", "weights": weights})
    assert all(line in text for line in wanted), text


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("pkg:toy_plugin/weights/words-a-none.safetensors", id="package"),
        pytest.param("file:toy_plugin/weights/words-a-none.safetensors", id="file"),
        pytest.param("words-a-none", id="name"),
    ],
)
def test_references_find_the_file(trained, reference):
    assert plan(decoder={"name": "toy-words", "weights": reference}).weights["decoder"].path.stem == "words-a-none"


def test_weights_without_our_header_are_refused(toy):
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(3)}, toy.folder / "plain.safetensors")
    text = refusal(decoder={"name": "toy-words", "weights": "file:plain.safetensors"})
    assert "plain.safetensors does not say what it was trained for" in text


@pytest.mark.parametrize("reference", ["auto", "words-a-none", "file:toy_plugin/weights/words-a-none.safetensors"])
def test_truncated_weights_name_the_file_and_the_recipe(trained, reference):
    path = trained.folder / "toy_plugin/weights/words-a-none.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    trained({})
    text = refusal(decoder={"name": "toy-words", "weights": reference})
    assert "words-a-none.safetensors: the weight file is damaged: " in text
    assert "make it again with: toolkit train toy.yaml" in text
    # Others are found as before.
    assert plan(decoder="toy-words", backbone="toy-b").weights["decoder"].path.stem == "words-b-none"


def test_weights_cut_inside_their_header_are_named(trained):
    path = trained.folder / "toy_plugin/weights/words-a-none.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    trained({})
    text = refusal(decoder="toy-words")
    assert "words-a-none.safetensors: the weight file is damaged: it ends inside its header" in text


def test_stored_option_that_no_longer_exists(toy):
    header = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]", "config": {"width": 3}}
    toy.weights("toy_plugin/weights/old.safetensors", **header)
    text = refusal(decoder="toy-words")
    assert "old.safetensors do not fit this version of it: decoder 'toy-words' has no option 'width'" in text


def test_projector_takes_its_spaces_from_its_weights(toy):
    text = refusal(bridge="toy-projector")
    assert "no weights of bridge 'toy-projector' for toy-a/image[4]" in text
    header = {"kind": "bridge", "name": "toy-projector", "space": "toy-a/image[4]", "writes": "toy-a/text[4]"}
    toy.weights("toy_plugin/weights/projector.safetensors", **header)
    assert plan(bridge="toy-projector").ports["bridge"] == ("toy-a/image[4]", "toy-a/text[4]")


BANK = {"kind": "bridge", "name": "toy-bank", "space": "toy-a/text[4]"}


def test_bank_is_fitted_to_a_corpus_where_no_file_holds_it(toy):
    found = plan(bridge={"name": "toy-bank", "bank": "toy-texts"})
    assert found.fit_corpus == {"bridge": "toy-texts"}
    assert found.weights["bridge"] is None
    assert "fitted to toy-texts" in found.describe()[2]


def test_indexed_bank_wins_over_fitting(toy):
    toy.weights("toy_plugin/weights/bank.safetensors", **BANK, corpus="toy-texts")
    found = plan(bridge={"name": "toy-bank", "bank": "toy-texts"})
    assert found.weights["bridge"].path.stem == "bank"
    assert found.fit_corpus == {}
    assert plan(bridge="toy-bank").weights["bridge"].path.stem == "bank"  # auto: the only one


def test_auto_bank_follows_the_decoders_corpus(trained):
    assert plan(bridge="toy-bank", decoder="toy-words").fit_corpus == {"bridge": "toy-texts"}
    for corpus in ("toy-texts", "others"):
        trained.weights(f"toy_plugin/weights/bank-{corpus}.safetensors", **BANK, corpus=corpus)
    assert plan(bridge="toy-bank", decoder="toy-words").weights["bridge"].path.stem == "bank-toy-texts"
    text = refusal(bridge="toy-bank")
    assert "bridge 'toy-bank' needs a bank, and which one does not follow from the rest" in text
    assert "banks for toy-a/text[4]: others, toy-texts" in text
    assert "say which: bridge.bank: NAME" in text


def test_unknown_bank_lists_the_choices(toy):
    toy.weights("toy_plugin/weights/bank.safetensors", **BANK, corpus="words")
    text = refusal(bridge={"name": "toy-bank", "bank": "toy-text"})
    assert text.splitlines()[:3] == [
        "bridge: no bank 'toy-text' of bridge 'toy-bank' in toy-a/text[4]",
        "  did you mean: toy-texts",
        "  banks for toy-a/text[4]: words",
    ]
    assert "toy-texts" in listed(text, "corpora to fit one to")


def test_keys_are_equal_exactly_where_a_part_can_be_shared(trained):
    one, other = plan(decoder="toy-words"), plan(decoder="toy-words", bridge={"name": "toy-noise", "std": 0.1})
    assert one.key("backbone") == other.key("backbone")
    assert one.key("region_encoder") == other.key("region_encoder")
    assert one.key("bridge") != other.key("bridge")
    assert one.key("decoder") != other.key("decoder")  # other weights
    assert one.key("decoder") == plan(decoder="toy-words", region_encoder="patch-pool").key("decoder")
    wider = plan(decoder="toy-words", backbone={"name": "toy-a", "resolution": 16})
    assert all(one.key(kind) != wider.key(kind) for kind in PARTS)
    assert len({one.key(kind) for kind in PARTS}) == 4


def test_key_follows_the_content_of_the_weights(trained):
    import torch

    from regionkit.core.weights import read_header, write_weights

    before = plan(decoder="toy-words")
    key, shown = before.key("decoder"), before.to_dict()
    path = before.weights["decoder"].path
    write_weights(path, {"w": torch.ones(64)}, read_header(path))
    trained({})
    assert plan(decoder="toy-words").key("decoder") != key
    assert plan(decoder="toy-words").to_dict() != shown


def test_fitting_ignores_the_part_itself(toy):
    parts = {kind: fill(kind, name) for kind, name in GOOD.items()}
    assert fitting(parts, "backbone") == ["toy-a"]
    decoders = fitting(plan(), "decoder")
    assert "toy-fixed" in decoders
    assert not {"toy-extra", "toy-pictures"} & set(decoders)  # toy-extra lacks its package
    del parts["decoder"]
    assert "toy-many" not in fitting(parts, "region_encoder")


def test_planning_imports_neither_torch_nor_numpy(toy):
    code = """
import sys
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline
document = read_pipeline("toy")
print(plan_pipeline(document.data, document.line).describe()[0])
heavy = {"torch", "numpy", "transformers", "timm", "PIL", "safetensors", "toy_plugin.parts"} & set(sys.modules)
assert not heavy, heavy
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(toy), check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "backbone toy-a: toy-a/image[4]\n"


def environment(project):
    import os

    return {**os.environ, "PYTHONPATH": str(project.folder)}


@pytest.mark.parametrize("weights", ["auto", "words-a-none"])
def test_the_users_weights_stand_in_for_damaged_ones_of_a_plugin(trained, monkeypatch, weights):
    shipped = trained.folder / "toy_plugin/weights/words-a-none.safetensors"
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(trained.folder / "mine"))
    header = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]"}
    own = trained.weights("mine/words-a-none.safetensors", **header)
    whole = shipped.read_bytes()
    shipped.write_bytes(whole[:-10])
    trained({})
    assert plan(decoder={"name": "toy-words", "weights": weights}).weights["decoder"].path == own
    shipped.write_bytes(whole)
    own.write_bytes(own.read_bytes()[:-10])
    trained({})
    assert "mine/words-a-none.safetensors: the weight file is damaged" in refusal(
        decoder={"name": "toy-words", "weights": weights}
    )


LOSING = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port


@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="bridge", name="lost", target="nowhere_code:Lost", reads=Port("image"),
                          writes=Port("text"))]
"""


def test_code_that_is_not_there_is_told_before_anything_is_built(toy):
    toy.plugin("losing", LOSING, module="losing_plugin")
    text = refusal(bridge="lost")
    assert "the code of bridge 'lost' is not there: no module named 'nowhere_code'" in text
    assert "this is a fault of plugin losing (losing 0.3), which names it as nowhere_code:Lost" in text


@pytest.mark.parametrize("changed", [{"bridge": "toy-projector"}, {"decoder": "toy-words"}], ids=["bridge", "decoder"])
def test_weights_that_are_here_are_not_told_absent_behind_one_that_is_not(toy, changed):
    """A trace ends at the first thing that is not here, and nothing was chosen yet for the parts behind it."""
    mini = {"backbone": "mini-dense", "region_encoder": "patch-pool", "bridge": "memory", "decoder": "decap"}
    (kind,) = changed
    assert [one.part for one in absent_weights({**mini, **changed})] == [f"{kind} {changed[kind]}"]
