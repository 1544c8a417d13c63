"""The paper's tables as data: every number against the paper's text, every preset, and the table in the docs."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from regionkit.core.errors import ConfigError
from regionkit.core.spec import PARTS, RELEASED
from regionkit.registry.cli import root
from regionkit.registry.document import Document, read_pipeline
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.published.matching import options_of
from regionkit.registry.published.status import Statuses
from regionkit.registry.published.tables import Row, Table, read_tables
from regionkit.registry.registry import get_registry
from regionkit.registry.weights.absent import absent_weights, problem_of

ROOT = Path(__file__).parents[3]
PAPER = ROOT.parent / "shared" / "papers" / "patchioner.md"
#: Rows that each table prints, counted in the paper.
ROWS = {"1": 8, "2": 18, "3": 7, "4": 5, "5": 5, "6": 11, "7": 21, "8": 13, "9": 15, "10": 3, "11": 2}
#: Numbers that each table prints, dashes left out.
NUMBERS = {"1": 72, "2": 242, "3": 63, "4": 45, "5": 45, "6": 66, "7": 147, "8": 78, "9": 90, "10": 78, "11": 40}
#: What the columns of a table are, in the paper's words: task, data set, and the symbols over the numbers.
FOUR = "trace:coco=C,P dense:visual-genome=C,P box-set:coco-entities=C,P image:coco=C,P,CLIP-S"
EIGHT = (
    "trace:coco=C,P trace:flickr30k=C,P dense:visual-genome=mAP,C,P dense:vg-coco=mAP,C,P box-set:coco-entities=C,P "
    "box-set:flickr30k-entities=C,P image:coco=C,P,CLIP-S image:flickr30k=C,P,CLIP-S"
)
COLUMNS = {
    **dict.fromkeys(("1", "3", "4", "5"), FOUR),
    **dict.fromkeys(("2", "11"), EIGHT),
    "6": "trace:coco=B,M,R,C,S,P",
    "7": "dense:visual-genome=mAP,M,B,R,C,S,P",
    "8": "box-set:coco-entities=B,M,R,C,S,P",
    "9": "image:coco=B,M,R,C,S,P",
    "10": "trace:coco=B,M,R,C,S,P dense:visual-genome=mAP,M,B,R,C,S,P box-set:coco-entities=B,M,R,C,S,P "
    "image:coco=B,M,R,C,S,P,CLIP-S",
}
OURS = {
    "C": "cider-d", "P": "ref-pac-s", "CLIP-S": "clipscore", "mAP": "dense-map", "B": "bleu-4", "M": "meteor",
    "R": "rouge-l", "S": "spice",
}  # fmt: skip
#: Columns of words before the numbers.
WORDS = {"1": 3, "3": 2, "4": 2, **dict.fromkeys(("6", "7", "8", "9"), 5)}


def tables() -> dict[str, Table]:
    found, problems = read_tables()
    assert not problems
    return {table.number: table for table in found if table.paper == "patchioner"}


@functools.cache
def pipeline(name: str) -> Document:
    """Read a preset; many tests look at all of them."""
    return read_pipeline(name)


def all_rows() -> list[Row]:
    return [row for table in tables().values() for row in table.rows]


# ---------------------------------------------------------------- against the paper


def printed() -> dict[str, list[tuple[str, list[str]]]]:
    """Read the tables of the paper's text: label and cells of each row with a number, by the table's number."""
    blocks: list[tuple[int, list[list[str]]]] = []
    lines = PAPER.read_text().split("\n")
    for at, line in enumerate(lines):
        if "\t" not in line:
            continue
        if not blocks or "\t" not in lines[at - 1]:
            blocks.append((at, []))
        blocks[-1][1].append([re.sub(r"<[^>]*>|[°◇]", "", cell).strip() for cell in line.split("\t")])
    starts = {
        number: next(at for at, line in enumerate(lines) if line.startswith(f"Table {number}.")) for number in ROWS
    }
    found = {}
    for number, at in starts.items():
        # The caption stands above the table or below it.
        _, cells = min(blocks, key=lambda block: min(abs(block[0] - at), abs(block[0] + len(block[1]) - at)))
        rows = [(row[0], row[WORDS.get(number, 1) :]) for row in cells]
        found[number] = [(label, row) for label, row in rows if any(re.fullmatch(r"\d+(\.\d+)?", one) for one in row)]
    return found


def asked(number: str) -> list[tuple[str, str, str]]:
    """Return task, data set and our metric of each column."""
    groups = [re.split("[:=]", word) for word in COLUMNS[number].split()]
    return [(task, name, OURS[symbol]) for task, name, symbols in groups for symbol in symbols.split(",")]


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
@pytest.mark.parametrize("number", list(ROWS))
def test_every_number_is_the_one_that_the_paper_prints(number):
    rows, table = printed()[number], tables()[number]
    assert len(rows) == len(table.rows) == ROWS[number]
    columns = asked(number)
    for (label, cells), row in zip(rows, table.rows, strict=True):
        if number == "2" and cells[:16] == ["-"] * 16:
            cells = [*cells[2:], "-"]  # the text has these six rows two columns too far to the right
        cells = cells[: len(columns)]
        held = {
            (value.data.task, value.data.options.get("source", value.data.name), value.metric.column): value.printed
            for value in row.values
        }
        wanted = {column: float(cell) for column, cell in zip(columns, cells, strict=True) if cell not in ("-", "")}
        assert held == wanted, (number, label)
        plain = re.sub(r"[^a-z0-9@]", "", re.sub(r"\\simeq|†", "", label).lower())
        assert re.sub(r"[^a-z0-9@]", "", row.label.lower()) == plain


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_weightings_and_resolutions_are_those_of_the_rows_words():
    """Tables 6 to 9 say in words what a row is; its preset does that."""
    lines = [line.split("\t") for line in PAPER.read_text().split("\n") if "\t" in line]
    words = [cells for cells in lines if len(cells) in (11, 12) and re.match(r".*@ ?\d+", cells[0])]
    rows = [row for number in ("6", "7", "8", "9") for row in tables()[number].rows]
    assert len(words) == len(rows) == 60
    for (label, patches, backbone, reads, weighting, *_), row in zip(words, rows, strict=True):
        parts = options_of(pipeline(row.presets[""]).data)
        assert parts is not None, row.presets
        model, encoder = parts["backbone"], parts["region_encoder"]
        assert model["resolution"] == int(re.search(r"@ ?(\d+)", label)[1])
        assert (model["name"], model.get("model")) == {
            "CLIP B32": ("clip", "vit-b32"), "CLIP B16": ("clip", "vit-b16"), "DINOv2 B14": ("dinov2-talk2dino", None),
        }[backbone]  # fmt: skip
        side = {"CLIP B32": 32, "CLIP B16": 16, "DINOv2 B14": 14}[backbone]
        assert model["resolution"] // side == int(patches)
        if "Crop" in label:
            assert (encoder["name"], encoder["token"]) == ("crop", "cls")
        else:
            told = {"central patch": "central", "-": "cls"}.get(weighting, weighting)
            assert (encoder["name"], encoder["weighting"]) == ("patch-pool", told)
        assert (reads == "CLS") == ("Crop" in label or weighting == "-")
        decoder = next(name for name in ("DeCap", "ViECap", "MeaCap") if name in label).lower()
        assert parts["decoder"]["name"] == decoder
        assert (parts["bridge"].get("bank") == "coco-with-test-captions") == ("GT Memory" in label)


def test_rows_and_numbers_are_counted():
    assert {number: len(table.rows) for number, table in tables().items()} == ROWS
    assert {number: sum(len(row.values) for row in table.rows) for number, table in tables().items()} == NUMBERS
    assert sum(ROWS.values()) == 108


def test_scales_are_those_of_the_tables():
    """Ours times the scale is of the size that is printed: CIDEr-D of 1 is 100, mAP in tables 7 and 10 a share."""
    scales = {
        (table.number, value.metric.column): value.metric.scale
        for table in tables().values()
        for row in table.rows
        for value in row.values
    }
    assert {key for key, scale in scales.items() if scale != 100} == {("7", "dense-map"), ("10", "dense-map")}
    shares = [v.printed for row in all_rows() for v in row.values if v.metric.column == "dense-map"]
    assert all(value < 1 or value > 10 for value in shares)
    likeness = {v.metric.options["variant"] for row in all_rows() for v in row.values if v.metric.name == "ref-pac-s"}
    assert likeness == {"patchioner"}


# ---------------------------------------------------------------- presets


def test_every_preset_is_a_row_or_what_rows_build_on():
    folder = Path(__file__).parents[3] / "plugins" / "patchioner" / "presets"
    presets = {path.stem for path in folder.glob("*.yaml")}
    of_rows = {name for row in all_rows() for name in row.presets.values()}
    assert of_rows <= presets
    assert presets - of_rows == {"patchioner-clip-b16", "patchioner-clip-b32"}
    for row in all_rows():
        tasks = {value.data.task for value in row.values}
        assert tasks <= set(row.presets) or set(row.presets) <= {""}
        assert set(row.presets) <= {*tasks, ""}


def test_no_two_presets_are_the_same_pipeline():
    """A row that is another one's pipeline has no second file."""
    names = [name for name in get_registry().presets if name.startswith("patchioner-")]
    told = Counter(str(options_of(pipeline(name).data)) for name in names)
    assert max(told.values()) == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "plugins/patchioner/presets").glob("*.yaml")))
def test_parts_of_every_preset_fit_together(name):
    """Without weights, and nothing but weights is missing: untrained, the whole of it plans."""
    data = pipeline(name).data
    plain = {kind: dict(data[kind]) for kind in PARTS}
    parts = options_of(data)
    assert parts is not None
    for kind in PARTS:
        if "weights" in parts[kind]:
            plain[kind]["weights"] = "none"
        if "bank" in parts[kind]:
            plain[kind].pop("bank", None)
        plain[kind] = {option: value for option, value in plain[kind].items() if value != RELEASED}
    try:
        plan_pipeline({key: value for key, value in data.items() if key not in PARTS} | plain)
    except ConfigError as error:
        faults = [problem.message for problem in error.problems]
        assert all("bank" in fault for fault in faults), faults


def test_every_row_has_a_preset_and_two_say_that_theirs_is_a_part():
    """Of EntroCap and MERCap no more is public than their abstracts."""
    assert all(row.presets for row in all_rows())
    parts = {row.label: row for row in all_rows() if row.note.startswith("in part: ")}
    assert set(parts) == {"EntroCap [63]", "MERCap [67]"}
    for row in parts.values():
        (name,) = row.presets.values()
        assert ", in part: " in pipeline(name).data["summary"]
        assert "is not public" in row.note


def test_recipes_of_rows_are_there():
    recipes = {recipe for row in all_rows() for recipe in row.train}
    assert recipes
    assert all((ROOT / recipe).is_file() for recipe in recipes)


# ---------------------------------------------------------------- commands and docs


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """No weights, no data, no cache of the hub."""
    for variable in ("REGIONKIT_DATA", "REGIONKIT_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_every_preset_tells_of_each_missing_file_where_it_is_had_its_licence_and_its_size(nothing_here):
    for name in (name for name in get_registry().presets if name.startswith("patchioner-")):
        document = pipeline(name)
        absent = absent_weights(document.data)
        assert absent, name
        problem = problem_of(absent, name, document)
        assert problem.message == f"{name} cannot run: {len(absent)} files of its weights are not here"
        assert f"get them with: toolkit weights pull {name}" in problem.hints
        for one in absent:
            words = str(one)
            assert words in problem.hints
            if one.made or one.place:
                assert "made with toolkit " in words or f"--set {one.place}=file:PATH" in words
            else:
                assert one.files
                assert one.source
                assert one.license
                assert f"; licence {one.license}, {one.size or 'size not known'}" in words


def published(*arguments: str) -> str:
    result = CliRunner().invoke(root, ["published", "--paper", "patchioner", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_no_row_runs_without_weights_and_data(nothing_here):
    statuses = Statuses()
    words = Counter(statuses.of(row).word for row in all_rows())
    assert words == {"awaits weights and data": 108}


def test_the_table_in_the_docs_is_what_the_command_prints(nothing_here):
    """Made with: toolkit published --paper patchioner --format md."""
    assert published("--format", "md").strip() in (ROOT / "docs" / "patchioner.md").read_text()


def test_the_command_tells_rows_with_their_numbers():
    text = published("--table", "11")
    assert "patchioner, table 11: Learned and fixed aggregation" in text
    assert "  Learned Aggregation (T2D + Noise)\n    trace@trace-captions/test(source=coco): cider-d 73.9," in text
    assert "table 10" not in published("--preset", "patchioner-talk2dino-learned")


def test_show_tells_all_that_is_not_here_as_run_does(nothing_here):
    text = CliRunner().invoke(root, ["show", "patchioner-mercap"]).output
    assert "patchioner-mercap cannot run: 4 files of its weights are not here" in text
    assert "decoder viecap, model: coco_prefix-*.pt" in text
    assert "get them with: toolkit weights pull patchioner-mercap" in text


def test_show_tells_the_published_rows():
    text = CliRunner().invoke(root, ["show", "patchioner-talk2dino-attention"]).output
    assert "  published: patchioner, table 2, row 'T2D + Mem. (≈ DeCap)'\n    image@coco/test: cider-d 88.5" in text
    assert "trace@trace-captions/test(source=flickr30k)" not in text  # those are of the preset without attention
