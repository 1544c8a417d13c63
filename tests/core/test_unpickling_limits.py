"""Short files that mean long work: each is refused in moments, or read once."""

import io
import pickle
import struct
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import torch

from regionkit.core.errors import WeightsError
from regionkit.core.unpickling import plain, read_pickle, read_torch, read_torchscript


@pytest.fixture(autouse=True)
def moments():
    """Fail what takes long; the files below took minutes, or would never have ended."""
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < 30


def stored(folder, data):
    path = folder / "value.pickle"
    path.write_bytes(data)
    return path


def refusal(path, reader=read_pickle, **options):
    with pytest.raises(WeightsError) as caught:
        reader(path, **options)
    message = caught.value.message
    assert len(message) < 1000
    assert message.isprintable()
    return message.removeprefix(f"{path}: the pickle is damaged: ")


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def type_of(name):
    """Name a numpy type, with the state that numpy gives it."""
    return b"cnumpy\ndtype\n" + name + b"\x85R(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def number(value):
    length = value.bit_length() // 8 + 1
    return b"\x8b" + struct.pack("<I", length) + value.to_bytes(length, "little", signed=True)


def script(path, data, entries=(), compression=zipfile.ZIP_STORED):
    """Write a TorchScript archive with a data.pkl of one's own."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("m/data.pkl", data)
        archive.writestr("m/constants.pkl", pickle.dumps((), 2))
        for name, content in dict([("code/__torch__.py", b""), *entries]).items():
            archive.writestr(f"m/{name}", content)
    return path


MODULE = b"c__torch__\nM\n)\x81}"


def doubling(levels):
    """Pickle modules of which each holds the next one twice."""
    data = b"\x80\x02" + MODULE + b"bq\x00"
    for level in range(levels):
        data += MODULE + b"(" + text("a") + b"h" + bytes([level]) + text("b") + b"h" + bytes([level]) + b"u"
        data += b"bq" + bytes([level + 1])
    return data + b"."


def test_modules_that_hold_each_other_twice_for_forty_levels_are_refused_at_once(tmp_path):
    path = script(tmp_path / "m.pt", doubling(40))
    start = time.perf_counter()
    assert refusal(path, read_torchscript) == "its modules, which share others, have more than 300000 attributes"
    assert time.perf_counter() - start < 3
    assert read_torchscript(script(tmp_path / "small.pt", doubling(10))) == {}


def test_names_that_grow_with_every_module_are_refused(tmp_path):
    data = b"\x80\x02" + MODULE + b"bq\x00"
    for _ in range(3):
        data += MODULE + text("a" * 600) + b"h\x00sbq\x00"
    path = script(tmp_path / "m.pt", data + b".")
    assert refusal(path, read_torchscript) == "its modules have names of more than 1000 letters"


def test_a_module_that_stands_in_two_places_has_both_names_as_in_its_state_dict(tmp_path):
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(2, 2)
            self.two = self.one

        def forward(self, x):
            return self.two(self.one(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(Shared())
        module.save(str(tmp_path / "m.pt"))
    got = read_torchscript(tmp_path / "m.pt")
    assert list(got) == ["one.weight", "one.bias", "two.weight", "two.bias"]
    assert torch.equal(got["two.weight"], module.state_dict()["two.weight"])


def storage(key, length):
    """Refer to a storage of bytes, as data.pkl does."""
    return b"(" + text("storage") + b"ctorch\nByteStorage\n" + text(key) + text("cpu") + number(length) + b"tQ"


def test_entries_that_are_larger_than_the_file_together_are_refused(tmp_path):
    data = b"\x80\x02(" + b"".join(storage(str(key), 40_000) for key in range(50)) + b"l."
    zeros = [(f"data/{key}", bytes(40_000)) for key in range(50)]
    noise = ("extra/noise", np.random.default_rng(0).bytes(50_000))  # so that each alone is smaller than the file
    path = script(tmp_path / "m.pt", data, [*zeros, noise], zipfile.ZIP_DEFLATED)
    assert 50_000 < path.stat().st_size < 100_000
    assert "claims to be larger than the whole archive" in refusal(path, read_torch)
    assert len(read_torch(script(tmp_path / "stored.pt", data, zeros))) == 50


def test_a_program_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.core.unpickling.MAX_CODE", 1 << 20)
    code = [("code/__torch__.py", b"class M(Module):\n" + bytes(2 << 20))]
    path = script(tmp_path / "m.pt", doubling(1), code, zipfile.ZIP_DEFLATED)
    assert refusal(path, read_torchscript) == "its program claims more than 1048576 bytes"


def test_lists_of_parameters_that_never_end_take_no_longer_than_any_text(tmp_path):
    code = b"class M(Module):\n" + b"  __parameters__ = [\n" * 40_000
    assert read_torchscript(script(tmp_path / "m.pt", doubling(1), [("code/__torch__.py", code)])) == {}


LONG = text("x" * 100_000)
#: Calls whose arguments, a memoised tuple, take far more bytes than the call.
COPIES = [
    pytest.param(b"c_codecs\nencode\n", LONG + text("latin1"), id="bytes of a text"),
    pytest.param(b"cbuiltins\nlist\n", b"(" + b"N" * 100_000 + b"t", id="list"),
    pytest.param(b"cbuiltins\ntuple\n", b"(" + b"N" * 100_000 + b"l", id="tuple"),
    pytest.param(b"ctorch\ndevice\n", LONG + b"K\x01", id="device"),
    pytest.param(
        b"cbuiltins\nset\n", b"(" + b"".join(b"M" + struct.pack("<H", i) for i in range(5000)) + b"l", id="set"
    ),
    pytest.param(
        b"ccollections\nOrderedDict\n",
        b"}(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(5000)) + b"u",
        id="dictionary",
    ),
    pytest.param(
        b"cnumpy._core.numeric\n_frombuffer\n",
        b"B" + struct.pack("<I", 100_000) + bytes(100_000)
        + type_of(text("u1"))
        + number(100_000) + b"\x85" + text("C"),
        id="array",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), COPIES)
def test_a_value_that_is_copied_again_and_again_is_refused(tmp_path, monkeypatch, name, arguments):
    monkeypatch.setattr("regionkit.core.pickle_machine.ROOM", 4 << 20)
    start = b"\x80\x03" + name + b"q\x00(" + arguments + b"tq\x01"
    value = read_pickle(stored(tmp_path, start + b"(h\x00h\x01Rh\x00h\x01Rl."))
    assert len(value) == 2
    path = stored(tmp_path, start + b"(" + b"h\x00h\x01R" * 5000 + b"l.")
    tracemalloc.start()
    try:
        reason = "it makes far more of its values than it holds, by recalling them again and again"
        assert refusal(path) == reason
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_fields_of_a_record_that_are_copied_again_and_again_are_refused(tmp_path):
    fields = b"}(" + b"".join(text(f"{i:05}") + b"N" for i in range(20_000)) + b"uq\x00"
    path = stored(tmp_path, b"\x80\x02" + fields + b"(" + b"ca\nB\n)\x81h\x00b" * 3000 + b"l.")
    assert refusal(path, records=["a.B"]).startswith("it makes far more of its values than it holds")


def test_an_array_that_is_given_its_bytes_again_and_again_is_refused(tmp_path):
    empty = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    kind = (
        b"cnumpy\ndtype\n" + text("u1") + b"\x85R(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    state = b"(K\x01" + number(100_000) + b"\x85" + kind + b"\x89B" + struct.pack("<I", 100_000) + bytes(100_000) + b"t"
    data = b"\x80\x03" + state + b"q\x00" + b"("
    assert len(read_pickle(stored(tmp_path, data + (empty + b"h\x00b") * 2 + b"l."))) == 2
    path = stored(tmp_path, data + (empty + b"h\x00b") * 5000 + b"l.")
    assert refusal(path).startswith("it makes far more of its values than it holds")


def collisions(count):
    """Return tuples of two numbers below 64 bits which all have one hash, by the rule that Python's tuples follow."""
    p1, p2, p5, mask = 11400714785074694791, 14029467366897019727, 2870177450012600261, (1 << 64) - 1

    def lane(state, value):
        state = (state + value * p2) & mask
        return ((state << 31 | state >> 33) * p1) & mask

    target, found = lane(lane(p5, 1), 1), []
    back = (target * pow(p1, -1, 1 << 64)) & mask
    back = (back >> 31 | back << 33) & mask
    first = 0
    while len(found) < count:
        first += 1
        second = (back - lane(p5, first)) * pow(p2, -1, 1 << 64) & mask
        if second < (1 << 61) - 1:
            found.append((first, second))
    return found


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda keys: dict.fromkeys(keys), id="dictionary"),
        pytest.param(lambda keys: [{key: 1} for key in keys], id="many dictionaries"),
        pytest.param(set, id="set"),
        pytest.param(frozenset, id="frozen set"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_keys_of_one_hash_are_refused(tmp_path, wrapped, protocol):
    keys = collisions(100)
    assert len({hash(key) for key in keys}) == 1
    path = stored(tmp_path, pickle.dumps(wrapped(keys), protocol))
    assert refusal(path) == "more than 64 of its keys share a hash, which is made to take for ever"
    assert read_pickle(stored(tmp_path, pickle.dumps(wrapped(keys[:50]), protocol))) == wrapped(keys[:50])


def test_whole_numbers_beyond_64_bits_are_no_keys(tmp_path):
    prime = (1 << 61) - 1  # multiples of it all have the hash 0
    for value in ({prime * 1000: 1}, {("a", prime * 1000): 1}, {prime * 1000}):
        path = stored(tmp_path, pickle.dumps(value))
        assert refusal(path) == "it uses a whole number of more than 64 bits as a key"
    for value in ({2**63 - 1: 1, -(2**63): 2}, {2**64 - 1}):
        assert read_pickle(stored(tmp_path, pickle.dumps(value))) == value


def test_a_tuple_of_many_parts_is_no_key(tmp_path):
    path = stored(tmp_path, pickle.dumps({tuple(range(65)): 1}))
    assert refusal(path) == "it uses a tuple of 65 parts as a key"


def array_of(dtype, shape=(0,), data=b""):
    kind = type_of(dtype)
    sizes = b"(" + b"".join(number(size) for size in shape) + b"t"
    return (
        b"\x80\x03cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01" + sizes + kind
        + b"\x89B" + struct.pack("<I", len(data)) + data + b"tb."
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["S0", "U0", "<U0", "|S00", "i0"])
def test_a_type_of_values_without_a_size_is_refused(tmp_path, dtype):
    path = stored(tmp_path, array_of(text(dtype), (10**9,)))
    assert refusal(path) == f"it holds a numpy array of the type '{dtype}', whose values have no size"


def test_types_of_ten_bytes_are_read(tmp_path):
    assert read_pickle(stored(tmp_path, pickle.dumps(np.array(["0123456789"])))).tolist() == ["0123456789"]


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        pytest.param(text("V0"), "it holds a numpy array of the type 'V0', which is not", id="void"),
        pytest.param(b"]" * 5000 + b"a" * 4999, "it holds a numpy array of the type <list>, which is not", id="deep"),
        pytest.param(text("i" * 5000), f"it holds a numpy array of the type '{'i' * 60}...', which is not", id="long"),
        pytest.param(number(10**5000), "it holds a numpy array of the type <int>, which is not", id="large number"),
    ],
)
def test_a_type_that_is_none_is_told_in_few_words(tmp_path, dtype, reason):
    assert refusal(stored(tmp_path, array_of(dtype))).startswith(reason)


@pytest.mark.parametrize("shape", [(10**9, 0), (0, 2**40), (0, 2000, 2000)])
def test_an_empty_array_that_would_be_a_long_list_is_refused(tmp_path, shape):
    path = stored(tmp_path, array_of(text("u1"), shape))
    assert refusal(path) == f"an empty array claims the shape {shape}"


@pytest.mark.parametrize("shape", [(2**63,), (1,) * 65])
def test_a_shape_that_no_array_has_is_refused(tmp_path, shape):
    path = stored(tmp_path, array_of(text("u1"), shape, b"x"))
    assert refusal(path) == "a shape is not a tuple of whole numbers"


def test_names_of_types_are_short_and_shown_so_that_a_terminal_can_print_them(tmp_path):
    long, odd = b"c" + b"a" * 5000 + b"\nB\n.", b"\x80\x04" + text("a\x1b[31m\n") + text("b") + b"\x93."
    assert refusal(stored(tmp_path, long)) == f"it names a type of more than 500 letters: {'a' * 60}.B"
    message = refusal(stored(tmp_path, odd))
    assert message.endswith("the pickle wants a\\x1b[31m\\n.b, which is not on the list of harmless types; "
                            "nothing was run")  # fmt: skip
    lone = b"\x80\x04X\x03\x00\x00\x00\xed\xa0\x80" + text("b") + b"\x93."
    assert "the pickle wants \\ud800.b, which" in refusal(stored(tmp_path, lone))


def legacy(value=None):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def holding(data):
    """Pickle a storage of such bytes."""
    return b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(data)) + data + b"\x85R."


def bomb():
    """Write what torch's own reader makes a hundred megabytes of."""
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    copies = b"\x80\x02c_codecs\nencode\nq\x00" + LONG + text("latin1") + b"\x86q\x01(" + b"h\x00h\x01R" * 1000 + b"l."
    return b"".join(parts) + copies


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))
        archive.writestr("archive/data/0", bytes(10 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(bomb(), "a torch storage cannot be read: its bytes: the pickle wants _codecs.encode", id="copies"),
        pytest.param(zipped(), "a torch storage cannot be read: its bytes: the pickle is damaged", id="archive"),
        pytest.param(legacy(torch.ones(3)), "a torch storage cannot be read: its bytes: the pickle wants", id="tensor"),
        pytest.param(legacy(3), "a torch storage cannot be read: its bytes are not those of one storage", id="number"),
    ],
)
def test_the_bytes_of_a_storage_are_read_as_carefully_as_the_pickle_around_them(tmp_path, data, reason):
    tracemalloc.start()
    try:
        assert refusal(stored(tmp_path, holding(data))).startswith(reason)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_a_storage_with_other_bytes_than_it_promises_is_refused(tmp_path):
    data = pickle.dumps(torch.arange(3.0), 3)
    assert torch.equal(read_pickle(stored(tmp_path, data)), torch.arange(3.0))
    more = data.replace(b"K\x03Nt", b"K\x04Nt")
    assert more != data
    assert refusal(stored(tmp_path, more)) == "a torch storage of 4 values has 12 bytes"


def written(tmp_path, value):
    with pytest.raises(WeightsError) as caught:
        plain(read_pickle(stored(tmp_path, pickle.dumps(value))), "x.pickle")
    assert len(caught.value.message) < 1000
    return caught.value.message.removeprefix("x.pickle: it cannot be written as JSON: ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param([10**5000], "it holds a whole number of more than 13000 bits", id="number of 5,000 digits"),
        pytest.param([1 + 2j], "it holds a complex", id="complex number"),
        pytest.param(np.array([1j]), "it holds a complex", id="complex array"),
        pytest.param({1j, 2.0}, "it holds a complex", id="complex in a set"),
        pytest.param(np.array([b"ab"]), "it holds bytes that are no text", id="array of bytes"),
        pytest.param({b"b", b"a"}, "it holds bytes that are no text", id="set of bytes"),
        pytest.param(
            {"x" * 1000: 1, b"": 2, 1: 3, "1": 4}, "two keys are both written '1'", id="same key beside a long one"
        ),
    ],
)
def test_what_json_has_no_word_for_is_refused_by_name(tmp_path, value, reason):
    assert written(tmp_path, value) == reason


def test_sets_of_unlike_members_are_sorted(tmp_path):
    value = {(1, "a"), ("a", 1), (None, 2), (1, 2), 10, 9, 1.5, "b", "a'", None, True}
    got = plain(read_pickle(stored(tmp_path, pickle.dumps(value))), "x.pickle")
    assert got == [None, True, 1.5, 9, 10, "a'", "b", ["a", 1], [1, "a"], [1, 2], [None, 2]]


def test_a_text_that_is_recalled_often_is_counted_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.core.unpickling.MAX_LETTERS", 10_000)
    assert written(tmp_path, ["x" * 1000] * 11) == "its texts have more than 10000 letters"
    assert written(tmp_path, [{"y" * 6000: 1}, {"z" * 6000: 1}]) == "its texts have more than 10000 letters"
    assert written(tmp_path, [10**3000] * 11) == "its texts have more than 10000 letters"


def test_numbers_of_an_array_are_counted_before_they_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.core.unpickling.MAX_VALUES", 1000)
    assert written(tmp_path, np.zeros(2000)) == "it holds more than 1000 values"
    array = np.zeros(400)
    assert written(tmp_path, [array, array, array]) == "it holds more than 1000 values"
    assert plain(np.zeros((2, 3)), "x") == [[0.0] * 3] * 2
