"""Checkpoints of others: every file form, names brought into ours, and everything that is refused, by its sentence."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.errors import WeightsError

param = pytest.param
STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.tensor([1, 2])}


def same(found: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(STATE) and all(torch.equal(found[name], STATE[name]) for name in STATE)


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    return str(caught.value)


def in_parts(folder: Path, suffix: str, names: dict[str, str]) -> None:
    """Write STATE in two files with an index that says ``names``."""
    for number, key in enumerate(STATE):
        path = folder / f"part-{number}{suffix}"
        save_file({key: STATE[key]}, path) if suffix == ".safetensors" else torch.save({key: STATE[key]}, path)
    index = "model.safetensors.index.json" if suffix == ".safetensors" else "pytorch_model.bin.index.json"
    (folder / index).write_text(json.dumps({"weight_map": names}))


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize("name", ["model.safetensors", "a.pt", "a.pth", "pytorch_model.bin", "last.ckpt"])
def test_single_files(name, tmp_path):
    save_file(STATE, tmp_path / name) if name.endswith("tensors") else torch.save(STATE, tmp_path / name)
    assert same(read_checkpoint(tmp_path / name))
    assert same(read_checkpoint(str(tmp_path / name)))


@pytest.mark.parametrize(
    "stored",
    [
        param({"state_dict": STATE, "epoch": 4}, id="state_dict"),
        param({"model": STATE, "optimizer": {"lr": 0.1}}, id="model"),
        param(OrderedDict(STATE), id="ordered"),
        param({f"module.{name}": tensor for name, tensor in STATE.items()}, id="module"),
        param({"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}}, id="both"),
        param({name: torch.nn.Parameter(value, False) for name, value in STATE.items()}, id="parameters"),
    ],
)
def test_nesting_and_prefixes(stored, tmp_path):
    torch.save(stored, tmp_path / "a.pt")
    assert same(read_checkpoint(tmp_path / "a.pt"))


def test_a_prefix_that_not_all_share_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pt")
    assert set(read_checkpoint(tmp_path / "a.pt")) == {"module.a", "b"}


def test_files_of_old_torch_load_too(tmp_path):
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "old.pth"))


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_folders_of_the_hub(suffix, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    if suffix == ".bin":
        torch.save(STATE, whole / "pytorch_model.bin")
    else:
        save_file(STATE, whole / "model.safetensors")
    in_parts(parts, suffix, {name: f"part-{number}{suffix}" for number, name in enumerate(STATE)})
    assert same(read_checkpoint(whole))
    assert same(read_checkpoint(parts))
    assert same(read_checkpoint(next(parts.glob("*.index.json"))))


# ---------------------------------------------------------------- refusals


class Touch:
    """A pickle of this makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "plain"])
def test_a_pickle_that_would_run_code_is_refused_and_nothing_runs(form, tmp_path):
    path, trap = tmp_path / "evil.pt", tmp_path / "made"
    if form == "torch":
        torch.save({"weight": torch.ones(1), "x": Touch(trap)}, path)
    else:
        path.write_bytes(pickle.dumps({"x": Touch(trap)}, protocol=2))
    message = refused(path)
    assert message.startswith(f"{path} holds more than tensors: reading it would call ")
    assert "mkdir" in message
    assert "nothing was run" in message
    assert f"convert it once: toolkit weights convert {path}" in message
    assert "weights_only" not in message
    assert not trap.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.*")  # torch deprecates making such programs, not reading them
def test_of_a_torchscript_program_the_tensors_alone_are_read(tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.jit.trace(model.eval(), torch.zeros(2, 3)).save(path)
    found, wanted = read_checkpoint(path), model.state_dict()
    assert sorted(found) == sorted(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_damaged_torchscript_program_is_refused(tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("code/__torch__.py", "constants.pkl", "data.pkl", "version"):
            archive.writestr(f"ViT-B-16/{name}", b"3")
    assert f"{path}" in refused(path)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_damaged_files(suffix, damage, tmp_path):
    path = tmp_path / f"a{suffix}"
    save_file(STATE, path) if suffix == ".safetensors" else torch.save(STATE, path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"<html>not found</html>", "cut": whole[: len(whole) // 2]}[damage])
    message = refused(path)
    assert message.startswith(f"{path}: the checkpoint is damaged: ")
    assert message.endswith("fetch it again")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        param([torch.ones(1)], "holds a list, and not tensors by name", id="list"),
        param({}, "holds an empty dict, and not tensors by name", id="empty"),
        param({"a": torch.ones(1), "epoch": 3}, "holds things that are no tensors: epoch is a int", id="number"),
        param({"state_dict": {}}, "holds an empty dict, and not tensors by name", id="nested-empty"),
    ],
)
def test_what_is_no_state(stored, message, tmp_path):
    torch.save(stored, tmp_path / "a.pt")
    assert message in refused(tmp_path / "a.pt")


def test_files_that_are_not_there_or_no_checkpoint(tmp_path):
    assert refused(tmp_path / "gone.pt").startswith(f"there is no checkpoint {tmp_path / 'gone.pt'}")
    (tmp_path / "a.txt").write_text("x")
    assert "a.txt is no checkpoint: its name ends in '.txt'" in refused(tmp_path / "a.txt")
    (tmp_path / "folder").mkdir()
    assert "folder: no checkpoint in this folder" in refused(tmp_path / "folder")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        param({"layer.weight": "../a.safetensors"}, "it names '../a.safetensors', which does not lie in", id="above"),
        param({"layer.weight": "/etc/a.safetensors"}, "which does not lie in its own folder", id="absolute"),
        param({"layer.weight": "a\\b.safetensors"}, "which does not lie in its own folder", id="backslash"),
        param({"layer.weight": "part-7.safetensors"}, "the part part-7.safetensors is not there", id="gone"),
        param(
            {"layer.weight": "part-0.safetensors", "more": "part-0.safetensors"},
            "the index and its part part-0.safetensors do not hold the same tensors: more",
            id="promises-more",
        ),
        param(
            {"layer.weight": "part-1.safetensors", "layer.bias": "part-0.safetensors"},
            "the index and its part part-0.safetensors do not hold the same tensors: layer.bias, layer.weight",
            id="in-another-part",
        ),
        param(["part-0.safetensors"], "its index is unreadable: AttributeError", id="list"),
    ],
)
def test_indices_that_lie(names, message, tmp_path):
    in_parts(tmp_path, ".safetensors", names)
    assert message in refused(tmp_path)
    assert "\n  fetch " in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("place", ["a.pt", "hub/model.safetensors", "hub/model.safetensors.index.json"])
def test_a_pipe_is_refused_and_not_waited_for(place, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    assert refused(path) == f"{path} is no file, or a link to none\n  name a file, or a folder of the hub"
    if place.startswith("hub"):
        assert refused(path.parent).startswith(f"{path.parent}: no checkpoint in this folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_part_that_is_a_pipe_is_refused(tmp_path):
    in_parts(tmp_path, ".safetensors", {name: f"part-{number}.safetensors" for number, name in enumerate(STATE)})
    (tmp_path / "part-1.safetensors").unlink()
    os.mkfifo(tmp_path / "part-1.safetensors")
    assert "the part part-1.safetensors is not there" in refused(tmp_path)


def quantised() -> torch.Tensor:
    return torch._empty_affine_quantized([2], scale=0.1, zero_point=0, dtype=torch.qint8)


UNUSABLE = [
    param(lambda: torch.empty(2, 3, device="meta"), "w holds no numbers: it is on the device 'meta'", id="meta"),
    param(lambda: torch.eye(3).to_sparse(), "w is not dense: it is stored as sparse_coo", id="sparse"),
    param(quantised, "w holds qint8 numbers, quantised weights are not read", id="quantised"),
    param(
        lambda: torch.ones(2, dtype=torch.complex64), "w holds complex64 numbers, and weights are real", id="complex"
    ),
    param(
        lambda: torch.zeros(1).expand(10**6, 10**6),
        "w is (1000000, 1000000), for which only 1 numbers are stored",
        id="expanded",
    ),
    param(lambda: torch.tensor([1.0, float("nan")]), "w holds NaN", id="nan"),
    param(lambda: torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn), "w holds NaN", id="nan-in-eight-bits"),
    param(lambda: torch.tensor([1.0, float("inf")]).half(), "w holds infinite numbers", id="infinite"),
    param(lambda: torch.tensor([1.0, float("-inf")]), "w holds infinite numbers", id="minus-infinite"),
]


@pytest.mark.parametrize(("make", "fault"), UNUSABLE)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor|.*quantized:UserWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
def test_tensors_that_can_be_no_weights_are_refused_by_name_and_without_torchs_warnings(make, fault, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"fine": torch.ones(1), "w": make()}, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refused(path) == (
            f"{path}: {fault}\n  fetch it again, or name another file; take the file that holds its weights in float16 "
            "or float32"
        )


def test_the_first_three_bad_tensors_are_named_in_safetensors_too(tmp_path):
    save_file({f"w{n}": torch.full((2,), float("nan")) for n in range(5)}, tmp_path / "a.safetensors")
    assert "w0 holds NaN; w1 holds NaN; w2 holds NaN and 2 more" in refused(tmp_path / "a.safetensors")


def test_sums_that_overflow_and_masks_of_attention_are_no_fault(tmp_path):
    mask = torch.full((3, 3), float("-inf")).triu(1)
    stored = {
        "large": torch.full((4,), 3e38),
        "mask": mask,
        "half": torch.full((9,), 6e4).half(),
        "none": torch.ones(0),
    }
    torch.save(stored, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert all(torch.equal(found[name], stored[name]) for name in stored)


def test_whole_numbers_where_weights_are_wanted_are_refused_by_name():
    floats = as_floats({"a": torch.ones(1).half(), "b": torch.ones(1).double()}, "a.pt")
    assert {tensor.dtype for tensor in floats.values()} == {torch.float32}
    with pytest.raises(WeightsError) as caught:
        as_floats({"a": torch.ones(1), "b": torch.ones(1, dtype=torch.int8)}, "a.pt")
    assert caught.value.message == "a.pt: b holds int8 numbers, quantised weights are not read"
    assert caught.value.hints == ("take the file that holds its weights in float16 or float32",)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "reason", "hint"),
    [
        param(b"", "it is empty", "fetch it again", id="empty"),
        param(b"\n<!DOCTYPE html><p>404", "it is a web page, not the file", "fetch it again", id="page"),
        param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n",
            "it is the pointer of git-lfs to the file",
            "fetch the file itself: git lfs pull",
            id="pointer",
        ),
        param(b'{"error": "no"}', "it is JSON, not the file", "fetch it again", id="json"),
        param(bytes(4096), "it starts with nothing but zeros: a download that broke off", "fetch it again", id="zeros"),
    ],
)
def test_what_lies_in_the_place_of_a_file_is_named(content, reason, hint, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refused(path) == f"{path}: the checkpoint is damaged: {reason}\n  {hint}"


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_that_calls_something_is_refused_by_the_name_of_it(protocol, tmp_path):
    path, trap = tmp_path / "evil.pt", tmp_path / "made"
    path.write_bytes(pickle.dumps(Touch(trap), protocol=protocol))
    assert refused(path).startswith(
        f"{path} holds more than tensors: reading it would call {os.mkdir.__module__}.mkdir; nothing was run\n"
    )
    assert not trap.exists()


def overwritten(whole: bytes) -> bytes:
    return whole.replace(b"layer.weight", b"\xff" * 12)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        param(lambda whole: whole[: len(whole) // 2], "it is cut short: the list at the end", id="cut"),
        param(overwritten, "torch", id="overwritten"),
        param(lambda whole: b"\x80\x05" + bytes(range(9)), "it is neither an archive nor a pickle", id="bytes"),
        param(lambda whole: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "it ends too early", id="ends-early"),
        param(lambda whole: b"PK\x03\x04" + bytes(99), "it is cut short", id="start-of-a-zip"),
    ],
)
def test_torchs_advice_and_empty_reasons_reach_nobody(damage, message, tmp_path):
    path = tmp_path / "a.pt"
    torch.save(STATE, path)
    path.write_bytes(damage(path.read_bytes()))
    text = refused(path)
    assert message in text
    assert "weights_only" not in text
    assert not any(line.rstrip().endswith(":") for line in text.splitlines())


def test_a_plain_pickle_of_harmless_values_is_told_apart(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"a": [1.0]}))
    assert refused(path) == (
        f"{path} is a plain pickle, and no file of torch\n  convert it: toolkit weights convert {path}"
    )


@pytest.mark.parametrize("stored", [param({}, id="empty"), param({"a": 3}, id="number")])
def test_what_holds_no_tensors_says_what_to_do_next(stored, tmp_path):
    torch.save(stored, tmp_path / "a.pt")
    assert refused(tmp_path / "a.pt").endswith("\n  fetch it again, or name another file")


# ---------------------------------------------------------------- names


RULES = {r"blocks\.(\d+)\.(weight|bias)": r"layers.\1.\2", r"head": "out", r"blocks\..*\.old": "old"}


def named(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(float(number)) for number, name in enumerate(names)}


def test_rename_follows_the_rules_and_keeps_the_tensors():
    tensors = named("blocks.0.weight", "blocks.11.bias", "head", "step")
    renamed = rename(tensors, RULES, "a.pt", drop=(r"st.p",))
    assert renamed == {
        "layers.0.weight": tensors["blocks.0.weight"],
        "layers.11.bias": tensors["blocks.11.bias"],
        "out": tensors["head"],
    }


@pytest.mark.parametrize(
    ("tensors", "rules", "message"),
    [
        param(named("a", "head", "b", "c", "d"), RULES, "unknown: a, b, c and 1 more", id="unknown"),
        param(named("heads"), RULES, "unknown: heads", id="whole-names"),
        param(named("head"), {**RULES, "h.*": "other"}, "fits two rules: head", id="two-rules"),
        param(named("head", "tail"), {**RULES, "tail": "out"}, "twice: tail as another out", id="twice"),
    ],
)
def test_rename_refuses(tensors, rules, message):
    with pytest.raises(WeightsError) as caught:
        rename(tensors, rules, "a.pt")
    assert str(caught.value) == f"a.pt: not every tensor of this checkpoint is accounted for\n  {message}"
