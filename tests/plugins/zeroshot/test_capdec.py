"""``capdec``: released layouts, the sign that ends a caption, the released loss and beams."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from capdec_release import (
    CLIP_LENGTH,
    DIM,
    LAYERS,
    POSITIONS,
    PREFIX,
    WIDTH,
    bridge_checkpoint,
    capdec_state,
    gpt2_state,
    mapper_state,
    write_tokenizer,
)
from click.testing import CliRunner
from torch.nn.functional import cross_entropy, linear, normalize, relu
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.testing import Sentences, example_tokens
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.zeroshot.capdec import CapDec
from regionkit.plugins.zeroshot.capdec_config import CapDecConfig
from regionkit.plugins.zeroshot.capdec_layout import read_capdec
from regionkit.registry.cli import root
from regionkit.registry.document import read_document, read_pipeline
from regionkit.registry.schema import fill
from regionkit.registry.weights import index as weight_index

param = pytest.param
SPACE = f"tiny/text[{DIM}]"
HEADS = {"heads": 4, "mapper_heads": 8}
RECIPES = Path(__file__).resolve().parents[3] / "examples" / "recipes"


def opened(folder, file="coco_prefix-009.pt", **options) -> CapDec:
    files = {"model": folder / file, "tokenizer": folder / "tokenizer.json"}
    config = CapDecConfig(**(HEADS | options | {"hidden": WIDTH}))
    artifact = read_capdec(files, config)
    made = WeightFile(folder, artifact.header, files, lambda: artifact.tensors)
    return CapDec.build(CapDecConfig(**options), BuildContext(reads=SPACE, weights=made))


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    torch.save(capdec_state(), tmp_path / "coco_prefix-009.pt")
    return tmp_path


def own_model() -> GPT2LMHeadModel:
    sizes = {"vocab_size": 260, "n_positions": POSITIONS, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
    model.load_state_dict(gpt2_state())
    return model.eval()


def soft_tokens(kind: str, vectors: torch.Tensor) -> torch.Tensor:
    """ClipCap's mapper from its formulas: (r, d) to (r, prefix, width)."""
    state = mapper_state(kind)
    if kind == "linear":
        return linear(vectors, state["weight"], state["bias"]).view(-1, PREFIX, WIDTH)
    if kind == "mlp":
        hidden = linear(vectors, state["model.0.weight"], state["model.0.bias"]).tanh()
        return linear(hidden, state["model.2.weight"], state["model.2.bias"]).view(-1, PREFIX, WIDTH)
    tokens = linear(vectors, state["linear.weight"], state["linear.bias"]).view(-1, CLIP_LENGTH, WIDTH)
    tokens = torch.cat([tokens, state["prefix_const"].expand(len(vectors), -1, -1)], dim=1)
    for layer in range(2):
        part = {n.removeprefix(f"transformer.layers.{layer}."): t for n, t in state.items()}
        norm = [torch.layer_norm(tokens, (WIDTH,), part["norm1.weight"], part["norm1.bias"])]
        heads = 8
        queries = linear(norm[0], part["attn.to_queries.weight"]).unflatten(-1, (heads, -1))
        both = linear(norm[0], part["attn.to_keys_values.weight"]).unflatten(-1, (2, heads, -1))
        shares = torch.einsum("rnhd,rmhd->rhnm", queries, both[:, :, 0]) * (WIDTH // heads) ** -0.5
        mixed = torch.einsum("rhnm,rmhd->rnhd", shares.softmax(-1), both[:, :, 1]).flatten(2)
        tokens = tokens + linear(mixed, part["attn.project.weight"], part["attn.project.bias"])
        inner = torch.layer_norm(tokens, (WIDTH,), part["norm2.weight"], part["norm2.bias"])
        inner = relu(linear(inner, part["mlp.fc1.weight"], part["mlp.fc1.bias"]))
        tokens = tokens + linear(inner, part["mlp.fc2.weight"], part["mlp.fc2.bias"])
    return tokens[:, CLIP_LENGTH:]


# ---------------------------------------------------------------- released files


@pytest.mark.parametrize("layout", ["capdec", "bridge"])
@pytest.mark.parametrize("kind", ["linear", "mlp", "transformer"])
def test_a_release_computes_what_its_formulas_say(kind, layout, tmp_path):
    write_tokenizer(tmp_path)
    saved = bridge_checkpoint(kind) if layout == "bridge" else capdec_state(kind, masks=True)
    torch.save(saved, tmp_path / "coco_prefix-009.pt")
    decoder = opened(tmp_path)
    assert (decoder.config.mapper, decoder.config.prefix, decoder.config.hidden) == (kind, PREFIX, WIDTH)
    assert (decoder.config.layers, decoder.config.heads, decoder.config.positions) == (LAYERS, 4, POSITIONS)
    inputs = example_tokens(SPACE, 3)
    with torch.inference_mode():
        wanted = soft_tokens(kind, normalize(inputs.vectors(), dim=-1))
        assert torch.allclose(decoder.soft(inputs.vectors()), wanted, atol=1e-5)
        embeddings, _ = decoder.spliced(inputs)
        theirs = own_model()(inputs_embeds=embeddings).logits
        assert torch.allclose(decoder.model(inputs_embeds=embeddings).logits, theirs, atol=1e-5)


def damaged(name, state):
    """A state with one fault."""
    if name == "missing":
        state.pop("gpt.transformer.ln_f.bias")
    if name == "no-words":
        state.pop("gpt.transformer.wte.weight")
    if name == "mapper":
        state.pop("clip_project.model.2.bias")
    if name == "unknown":
        state |= {f"clip_project.extra.{number}": torch.ones(1) for number in range(4)}
    if name == "shape":
        state["clip_project.model.2.bias"] = torch.ones(5)
    return state


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        param("missing", "missing: gpt.transformer.ln_f.bias", id="missing"),
        param("no-words", "missing: gpt.transformer.wte.weight", id="no-words"),
        param("mapper", "missing: clip_project.model.2.bias", id="mapper"),
        param(
            "unknown",
            "unknown: clip_project.extra.0, clip_project.extra.1, clip_project.extra.2 and 1 more",
            id="unknown",
        ),
        param("shape", "shape: clip_project.model.2.bias is (5,), the model has (192,)", id="shape"),
    ],
)
def test_faults_of_a_release_are_named(fault, hint, folder):
    torch.save(damaged(fault, capdec_state()), folder / "coco_prefix-009.pt")
    with pytest.raises(WeightsError) as caught:
        opened(folder)
    assert hint in caught.value.hints


def test_the_tokenizer_has_to_be_that_of_gpt2(folder):
    table = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(table | {"added_tokens": []}))
    with pytest.raises(WeightsError, match=r"this tokenizer has no <\|endoftext\|>, as GPT-2's has"):
        opened(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(WeightsError, match="the tokenizer cannot be read"):
        opened(folder)
    with pytest.raises(WeightsError, match="decoder 'capdec' needs GPT-2's tokenizer") as caught:
        read_capdec({"model": folder / "coco_prefix-009.pt"}, CapDecConfig())
    assert caught.value.hints == ("the file with the role 'tokenizer'",)


def test_heads_that_do_not_divide_the_width_are_refused(folder):
    with pytest.raises(WeightsError, match="its sizes make no decoder: heads: 5 does not divide hidden 48"):
        read_capdec(
            {"model": folder / "coco_prefix-009.pt", "tokenizer": folder / "tokenizer.json"},
            dataclasses.replace(CapDecConfig(), hidden=50, heads=5, mapper_heads=5),
        )


def test_a_release_captions_through_the_front_door(tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    weight_index.get_index.cache_clear()
    released = tmp_path / "release"
    released.mkdir()
    write_tokenizer(released)
    state = capdec_state()
    width = 128  # of mini-dense
    state["clip_project.model.0.weight"] = torch.randn(PREFIX * WIDTH // 2, width)
    torch.save(state, released / "coco_prefix-009.pt")
    picture((64, 48), 1).save(tmp_path / "picture.png")
    words = [
        "caption",
        str(tmp_path / "picture.png"),
        "--box",
        "5,5,40,40",
        "--preset",
        "mini",
        "--json",
        "--offline",
        "--force",
    ]
    chosen = f"decoder={{name: capdec, weights: 'file:{released}', heads: 4}}"
    result = CliRunner().invoke(root, [*words, "--set", chosen, "--set", "bridge=noise"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
    weight_index.get_index.cache_clear()


# ---------------------------------------------------------------- ends, losses, beams


def test_the_sign_that_ends_a_caption_is_its_end_token(folder):
    decoder = opened(folder)
    point = decoder.tokenizer.id_of(".")
    spaced = decoder.tokenizer.id_of("Ġ.")
    assert decoder._end == point
    ids, lengths = decoder._targets(["dog", "dog.", "dog ."], None)
    dog = decoder.tokenizer.encode("dog")
    assert [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)] == [
        [*dog, point],
        [*dog, point],
        [*dog, spaced],
    ]


def test_without_that_sign_the_end_token_of_the_tokenizer_ends(tmp_path):
    config = CapDecConfig(hidden=32, layers=1, heads=4, intermediate=48, positions=64, mapper="mlp", prefix=2, stop="~")
    decoder = CapDec.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}))
    assert decoder._end == decoder.tokenizer.end
    assert decoder._stop == ""
    assert decoder.artifact().header.config["stop"] == "~"  # its weights bring it


def taught(decoder: CapDec, texts, steps=40):
    """Teach a decoder some captions."""
    inputs = example_tokens(SPACE, len(texts), seed=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(decoder.parameters(), 5e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            decoder.loss(inputs, texts).backward()
            optimizer.step()
    decoder.eval()
    return inputs


def test_captions_end_at_the_sign_and_leave_it_out(folder):
    decoder = opened(folder)
    texts = ["dog.", "dog on log.", "a", "dog .", "odd dog.", "on dog on dog."]
    inputs = taught(decoder, texts)
    captions = decoder.generate(inputs, options=GenerateOptions(max_tokens=30))
    assert [one.text for one in captions] == ["dog", "dog on log", "a", "dog", "odd dog", "on dog on dog"]
    assert all(one.finished for one in captions)
    scores = decoder.score(inputs, ["dog", "dog on log.", "a", "dog .", "odd dog", "on dog on dog."])
    assert [one.score for one in captions] == pytest.approx(scores.tolist(), abs=1e-4)
    for options in (GenerateOptions(max_tokens=30), GenerateOptions(max_tokens=30, beams=3)):
        together = decoder.generate(inputs, options=options)
        alone = [
            decoder.generate(RegionTokens(inputs.tokens[k : k + 1], inputs.mask[k : k + 1], SPACE), options=options)[0]
            for k in range(len(texts))
        ]
        assert [one.tokens for one in alone] == [one.tokens for one in together]


def test_the_reference_loss_is_the_released_one(folder):
    decoder = opened(folder, compat="reference")
    texts = ["dog on log.", "a!b", "odd"]
    inputs = example_tokens(SPACE, 3)
    zero = decoder.tokenizer.decode([0])
    assert zero == "!"  # as id 0 of GPT-2
    rows = [decoder.tokenizer.encode(text) for text in texts]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * (PREFIX + len(row)) + [0] * (longest - len(row)) for row in rows])
    model = own_model()
    with torch.inference_mode():
        soft = soft_tokens("mlp", normalize(inputs.vectors(), dim=-1))
        whole = torch.cat([soft, model.transformer.wte(tokens)], dim=1)
        logits = model(inputs_embeds=whole, attention_mask=mask).logits[:, PREFIX - 1 : -1]
        wanted = cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=0)
        found = decoder.loss(inputs, texts)
        paper = opened(folder).loss(inputs, texts)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)
    assert decoder.loss_terms(texts) == sum(map(len, rows)) - 1
    assert paper.item() != pytest.approx(wanted.item(), abs=1e-3)
    assert opened(folder).loss_terms(texts) == sum(map(len, rows)) + 2  # two captions lack their full stop


def released_beams(model, soft, count, end, limit):
    """The released search from its description, on whole sequences without a cache."""
    beams = [((), 0.0, False)]
    for _ in range(limit):
        options = []
        for number, (ids, total, ended) in enumerate(beams):
            if ended:
                options.append((total / len(ids), -number, (ids, total, True)))
                continue
            sequence = torch.cat([soft, model.transformer.wte(torch.tensor(ids, dtype=torch.long))])[None]
            likely = model(inputs_embeds=sequence).logits[0, -1].log_softmax(-1)
            for token in likely.topk(count).indices.tolist():
                longer = (*ids, token)
                value = total + likely[token].item()
                options.append((value / len(longer), -number, (longer, value, token == end)))
        beams = [one for *_, one in sorted(options, key=lambda option: -option[0])[:count]]
        if all(ended for *_, ended in beams):
            break
    ids, _, ended = max(beams, key=lambda beam: beam[1] / len(beam[0]))
    return (ids[:-1], True) if ended else (ids, False)


def test_reference_beams_are_those_of_the_release(folder):
    decoder = opened(folder, compat="reference")
    inputs = taught(decoder, ["dog.", "dog on log.", "a.", "odd dog.", "on dog on dog.", "log ."], steps=12)
    options = GenerateOptions(max_tokens=12, beams=5)
    captions = decoder.generate(inputs, options=options)
    with torch.inference_mode():
        soft = decoder.soft(inputs.vectors())
        wanted = [released_beams(decoder.model, row, 5, decoder._end, 12) for row in soft]
    assert [(one.tokens, one.finished) for one in captions] == wanted
    assert len({one.tokens for one in captions}) > 1
    paper = CapDec(dataclasses.replace(decoder.config, compat="paper"), SPACE, decoder.model, decoder.tokenizer)
    paper.mapper = decoder.mapper
    assert [one.tokens for one in paper.eval().generate(inputs, options=options)] != [one.tokens for one in captions]
    longer = decoder.generate(inputs, options=dataclasses.replace(options, min_tokens=6))
    assert all(len(one.tokens) >= 6 for one in longer)


def test_defaults_are_those_of_the_release():
    config = CapDecConfig()
    assert (config.mapper, config.prefix, config.clip_length, config.mapper_layers) == ("transformer", 40, 40, 8)
    assert (config.hidden, config.layers, config.heads, config.max_length, config.stop) == (768, 12, 12, 67, ".")
    assert config.label_smoothing == 0.0


def test_preset_and_recipe_are_in_the_space_of_its_paper():
    """CLIP RN50x4, 640 numbers wide, and noise of variance 0.016."""
    preset = read_pipeline("patchioner-capdec").data
    recipe = read_document(RECIPES / "capdec-coco.yaml").data
    for data in (preset, recipe):
        backbone = fill("backbone", data["backbone"]).config
        assert backbone.spaces() == ("clip-rn50x4/image[640]", "clip-rn50x4/text[640]")
        assert fill("bridge", data["bridge"]).config.corruption == "noise(std=0.1265)"
        decoder = fill("decoder", data["decoder"]).config
        assert (decoder.mapper, decoder.prefix, decoder.clip_length) == ("transformer", 40, 40)
    assert preset["decoder"]["compat"] == "reference"
    assert fill("bridge", preset["bridge"]).config.normalises  # the release divides pictures by their norm
