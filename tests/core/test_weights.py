"""Weight files: what is written is read back, and damage is named."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from regionkit.core.errors import WeightsError
from regionkit.core.weights import WeightFile, WeightHeader, load_into, read_header, write_weights

HEADER = WeightHeader("decoder", "tiny", "a[4]", corruption="noise(std=0.1)", config={"hidden": 4}, extra={"w": ["a"]})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.safetensors"
    square = torch.arange(16.0).reshape(4, 4)
    write_weights(path, {"turned": square.T, "ids": torch.arange(3)}, HEADER)
    return path


def test_tensors_and_header_come_back(file):
    assert read_header(file) == HEADER
    tensors = WeightFile(file, HEADER).tensors()
    assert torch.equal(tensors["turned"], torch.arange(16.0).reshape(4, 4).T)
    assert torch.equal(tensors["ids"], torch.arange(3))


def test_half_precision_is_stored_and_widened(tmp_path):
    path = tmp_path / "half.safetensors"
    write_weights(path, {"w": torch.tensor([1 / 3]), "ids": torch.arange(3)}, HEADER, half=True)
    tensors = WeightFile(path, HEADER).tensors()
    assert tensors["w"].dtype == torch.float32
    assert tensors["w"].item() == torch.tensor(1 / 3).half().item()
    assert tensors["ids"].dtype == torch.int64


def test_files_of_others_have_no_header(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert read_header(tmp_path / "other.safetensors") is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda data: b"", "it ends inside its header", id="empty"),
        pytest.param(lambda data: data[:40], "it ends inside its header", id="header-cut"),
        pytest.param(lambda data: data[:-1], "bytes are there, its header promises", id="tensors-cut"),
        pytest.param(lambda data: data + b"\0", "bytes are there, its header promises", id="too-long"),
        pytest.param(lambda data: data[:8] + b"!" + data[9:], "Expecting value", id="no-json"),
        pytest.param(lambda data: struct.pack("<Q", 2) + b"[]", "has no attribute", id="no-table"),
    ],
)
def test_damage_is_named(file, damage, reason):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsError) as caught:
        read_header(file)
    assert str(caught.value).startswith(f"{file}: the weight file is damaged: ")
    assert reason in str(caught.value)


def test_an_unknown_field_of_the_header_is_named(tmp_path):
    metadata = {"regionkit": json.dumps({"kind": "decoder", "name": "tiny", "mood": "good"})}
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match=r"its regionkit header is unreadable: .*'mood'"):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize("field", ["space", "writes"])
def test_a_space_that_is_none_is_told_of_the_file_and_never_written(tmp_path, field):
    said = {"kind": "decoder", "name": "tiny", field: "mini dense"}
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"regionkit": json.dumps(said)})
    with pytest.raises(WeightsError, match=r"a.safetensors: the weight file is damaged: .*'mini dense' is not a space"):
        read_header(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"'mini dense' is not a space: write it as name\[dim\]"):
        WeightHeader(**said)


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        pytest.param({"weight": torch.zeros(2, 2)}, "missing: bias", id="missing"),
        pytest.param(
            {"weight": torch.zeros(2, 2), "bias": torch.zeros(2), "b": torch.zeros(1)}, "left over: b", id="left-over"
        ),
        pytest.param(
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)},
            "shape: weight is (2, 3), the model has (2, 2)",
            id="shape",
        ),
    ],
)
def test_every_tensor_must_be_accounted_for(tensors, fault):
    module = torch.nn.Linear(2, 2)
    before = module.weight.detach().clone()
    with pytest.raises(WeightsError) as caught:
        load_into(module, tensors, "tiny.safetensors")
    assert str(caught.value) == f"tiny.safetensors: the weights do not fit Linear\n  {fault}"
    assert torch.equal(module.weight, before)
