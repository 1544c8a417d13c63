"""References to weights: what they mean, and what is said of those that mean nothing."""

import hashlib

import pytest

from regionkit.core.errors import WeightsError
from regionkit.registry.weights.references import Reference, is_folder, locate, parse_reference

param = pytest.param
HEX = "0123456789abcdef" * 4
COMMIT = "a" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts a file into a cache of the hub, laid out as its client does."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name: str, file: str, content: bytes) -> None:
        root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text(COMMIT)
        path = root / "snapshots" / COMMIT / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return put


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        param("file:a/b.pt", Reference("file", "a/b.pt"), id="file"),
        param("pkg:my_pkg/w/x.safetensors", Reference("pkg", "my_pkg", "w/x.safetensors"), id="package"),
        param("hub://org/name", Reference("hub", "org/name"), id="repository"),
        param("hub://org/name@v1.0/sub/x.pt", Reference("hub", "org/name", "sub/x.pt", "v1.0"), id="hub-file"),
        param("hub://org/name/sub/dir", Reference("hub", "org/name", "sub/dir"), id="hub-folder"),
        param(f"file:x.pt#sha256={HEX}", Reference("file", "x.pt", sha256=HEX), id="hash"),
    ],
)
def test_forms(text, wanted):
    assert parse_reference(text) == wanted
    assert str(parse_reference(text)) == text.partition("#")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        param("ftp:x", "weights 'ftp:x' cannot be read: 'ftp:' is not supported\n  write file:PATH", id="scheme"),
        param("file:", "'file:' is not supported", id="nothing"),
        param("hub://name", "name no repository\n  write hub://ORG/NAME", id="no-organisation"),
        param("hub://org/name/../../etc/passwd", "name no repository", id="out-of-the-repository"),
        param("hub://org/name//etc/passwd", "name no repository", id="absolute-in-the-repository"),
        param("file:x#sha256=12", "what follows # must be sha256= and 64 hexadecimal digits", id="short-hash"),
        param("file:x#md5=12", "what follows # must be sha256= and 64 hexadecimal digits", id="other-hash"),
    ],
)
def test_what_is_no_reference_is_refused(text, message):
    with pytest.raises(WeightsError) as caught:
        parse_reference(text)
    assert message in str(caught.value)


def test_a_wrong_hash_is_refused_with_both(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert locate(f"file:{path}#sha256={right.upper()}") == path
    with pytest.raises(WeightsError) as caught:
        locate(f"file:{path}#sha256={HEX}")
    assert "has another hash than was asked for" in str(caught.value)
    assert f"wanted sha256 {HEX}" in str(caught.value)
    assert f"found  sha256 {right}" in str(caught.value)
    with pytest.raises(WeightsError, match="is a folder, and a hash can be pinned for a file only"):
        locate(f"file:{tmp_path}#sha256={HEX}")


def test_a_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "decoder.pt").write_bytes(b"")
    with pytest.raises(WeightsError) as caught:
        locate(f"file:{tmp_path}/decodr.pt")
    assert "there is no weight file" in str(caught.value)
    assert "did you mean: decoder.pt" in str(caught.value)


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w").mkdir()
    assert locate("file:~/w") == tmp_path / "w"
    assert is_folder("file:~/w")
    assert not is_folder("a-name-of-the-index")


def test_a_cached_repository_is_found_without_a_network(hub):
    hub("org/name", "sub/x.pt", b"weights")
    assert locate("hub://org/name").name == COMMIT
    assert locate("hub://org/name/sub/x.pt").read_bytes() == b"weights"
    assert [path.name for path in locate("hub://org/name/sub").iterdir()] == ["x.pt"]
    assert locate("hub://org/name/sub/") == locate("hub://org/name/sub")
    assert is_folder("hub://org/name")


@pytest.mark.parametrize("offline", [param(False, id="online"), param(True, id="offline")])
def test_what_is_not_cached_is_never_fetched_by_reading_a_file(hub, offline, monkeypatch):
    monkeypatch.setenv("REGIONKIT_OFFLINE", "1" if offline else "0")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    hub("org/name", "x.pt", b"weights")
    for text in ("hub://org/other", "hub://org/name/y.pt", "hub://org/name@v2"):
        with pytest.raises(WeightsError) as caught:
            locate(text)
        first, *hints = str(caught.value).splitlines()
        assert first == f"{text} is not in the cache of the hub" + (", and this is --offline" if offline else "")
        assert f"  fetch it first: toolkit weights pull {text}" in hints
