import io
import json
import os
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from regionkit.core.errors import WeightsError
from regionkit.core.unpickling import Record, is_torchscript, plain, read_pickle, read_torch, read_torchscript

UPSTREAM = Path(__file__).parents[3] / "shared" / "data" / "upstream"
PROTOCOLS = [pytest.param(number, id=f"protocol {number}") for number in range(pickle.HIGHEST_PROTOCOL + 1)]


def upstream(name):
    path = UPSTREAM / name
    if not path.is_file():
        pytest.skip(f"{name}, a file of a release, is not beside this checkout")
    return path


def stored(folder, value, protocol=4):
    path = folder / "value.pickle"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


class Config:
    """Stands for a stranger's config class."""

    def __init__(self, layers):
        self.layers = layers
        self.names = ("a", "b")


class Watched:
    """A class whose every step of unpickling is noticed."""

    ran: ClassVar[list] = []

    def __new__(cls, *rest):
        cls.ran.append(rest)
        return super().__new__(cls)

    def __setstate__(self, state):
        self.ran.append(state)


class Slotted:
    __slots__ = ("width",)

    def __init__(self, width):
        self.width = width


class Calls:
    """A pickle of this runs a function with arguments."""

    def __init__(self, function, *arguments, state=None):
        self.result = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.result


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back_as_they_were(tmp_path, protocol):
    value = {
        "words": ["a", "ü\n", ""],
        "numbers": (1, -1, 2**70, 1.5, float("inf"), True, None, 3 + 4j),
        "sets": {"x", "y"},
        "frozen": frozenset({1, 2}),
        "bytes": b"\x00\xff",
        "empty": [[], {}, (), set(), b""],
        7: {"deep": [{"deeper": ("x",)}]},
        ("a", 1): "tuple",
    }
    assert read_pickle(stored(tmp_path, value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_arrays_and_scalars_come_back_as_they_were(tmp_path, protocol):
    arrays = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(["dog", "zebra"]),
        np.zeros((0, 4)),
        np.array([True, False]),
    ]
    scalars = [np.float64(0.25), np.int32(-3), np.bool_(True)]
    got, numbers = read_pickle(stored(tmp_path, (arrays, scalars), protocol))
    for array, expected in zip(got, arrays, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert numbers == scalars
    assert [number.dtype for number in numbers] == [number.dtype for number in scalars]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_torch_tensors_come_back_with_values_type_and_shape(tmp_path, dtype):
    tensor = torch.arange(12).reshape(3, 4).to(dtype).T
    names, got, parameter = read_pickle(stored(tmp_path, (["a"], tensor, torch.nn.Parameter(torch.ones(2)))))
    assert names == ["a"]
    assert got.dtype == dtype
    assert torch.equal(got, tensor)
    assert torch.equal(parameter, torch.ones(2))


def test_dictionaries_of_other_classes_become_plain_ones(tmp_path):
    value = [OrderedDict(a=1), Counter("aab"), defaultdict(int, {"x": 2})]
    assert read_pickle(stored(tmp_path, value)) == [{"a": 1}, {"a": 2, "b": 1}, {"x": 2}]


def test_a_value_that_is_there_twice_is_one_value(tmp_path):
    shared = ["x"]
    got = read_pickle(stored(tmp_path, [shared, shared]))
    assert got[0] is got[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_named_by_the_caller_becomes_a_record_of_its_fields(tmp_path, protocol):
    got = read_pickle(stored(tmp_path, Config(4), protocol), records=[f"{__name__}.Config"])
    assert isinstance(got, Record)
    assert got.type == f"{__name__}.Config"
    assert got.state == {"layers": 4, "names": ("a", "b")}


def test_slots_of_a_record_are_fields_too(tmp_path):
    assert read_pickle(stored(tmp_path, Slotted(3)), records=["*.Slotted"]).state == {"width": 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_record_never_runs_what_its_class_does_when_it_is_unpickled(tmp_path, protocol):
    watched = Watched()
    watched.a = 1
    path = stored(tmp_path, watched, protocol)
    Watched.ran.clear()
    assert read_pickle(path, records=["*.Watched"]).state == {"a": 1}
    assert Watched.ran == []


HARMFUL = [
    pytest.param(lambda mark: Calls(os.system, f"touch {mark}"), "posix.system", id="a shell command"),
    pytest.param(lambda mark: Calls(os.execvp, "touch", ["touch", str(mark)]), "os.execvp", id="a process"),
    pytest.param(lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"), "builtins.eval", id="eval"),
    pytest.param(lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"), "builtins.exec", id="exec"),
    pytest.param(lambda mark: Calls(open, str(mark), "w"), "io.open", id="opening a file"),
    pytest.param(lambda mark: [1, {"x": (Calls(os.mkdir, str(mark)),)}], "posix.mkdir", id="deep inside a list"),
    pytest.param(lambda mark: Calls(getattr, os, "system"), "builtins.getattr", id="getattr"),
    pytest.param(lambda mark: Calls(torch.load, str(mark)), "torch.serialization.load", id="another unpickler"),
    pytest.param(lambda mark: Calls(np.load, str(mark)), "numpy.load", id="another loader"),
    pytest.param(lambda mark: Calls(__import__, "antigravity"), "builtins.__import__", id="an import"),
]


@pytest.mark.parametrize(("make", "name"), HARMFUL)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused_by_name_and_runs_nothing(tmp_path, make, name, protocol):
    mark = tmp_path / "it-ran"
    value = make(mark)
    if name == "builtins.getattr":
        value.result = (getattr, ("os", "system"))
    path = stored(tmp_path, value, protocol)
    with pytest.raises(WeightsError) as caught:
        read_pickle(path)
    spelled = name.replace("builtins.", "__builtin__.") if protocol < 3 else name
    assert caught.value.message == (
        f"{path}: the pickle wants {spelled}, which is not on the list of harmless types; nothing was run"
    )
    assert not mark.exists()


GADGETS = [
    pytest.param(b"cbuiltins\ngetattr\n", "builtins.getattr", id="getattr by GLOBAL"),
    pytest.param(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval", id="eval by STACK_GLOBAL"),
    pytest.param(
        b"\x80\x04\x8c\x0bcollections\x8c\x1aOrderedDict.__init_class__\x93.",
        "collections.OrderedDict.__init_class__",
        id="an attribute of an allowed class",
    ),
    pytest.param(b"(ios\nsystem\n.", "os.system", id="INST"),
    pytest.param(b"(cos\nsystem\nX\x04\x00\x00\x00trueo.", "os.system", id="OBJ"),
    pytest.param(
        b"ctorch._utils\n_rebuild_tensor_v2\n0ctorch.serialization\nload\n.", "torch.serialization.load", id="late"
    ),
    pytest.param(b"cregionkit.core.pickle_types\n_stay\n.", "regionkit.core.pickle_types._stay", id="our own code"),
]


@pytest.mark.parametrize(("data", "name"), GADGETS)
def test_every_way_to_name_a_function_goes_through_the_list(tmp_path, data, name):
    path = stored(tmp_path, data)
    with pytest.raises(WeightsError) as caught:
        read_pickle(path)
    assert caught.value.message == (
        f"{path}: the pickle wants {name}, which is not on the list of harmless types; nothing was run"
    )


def test_a_class_is_refused_with_the_option_that_reads_its_fields(tmp_path):
    with pytest.raises(WeightsError) as caught:
        read_pickle(stored(tmp_path, Config(1)))
    assert caught.value.hints == (
        "harmless are plain containers, texts, numbers, numpy arrays and torch tensors",
        f"to read only the fields of such an object: toolkit weights convert ... --record {__name__}.Config",
    )


def nested_tuples(count):
    return b")" + b"\x85" * count + b"."


DAMAGED = [
    pytest.param(b"", "pickle exhausted before seeing STOP", id="empty"),
    pytest.param(b"\x7fELF", "at position 0, opcode b'\\x7f' unknown", id="no pickle"),
    pytest.param(pickle.dumps(["some", "words"], 4)[:-1], "pickle exhausted before seeing STOP", id="cut"),
    pytest.param(b"\x80\x04\x8c\x10abc.", "expected 16 bytes in a unicodestring1, but only 4 remain", id="cut text"),
    pytest.param(b".", "it takes a value where there is none", id="nothing on the stack"),
    pytest.param(b"t.", "it closes a group that was never opened", id="no mark"),
    pytest.param(b"h\x05.", "it recalls the value 5, which it never remembered", id="unknown memo"),
    pytest.param(b"K\x01K\x02a.", "it appends to something that is no list", id="append to a number"),
    pytest.param(
        b"}]K\x01s.", "it uses a list as a key; only texts, numbers and tuples of them are read", id="list key"
    ),
    pytest.param(b"})\x85\x85\x85K\x01s.", "it uses a tuple as a key", id="a key that is slow to hash"),
    pytest.param(b"K\x05)R.", "it calls something that is no type", id="calling a number"),
    pytest.param(b"cnumpy\nndarray\n)R.", "it calls numpy.ndarray", id="calling what only stands for itself"),
    pytest.param(b"cbuiltins\nset\n}b.", "it gives a state to a Known", id="changing an allowed type"),
    pytest.param(b"\x80\x02K\x01Q.", "it refers to data outside itself", id="persistent id"),
    pytest.param(b"\x82\x01.", "it uses the opcode EXT1, which no file of weights or words needs", id="extension"),
    pytest.param(b"\x80\x05\x97.", "it uses the opcode NEXT_BUFFER", id="outside buffer"),
    pytest.param(nested_tuples(5000), "its values are nested more than 100 deep", id="too deep"),
    pytest.param(b"r\xff\xff\xff\xff.", "it remembers a value where there is none", id="far memo index"),
    pytest.param(b"I" + b"9" * 5000 + b"\n.", "Exceeds the limit", id="a number of 5,000 digits"),
]


@pytest.mark.parametrize(("data", "reason"), DAMAGED)
def test_a_damaged_pickle_is_told_with_the_reason(tmp_path, data, reason):
    path = stored(tmp_path, data)
    with pytest.raises(WeightsError) as caught:
        read_pickle(path)
    assert caught.value.message.startswith(f"{path}: the pickle is damaged: ")
    assert reason in caught.value.message
    assert caught.value.hints == ("nothing was run; fetch the file again",)


def test_every_cut_and_every_changed_byte_gives_a_value_or_a_weights_error(tmp_path):
    value = {"a": [1, 2.5, ("x", {"y"})], "n": np.arange(3), "t": torch.arange(2), "c": Config(1)}
    whole = pickle.dumps(value, 4)
    random = np.random.default_rng(0)
    data = [whole[:cut] for cut in range(0, len(whole), 7)]
    for place in range(0, len(whole), 3):
        data.append(whole[:place] + bytes([random.integers(256)]) + whole[place + 1 :])
    path = tmp_path / "x.pickle"
    refusals = 0
    for content in data:
        path.write_bytes(content)
        try:
            read_pickle(path, records=["*.Config"])
        except WeightsError:
            refusals += 1
    assert refusals > len(data) / 2


def test_an_array_of_objects_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="a numpy array of the type 'O8', which is not of plain numbers or texts"):
        read_pickle(stored(tmp_path, np.array([{}, []], dtype=object)))


def test_a_tensor_that_claims_more_than_its_storage_is_refused(tmp_path):
    data = pickle.dumps(torch.zeros(2), 4).replace(b"K\x02\x85", b"M\xff\xff\x85")
    with pytest.raises(WeightsError, match=r"a tensor of shape \(65535,\) is larger than its storage of 2"):
        read_pickle(stored(tmp_path, data))


def test_a_storage_that_would_run_code_is_refused(tmp_path):
    mark = tmp_path / "it-ran"
    buffer = io.BytesIO()
    torch.save(Calls(os.system, f"touch {mark}"), buffer, _use_new_zipfile_serialization=False)
    value = Calls(torch.storage._load_from_bytes, buffer.getvalue())
    with pytest.raises(WeightsError, match="a torch storage cannot be read: "):
        read_pickle(stored(tmp_path, value))
    assert not mark.exists()


def test_too_many_steps_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.core.pickle_machine.MAX_STEPS", 50)
    with pytest.raises(WeightsError, match="it has more than 50 steps"):
        read_pickle(stored(tmp_path, list(range(100))))


def test_a_file_that_is_too_large_or_absent_is_told(tmp_path, monkeypatch):
    path = stored(tmp_path, "x" * 100)
    monkeypatch.setattr("regionkit.core.unpickling.MAX_BYTES", 10)
    with pytest.raises(WeightsError, match="and more than 10 are not read"):
        read_pickle(path)
    with pytest.raises(WeightsError, match="the pickle cannot be read: No such file or directory"):
        read_pickle(tmp_path / "none.pickle")


def test_plain_writes_sets_sorted_and_records_with_their_type(tmp_path):
    value = read_pickle(
        stored(tmp_path, {"s": {"b", "a"}, "c": Config(2), 3: (1,), "n": np.float32(0.5)}), records=["*"]
    )
    assert json.loads(json.dumps(plain(value, "x.pickle"))) == {
        "s": ["a", "b"],
        "c": {"_type": f"{__name__}.Config", "layers": 2, "names": ["a", "b"]},
        "3": [1],
        "n": 0.5,
    }


def billion():
    value = ["x"] * 10
    for _ in range(10):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(
            lambda: (lambda loop: [loop.append(loop), loop][1])([]), "it is nested more than 100 deep", id="loop"
        ),
        pytest.param(billion, "it holds more than 1000 values", id="short and huge"),
        pytest.param(lambda: {1: "a", "1": "b"}, "two keys are both written '1'", id="same key"),
        pytest.param(lambda: [b"\xff"], "it holds bytes that are no text", id="bytes"),
    ],
)
def test_plain_refuses_what_json_cannot_hold(tmp_path, monkeypatch, make, reason):
    monkeypatch.setattr("regionkit.core.unpickling.MAX_VALUES", 1000)
    value = read_pickle(stored(tmp_path, make()))
    with pytest.raises(WeightsError) as caught:
        plain(value, "x.pickle")
    assert caught.value.message.startswith(f"x.pickle: it cannot be written as JSON: {reason}")


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.register_buffer("scale", torch.arange(3))
        self.mask = torch.ones(2)  # computed with, and not in the state_dict
        self.sizes = [1, 2]

    def forward(self, x):
        return self.linear(x) * self.scale + torch.tensor([1.0, 2.0, 3.0])


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.Sequential(Block(), Block())
        self.halved = torch.nn.Parameter(torch.randn(2, 3).half())
        self.transposed = torch.nn.Parameter(torch.randn(4, 5).T)
        self.empty = torch.nn.Parameter(torch.zeros(0, 2))

    def forward(self, x):
        return self.blocks(x)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Return a saved script module and its state_dict."""
    import warnings

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("script") / "tower.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is on its way out; the files that it made stay
        module = torch.jit.script(Tower())
        module.save(str(path))
    return path, dict(module.state_dict())


def test_a_torchscript_archive_gives_its_state_dict(script):
    path, expected = script
    got = read_torchscript(path)
    assert list(got) == list(expected)
    assert "blocks.1.linear.weight" in got
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name


def test_a_traced_module_gives_its_state_dict(tmp_path):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(Tower(), torch.randn(1, 3))
        module.save(str(tmp_path / "traced.pt"))
    got, expected = read_torchscript(tmp_path / "traced.pt"), module.state_dict()
    assert sorted(got) == sorted(expected)
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_only_an_archive_with_code_is_torchscript(script, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_text("hello")
    assert is_torchscript(script[0])
    assert not is_torchscript(tmp_path / "plain.pt")
    assert not is_torchscript(tmp_path / "text.pt")
    assert not is_torchscript(tmp_path / "none.pt")


def rewritten(script, tmp_path, change):
    """Write the archive again with entries changed by ``change(name, data)``, which returns None to leave one out."""
    path = tmp_path / "changed.pt"
    with zipfile.ZipFile(script[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
    return path


def test_code_in_a_torchscript_archive_is_never_run(script, tmp_path):
    mark = tmp_path / "it-ran"
    code = f"\nimport os\nos.system('touch {mark}')\n".encode()
    path = rewritten(script, tmp_path, lambda name, data: data + code if name.endswith(".py") else data)
    assert list(read_torchscript(path)) == list(script[1])
    assert not mark.exists()


def test_a_torchscript_archive_that_would_run_code_is_refused_by_name(script, tmp_path):
    mark = tmp_path / "it-ran"
    harmful = pickle.dumps(Calls(os.system, f"touch {mark}"), 2)
    path = rewritten(script, tmp_path, lambda name, data: harmful if name == "data.pkl" else data)
    with pytest.raises(WeightsError, match=r"the pickle wants posix\.system, which is not on the list"):
        read_torchscript(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda name, data: None if name == "data.pkl" else data, "it holds no data.pkl", id="no data.pkl"),
        pytest.param(lambda name, data: None if name == "data/0" else data, "There is no item named", id="no storage"),
        pytest.param(
            lambda name, data: data[:-1] if name == "data/0" else data,
            "values of torch.float16 were promised",
            id="cut",
        ),
        pytest.param(lambda name, data: b"big" if name == "byteorder" else data, "another byte order", id="byte order"),
        pytest.param(
            lambda name, data: pickle.dumps([1], 2) if name == "data.pkl" else data, "holds no module", id="list"
        ),
    ],
)
def test_a_damaged_torchscript_archive_is_told_with_the_reason(script, tmp_path, change, reason):
    with pytest.raises(WeightsError, match=reason):
        read_torchscript(rewritten(script, tmp_path, change))


def test_a_cut_torchscript_file_is_told(script, tmp_path):
    (tmp_path / "cut.pt").write_bytes(script[0].read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"cut\.pt: the pickle is damaged: no readable archive of torch"):
        read_torchscript(tmp_path / "cut.pt")


def test_a_tensor_with_strides_outside_its_storage_is_refused(script, tmp_path):
    # The half tensor is (2, 3) with strides (3, 1): as (2, 3) with strides (255, 1) it would read beyond its storage.
    before, after = b"(K\x02K\x03t(K\x03K\x01t", b"(K\x02K\x03t(K\xffK\x01t"
    path = rewritten(script, tmp_path, lambda name, data: data.replace(before, after) if name == "data.pkl" else data)
    with pytest.raises(WeightsError, match=r"a tensor of shape \(2, 3\) is larger than its storage of 6"):
        read_torchscript(path)


def test_a_checkpoint_with_a_config_in_it_gives_tensors_and_the_fields_of_the_config(tmp_path):
    weight = torch.randn(2, 3)
    torch.save({"model": {"a": weight, "b": weight.T}, "args": Config(3), "step": 7}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"the pickle wants .*Config, which is not on the list"):
        read_torch(tmp_path / "x.pt")
    value = read_torch(tmp_path / "x.pt", records=["*.Config"])
    assert torch.equal(value["model"]["a"], weight)
    assert torch.equal(value["model"]["b"], weight.T)
    assert value["args"].state == {"layers": 3, "names": ("a", "b")}
    assert value["step"] == 7


def test_the_vocabulary_of_visual_genome_is_read():
    value = read_pickle(upstream("all_objects_attributes_relationships.pickle"))
    assert {kind: {name: len(words) for name, words in sets.items()} for kind, sets in value.items()} == {
        "relationships": {"gqa": 310, "vg": 21612, "joint": 21619},
        "attributes": {"gqa": 617, "vg": 45904, "joint": 45905},
        "objects": {"gqa": 1703, "vg": 64880, "joint": 64890},
    }


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        pytest.param("coco_embeddings_ViT-B16_t2d__with_ensemble.pickle", (80, 768), torch.float32, id="talk2dino"),
        pytest.param("coco_embeddings_ViT-B16_with_ensemble.pickle", (80, 512), torch.float16, id="clip"),
    ],
)
def test_the_entity_embeddings_of_a_release_are_read(name, shape, dtype):
    value = read_pickle(upstream(name))
    assert (tuple(value.shape), value.dtype) == (shape, dtype)
    assert torch.allclose(value.float().norm(dim=1), torch.ones(80), atol=2e-3)


def test_the_pickled_config_of_a_decoder_is_read_as_a_record():
    path = upstream("decap_decoder_config.pkl")
    with pytest.raises(WeightsError, match=r"wants transformers\.models\.gpt2\.configuration_gpt2\.GPT2Config"):
        read_pickle(path)
    config = read_pickle(path, records=["transformers.*.GPT2Config"])
    fields = ("n_layer", "n_head", "n_embd", "vocab_size", "activation_function")
    assert [config.state[name] for name in fields] == [4, 4, 768, 50257, "gelu_new"]


def test_reading_a_pickle_does_not_allocate_what_it_only_claims(tmp_path):
    data = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x."
    with pytest.raises(WeightsError, match="the pickle is damaged"):
        read_pickle(stored(tmp_path, data))
