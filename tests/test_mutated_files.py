"""A thousand damaged copies of the repository's own YAML files: a sentence at a line, never a traceback, in no time."""

from __future__ import annotations

import random
import re
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regionkit.registry.cli import root
from regionkit.registry.registry import get_registry
from regionkit.registry.validation import check_file

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = [
    *sorted(path for path in (REPOSITORY / "examples").rglob("*.yaml") if "external_plugin" not in path.parts),
    *sorted((REPOSITORY / "plugins").rglob("presets/*.yaml")),
]
#: Presets, by the ends of their paths: an editable install reaches them by another way.
PRESETS = [f"{path.parent.parent.name}/presets/{path.name}" for path in FILES if path.parent.name == "presets"]
#: Ablations on two scenes and one seed, so that what is measured is the reading.
TEXTS = [
    re.sub(r"(?m)^limit: \d+", "limit: 2", re.sub(r"(?m)^seeds: .*", "seeds: [0]", path.read_text(encoding="utf-8")))
    for path in FILES
]
#: Things that have hurt readers of YAML.
POISON = (
    "${oc.env:HOME}",
    "!!python/object/apply:os.system ['true']",
    "_target_: os.system",
    "&a [*a]",
    "*a",
    "&a",
    "<<: *a",
    "\t",
    "\0",
    "\ufeff",
    "\u2028",
    "\x85",
    "1e400",
    "-.inf",
    ".nan",
    "9" * 400,
    "0o17",
    "0x1f",
    "1:30",
    "2020-01-01",
    "~",
    "null",
    "yes",
    "? [a]\n: b\n",
    "[" * 200,
    "{" * 200,
    "]",
    "}",
    "|",
    ">",
    "'",
    '"',
    '"\\ud800"',
    "%YAML 9\n",
    "---\n",
    "...\n",
    "- ",
    ": ",
    ",",
    "#",
    "@",
    "`",
    "\r",
    "{name: }",
    "[[[[]]]]",
    "plugins: [./x.py]\n",
    "extends: ./\n",
    "version: 2",
    "base: x.yaml\n",
    "weights: 'hub://a/b'\n",
)
ONE_MANY = settings(max_examples=125, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that is damaged; every module that validation imports is there before time is measured."""
    path = tmp_path_factory.mktemp("mutated") / "x.yaml"
    for source, text in zip(FILES, TEXTS, strict=True):
        for other in re.findall(r"(?m)^extends: (\S+\.yaml)$", text):  # what it extends lies beside it
            shutil.copy(source.with_name(other), path.with_name(other))
        path.write_text(text, encoding="utf-8")
        check_file(path)
    return path


def check(path: Path, content: bytes) -> str:
    """Validate a file of this content and return what was said; it must be an exit status, a sentence, and quick."""
    path.write_bytes(content)
    start = time.process_time()
    result = CliRunner().invoke(root, ["validate", str(path)])
    seconds = time.process_time() - start
    assert result.exception is None or isinstance(result.exception, SystemExit), (content, result.exception)
    assert result.exit_code in (0, 2), (content, result.output)
    assert "Traceback" not in result.output
    # Mostly under a second on an idle core; an ablation that lost its limit draws all scenes of its data sets.
    assert seconds < 20, (seconds, content)
    if result.exit_code == 2:
        places = re.findall(rf"{re.escape(str(path))}(?::(\d+))?: \S", result.output)
        # A preset that extends another one may be told of a fault in that file.
        elsewhere = any(f"{other}:" in result.output for other in PRESETS)
        assert places or elsewhere, (content, result.output)
        lines = len(re.split(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", content))
        assert all(1 <= int(line) <= lines for line in places if line), (content, result.output)
    else:
        assert "a good " in result.output
    return result.output


@pytest.mark.parametrize("chunk", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_cut_and_repeated_bytes(chunk: int, place: Path) -> None:
    @ONE_MANY
    @given(st.sampled_from(TEXTS[chunk::2]), st.data())
    def run(text: str, data: st.DataObject) -> None:
        content = bytearray(text.encode())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, max(len(content) - 1, 0)))
            match data.draw(st.sampled_from(("flip", "cut", "drop", "repeat", "insert"))):
                case "flip" if content:
                    content[start] = data.draw(st.integers(0, 255))
                case "cut":
                    del content[start:]
                case "drop":
                    del content[start : start + data.draw(st.integers(1, 40))]
                case "repeat":
                    content[start:start] = content[start : start + 40] * data.draw(st.integers(1, 5))
                case _:
                    content[start:start] = data.draw(st.binary(max_size=8))
        check(place, bytes(content))

    run()


@pytest.mark.parametrize("chunk", [0, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in (1, 2))])
def test_poison_put_anywhere(chunk: int, place: Path) -> None:
    @ONE_MANY
    @given(st.sampled_from(TEXTS[chunk::3]), st.data())
    def run(text: str, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            edges = [0, len(text), *(match.start() for match in re.finditer(r"[\s:,{}\[\]]", text))]
            at = data.draw(st.sampled_from(edges))
            end = at + data.draw(st.sampled_from((0, 0, 1, 5, 20)))
            text = text[:at] + data.draw(st.sampled_from(POISON)) + text[end:]
        check(place, text.encode())

    run()


@pytest.mark.parametrize("chunk", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_lines_moved_removed_doubled_and_indented(chunk: int, place: Path) -> None:
    @ONE_MANY
    @given(st.sampled_from(TEXTS[chunk::2]), st.integers(0, 2**32), st.integers(1, 3))
    def run(text: str, seed: int, times: int) -> None:
        draw, lines = random.Random(seed), text.splitlines(keepends=True)
        for _ in range(times):
            at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
            change = draw.choice(("move", "drop", "double", "indent", "outdent", "swap values"))
            if change == "move":
                lines.insert(to, lines.pop(at))
            elif change == "drop" and len(lines) > 1:
                lines.pop(at)
            elif change == "double":
                lines.insert(to, lines[at])
            elif change == "indent":
                lines[at] = " " * draw.randrange(1, 5) + lines[at]
            elif change == "outdent":
                lines[at] = lines[at].lstrip(" ")
            else:
                (key, colon, _), (_, _, value) = lines[at].partition(":"), lines[to].partition(":")
                lines[at] = f"{key}{colon}{value or chr(10)}"
        check(place, "".join(lines).encode())

    run()


def _keys() -> list[tuple[int, int, int, str]]:
    """Return file, line (from 0), column and word of every key.

    The words that claims and summaries hold are left out, and so are the names of variants, which are their author's.
    """
    found = []
    for number, text in enumerate(TEXTS):
        variants = False
        for index, line in enumerate(text.splitlines()):
            body = re.sub(r'#.*|"[^"]*"', lambda match: "\1" * len(match[0]), line)
            variants = (variants or body.startswith("variants")) and (body[:1] in " v" or not body.strip())
            if body.startswith("summary"):
                continue
            if variants and re.match(r"  \S", body):
                body = re.sub(r"^  [\w-]+", lambda match: "\1" * len(match[0]), body)
            found += [
                (number, index, match.start(), match[0]) for match in re.finditer(r"[a-z_]{4,}(?=:(?:\s|$))", body)
            ]
    return found


KEYS = _keys()


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(KEYS), st.data())
def test_a_misspelt_key_is_told_at_its_line_with_what_was_meant(
    place: Path, key: tuple[int, int, int, str], data: st.DataObject
) -> None:
    number, index, column, word = key
    cut = data.draw(st.integers(1, len(word) - 2))
    wrong = data.draw(st.sampled_from((word[:cut] + word[cut + 1 :], word[:cut] + word[cut] + word[cut:])))
    lines = TEXTS[number].splitlines(keepends=True)
    lines[index] = lines[index][:column] + wrong + lines[index][column + len(word) :]
    output = check(place, "".join(lines).encode())
    told = [line for line in output.splitlines() if f"{place}:{index + 1}: " in line and wrong in line]
    assert told, ("".join(lines), output)
    if word != "recipe":  # without the key that says it is a recipe, the file is read as a pipeline
        assert word in output


def test_there_are_files_of_every_kind() -> None:
    readers = {get_registry().reader(re.findall(r"^(\w+):", text, re.MULTILINE)) for text in TEXTS}
    assert {reader.name if reader else "" for reader in readers} == {"", "train", "ablate"}
    assert len(KEYS) > 50
