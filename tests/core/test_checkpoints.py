"""Checkpoints of others: every file form, names brought into ours, and everything that is refused, by its sentence."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regionkit.core.checkpoints import read_checkpoint, rename
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
            "the index and its parts do not hold the same tensors: more",
            id="promises-more",
        ),
        param(["part-0.safetensors"], "its index is unreadable: AttributeError", id="list"),
    ],
)
def test_indices_that_lie(names, message, tmp_path):
    in_parts(tmp_path, ".safetensors", names)
    assert message in refused(tmp_path)


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
