import gzip

import pytest

from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner import vocabulary
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


@pytest.mark.parametrize("name", ["merges.txt.gz", "merges.txt"])
def test_a_merges_file_that_is_far_too_large_is_refused_before_it_is_unpacked_whole(tmp_path, monkeypatch, name):
    monkeypatch.setattr(vocabulary, "_MAX_MERGES", 1000)
    text = b"#version: 0.2\n" + b"a b\n" * 1000
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(WeightsError) as caught:
        ClipTokenizer(tmp_path / name)
    assert caught.value.message == f"{tmp_path / name}: this is no merges file: it has more than 1000 bytes"


def test_no_more_of_a_merges_file_is_unpacked_than_it_may_have(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(vocabulary, "_MAX_MERGES", 1 << 20)
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress(bytes(32 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="this is no merges file"):
            ClipTokenizer(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_merges_are_read_packed_and_unpacked(tmp_path):
    text = b"#version: 0.2\na b\nc d\n"
    (tmp_path / "merges.txt").write_bytes(text)
    (tmp_path / "merges.txt.gz").write_bytes(gzip.compress(text))
    assert ClipTokenizer(tmp_path / "merges.txt").merges == [("a", "b"), ("c", "d")]
    assert ClipTokenizer(tmp_path / "merges.txt.gz").merges == [("a", "b"), ("c", "d")]
