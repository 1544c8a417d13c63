"""A model of the hub in its own folder says exactly what transformers lets it say; damaged folders are refused."""

from __future__ import annotations

import json

import pytest
import torch
from vlm_folder import SIDE, TILES, model, preprocessor, tokenizer, write_folder

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions, RegionViews
from regionkit.core.testing import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.vlm.config import VlmConfig
from regionkit.plugins.vlm.decoder import Vlm
from regionkit.plugins.vlm.release import read_vlm
from regionkit.plugins.vlm.tiles import Tiling

SIZES = [(40, 32), (20, 60), (16, 16), (7, 90), (1, 1), (48, 16)]
_NAMES = {
    "model": "model.safetensors",
    "config": "config.json",
    "tokenizer": "tokenizer.json",
    "preprocessor": "preprocessor_config.json",
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def files(folder):
    return {role: folder / name for role, name in _NAMES.items() if (folder / name).exists()}


def read(folder) -> Vlm:
    artifact = read_vlm(files(folder), VlmConfig())
    config = VlmConfig(**artifact.header.config)
    return Vlm.build(config, BuildContext(weights=WeightFile(folder, artifact.header, read=lambda: artifact.tensors)))


def their_inputs(given, pictures, prompt="", **options):
    """Return what transformers' own processor makes of pictures and a prompt behind them."""
    idefics3 = pytest.importorskip("transformers.models.idefics3.image_processing_pil_idefics3")
    from transformers import Idefics3Processor

    made = preprocessor(**options)
    made.pop("image_processor_type")
    processor = Idefics3Processor(idefics3.Idefics3ImageProcessorPil(**made), tokenizer(), image_seq_len=4)
    return [processor(images=[[one]], text=[f"<image>{prompt}"], return_tensors="pt") for one in pictures]


@pytest.mark.parametrize("split", [True, False])
def test_pictures_become_the_tiles_that_transformers_makes(split):
    pictures = [picture(size, seed) for seed, size in enumerate(SIZES)]
    path = preprocessor(split=split)
    tiling = Tiling(SIDE, 3 * SIDE, split, mean=tuple(path["image_mean"]), std=tuple(path["image_std"]))
    for ours, theirs in zip(pictures, their_inputs(None, pictures, split=split), strict=True):
        tiles, (rows, columns) = tiling.cut(ours)
        assert len(tiles) == rows * columns + 1
        pixels = tiling.pixels(tiles)
        assert pixels.shape == theirs["pixel_values"][0].shape
        # Theirs are rescaled in another type; the pictures themselves are equal to the last bit of a byte.
        torch.testing.assert_close(pixels, theirs["pixel_values"][0].float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["smolvlm", "idefics3"])
@pytest.mark.parametrize("split", [True, False])
def test_logits_states_and_captions_are_those_of_transformers(tmp_path, family, split):
    theirs = write_folder(tmp_path, family, split=split)
    ours = read(tmp_path)
    pictures = [picture((40, 32), 1), picture((16, 40), 2)]
    views, prompt, text = RegionViews(tuple(pictures)), "Say it: ", "a red dog"
    ids = [*tokenizer()(text, add_special_tokens=False).input_ids, tokenizer().eos_token_id]
    with torch.no_grad():
        scores = ours.score(views, [text, text], prompt)
        states = ours.hidden_states(views, [text, text], prompt, "tok")
        captions = ours.generate(views, prompt, GenerateOptions(max_tokens=6))
        features = ours.visual_features(views)
    for row, inputs in enumerate(their_inputs(theirs, pictures, prompt, split=split)):
        start = inputs["input_ids"].shape[1]
        whole = torch.cat([inputs["input_ids"], torch.tensor([ids])], 1)
        seen = {name: inputs[name] for name in ("pixel_values", "pixel_attention_mask")}
        with torch.no_grad():
            found = theirs(input_ids=whole, attention_mask=torch.ones_like(whole), output_hidden_states=True, **seen)
            logs = found.logits.log_softmax(-1)[0, start - 1 : -1]
            expected = logs[torch.arange(len(ids)), ids].sum()
            torch.testing.assert_close(scores[row], expected, atol=1e-4, rtol=1e-5)
            torch.testing.assert_close(states.tokens[row], found.hidden_states[-1][0, start:], atol=1e-5, rtol=1e-4)
            written = theirs.generate(
                **inputs, max_new_tokens=6, do_sample=False, eos_token_id=ids[-1], pad_token_id=ids[-1]
            )[0, start:].tolist()
            kept = written[: written.index(ids[-1])] if ids[-1] in written else written
            assert list(captions[row].tokens) == kept
            tower = theirs.model.get_image_features(seen["pixel_values"], seen["pixel_attention_mask"])
            expected = tower.last_hidden_state.mean(1).mean(0)
        torch.testing.assert_close(features[row], expected, atol=1e-5, rtol=1e-4)


def test_what_was_read_is_written_into_one_file_and_read_again(tmp_path):
    write_folder(tmp_path)
    ours = read(tmp_path)
    assert (ours.config.tiles, ours.config.kv_heads, ours.config.vision_hidden) == (3, 2, 12)
    artifact = ours.artifact()
    file = WeightFile(tmp_path / "one", artifact.header, read=lambda: artifact.tensors)
    again = Vlm.build(VlmConfig(**artifact.header.config), BuildContext(weights=file))
    views = RegionViews((picture((40, 32)), picture((9, 30), 3)))
    with torch.no_grad():
        assert torch.equal(ours.score(views, ["a", "b"]), again.score(views, ["a", "b"]))


def break_config(folder, **changes):
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stored, **changes}))


def lose(folder, name):
    (folder / name).unlink()


def retoken(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<global-img>", "<elsewhere>"))


def shrink(folder):
    theirs = model()
    theirs.resize_token_embeddings(len(tokenizer()) - len(TILES))
    theirs.save_pretrained(folder)


def rename(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.extra.weight"] = tensors.pop("model.connector.modality_projection.proj.weight")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda folder: lose(folder, "config.json"), "its config is missing", id="no config"),
        pytest.param(lambda folder: lose(folder, "tokenizer.json"), "its tokenizer is missing", id="no tokenizer"),
        pytest.param(
            lambda folder: lose(folder, "preprocessor_config.json"), "its preprocessor is missing", id="no preprocessor"
        ),
        pytest.param(lambda folder: break_config(folder, model_type="llava"), "a model of family 'llava'", id="family"),
        pytest.param(lambda folder: break_config(folder, scale_factor=3), "do not fit", id="sizes"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{"), "config.json: unreadable", id="cut"),
        pytest.param(
            lambda folder: (folder / "preprocessor_config.json").write_text('{"size": 3}'),
            "does not say how pictures are prepared",
            id="preprocessor",
        ),
        pytest.param(
            lambda folder: (folder / "preprocessor_config.json").write_text('{"max_image_size": {"longest_edge": 8}}'),
            "cuts tiles of 8 pixels, the vision tower of .* takes 16",
            id="tile",
        ),
        pytest.param(retoken, "this tokenizer has no <global-img>", id="tokenizer"),
        pytest.param(shrink, "its tokenizer has .* ids, its model has .* word embeddings|do not fit", id="rows"),
        pytest.param(rename, "missing: model.connector.modality_projection.proj.weight", id="names"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(tmp_path, damage, sentence):
    write_folder(tmp_path)
    damage(tmp_path)
    with pytest.raises(WeightsError) as found:
        read(tmp_path)
    import re

    assert re.search(sentence, "\n".join([found.value.message, *found.value.hints]))
