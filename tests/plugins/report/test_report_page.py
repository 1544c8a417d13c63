"""The page: complete, in its order, the same every time, and safe whatever the data hold."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_cases import DISCLAIMER, HOSTILE, TASKS, make_run

from regionkit.core.errors import DataError
from regionkit.plugins.report import figures, regionkit_stage_finished
from regionkit.plugins.report import page as page_module
from regionkit.plugins.report.pictures import MOST_BYTES, SIDE
from regionkit.plugins.report.writing import write_report


class Outline(HTMLParser):
    """Collects what matters of a page: tags that are opened, their attributes, and the text."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open[-3:])

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def read(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def edit(folder, change):
    path = folder / "analysis.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")


def test_everything_is_there_in_order(finished):
    page = Outline(read(finished))
    assert page.open == []
    order = [
        "by-hand",
        "Which part does what?",
        "How to read this",
        "Of the tests that must hold, 1 of 2 hold. Of those that are only recorded, 1 of 1 show. Undecided: 1.",
        "backbone=mini-dense > backbone=mini-clip where bridge=memory",
        "+0.950",
        "[+0.700, +1.200]",
        "+1.25",
        "< 0.001",
        "p corrected: Holm's procedure over the 3 tests of the claims.",
        DISCLAIMER,
        "[3.775, 4.325]",
        "Not judged: clip-score on box@mini: needs a backbone",
        "its tokens do not fit the decoder",
        "1 combination left out by the file.",
        "Main effects on cider-d, box@mini",
        "Changes of the best pipeline by cider-d, box@mini",
        "backbone × region_encoder: cider-d, box@mini",
        "cider-d against time, box@mini",
        "cider-d by size of the region, box@mini",
        "cider-d under jitter, box@mini",
        "16 of 16 samples: all that there are.",
        "Largest disagreement",
        "toolkit ablate by-hand.yaml --out runs/by-hand",
        "torch 2.6.0",
        "mini-dense.safetensors",
        "0e5363e8",
        "Apache-2.0",
        "backbone: [mini-dense, mini-clip]",
    ]
    at = 0
    for words in order:
        found = page.text.find(words, at)
        assert found >= 0, f"{words!r} is not on the page, or not after what comes before it"
        at = found


def test_the_page_needs_nothing_else_and_lets_nothing_out(finished):
    text = read(finished)
    page = Outline(text)
    (policy,) = [one["content"] for one in page.named("meta") if "http-equiv" in one]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    sources = [one[key] for _, one in page.tags for key in ("src", "href", "action", "data", "srcset") if key in one]
    assert sources
    assert all(one.startswith(("data:", "#")) for one in sources)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", text)
    assert not [key for _, one in page.tags for key in one if key.startswith("on")]


def test_the_script_is_small(finished):
    script = re.search(r"<script>(.*?)</script>", read(finished), re.DOTALL).group(1)
    assert len(script.splitlines()) < 250


def test_plots_have_words_and_tables(finished):
    page = Outline(read(finished))
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    drawings = page.named("svg")
    assert len(drawings) == len(page.named("figure")) + 3
    for one in drawings:
        assert all(name in ids for name in one["aria-labelledby"].split())
    assert len(page.named("figure")) == len(list((finished / "report").glob("*.svg"))) == 32


def test_pictures_are_small_and_show_the_region(finished):
    found = [one for one in Outline(read(finished)).named("img")]
    assert len(found) == 16
    contents = [base64.b64decode(one["src"].removeprefix("data:image/webp;base64,")) for one in found]
    assert sum(map(len, contents)) < MOST_BYTES
    for one, content in zip(found, contents, strict=True):
        picture = Image.open(io.BytesIO(content))
        assert max(picture.size) == SIDE
        pixels = np.asarray(picture.convert("RGB"))
        assert one["alt"].endswith(("region drawn: box", "region drawn: trace"))
        # The frame of the region is orange: at least some pixels of the drawing are.
        assert ((pixels[..., 0] > 200) & (pixels[..., 1] > 120) & (pixels[..., 1] < 190) & (pixels[..., 2] < 90)).any()


def test_the_same_folder_gives_the_same_bytes(finished, run):
    pytest.importorskip("reportlab")
    first = {path.name: path.read_bytes() for path in write_report(run, pdf=True)}
    second = {path.name: path.read_bytes() for path in write_report(run, pdf=True)}
    assert first == second
    assert first["report.html"] == (finished / "report.html").read_bytes()
    assert sum(name.endswith(".pdf") for name in first) == 32


def test_best_and_second_best_with_ties(run):
    def tie(found):
        for row, value in zip(found["rows"], (1.0, 0.99996, 0.5, 0.4), strict=False):
            row["values"]["cider-d"]["mean"] = value
        for row in found["rows"][4:12]:
            row["values"]["cider-d"]["mean"] = 0.1

    edit(run, tie)
    write_report(run)
    table = re.search(r'<table class="results".*?</table>', read(run), re.DOTALL).group(0)
    cells = re.findall(r'<tr data-on="box@mini">.*?(<td class="number".*?</td>)', table, re.DOTALL)
    assert [bool(re.search("<strong>1.000</strong>", cell)) for cell in cells[:4]] == [True, True, False, False]
    assert [bool(re.search('class="second">0.500<', cell)) for cell in cells[:4]] == [False, False, True, False]
    tex = (run / "report" / "results.tex").read_text(encoding="utf-8")
    assert tex.count(r"\textbf{1.000}") == 2
    assert tex.count(r"\underline{0.500}") == 1


def test_where_all_are_alike_nothing_is_best(run):
    def flatten(found):
        for row in found["rows"]:
            for value in row["values"].values():
                value["mean"] = 1.0

    edit(run, flatten)
    write_report(run)
    assert "<strong>" not in read(run)
    assert 'class="second"' not in read(run)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    def change(trials, found):
        spoilt = []
        for trial in trials:
            rows = tuple(
                replace(row, caption=HOSTILE if at % 2 else None, error=HOSTILE) for at, row in enumerate(trial.samples)
            )
            metrics = tuple(replace(one, per_sample=one.per_sample[1::2]) for one in trial.metrics)
            spoilt.append(replace(trial, samples=rows, metrics=metrics))
        for key in ("name", "question", "command"):
            found[key] = HOSTILE
        found["disclaimers"] = [HOSTILE]
        found["claims"][0]["say"] = found["claims"][3]["reason"] = HOSTILE
        found["refused"][0]["reason"] = HOSTILE
        found["trials"][0].update(status="failed", reason=HOSTILE, notes=[HOSTILE])
        found["provenance"]["resolved"] = f"a: \ud83d\nb: {HOSTILE}"
        found["provenance"]["versions"][HOSTILE] = HOSTILE
        for row in found["rows"]:
            row["labels"]["bridge"] = row["labels"]["bridge"] + HOSTILE
        found["main_effects"][0]["levels"][0]["label"] = HOSTILE
        found["sizes"][0]["bins"][0]["label"] = HOSTILE
        return spoilt, found

    folder = make_run(tmp_path_factory.mktemp("hostile") / "run", limit=4, change=change)
    write_report(folder)
    return folder


def test_hostile_texts_stay_texts(hostile):
    text = read(hostile)
    page = Outline(text)
    assert page.open == []
    assert len(page.named("script")) == 1
    assert text.count("</script>") == 1
    shown = HOSTILE.replace("\u202e", "\ufffd").replace("\x00", "\ufffd")
    assert " ".join(shown.split()) in page.text
    assert not re.search("[\ud800-\udfff\x00\u202e]", text)
    assert "a: \ufffd" in text
    assert not [key for _, one in page.tags for key in one if key.startswith("on")]


def test_hostile_texts_do_not_break_tables_and_plots(hostile):
    import xml.etree.ElementTree as ElementTree

    for path in (hostile / "report").glob("*.svg"):
        ElementTree.parse(path)
    tex = (hostile / "report" / "results.tex").read_text(encoding="utf-8")
    assert r"50\% \$x\_1\$ \textbackslash{}end\{tabular\}" in tex
    assert tex.splitlines().count(r"\end{tabular}") == tex.count(r"\begin{tabular}") == len(TASKS)
    rows = [line for line in tex.splitlines() if line.startswith("mini-")]
    assert len(rows) == 24
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {4}
    table = (hostile / "report" / "results.md").read_text(encoding="utf-8")
    assert len([line for line in table.splitlines() if line.startswith("| mini-")]) == 24


def test_a_run_that_was_stopped_says_so(run):
    def unfinish(found):
        found["trials"][1].update(status="missing")
        found["rows"][1]["values"] = {}
        found["trials"][2].update(status="failed", reason="it ran out of memory")
        found["rows"][2]["values"] = {}

    edit(run, unfinish)
    write_report(run)
    page = Outline(read(run))
    assert "This run is not finished: 1 of 24 trials have no result yet." in page.text
    assert "1 of 24 trials failed; the table of results says why." in page.text
    assert "failed: it ran out of memory" in page.text
    assert "no result yet" in page.text
    assert "To go on: toolkit ablate by-hand.yaml --out runs/by-hand" in page.text


def test_a_run_without_an_analysis_has_a_report_of_its_values(run):
    (run / "analysis.json").unlink()
    write_report(run)
    page = Outline(read(run))
    assert "This run was stopped before it was analysed: 24 trials ended." in page.text
    assert "4.075" in page.text
    assert page.named("figure") == []
    assert len(page.named("img")) == 16
    assert "[" not in re.sub(r"\[hidden\]", "", page.text.partition("Results")[2].partition("Samples")[0])


def test_an_empty_run_has_a_report(tmp_path):
    make_run(tmp_path / "empty", limit=1, change=lambda trials, found: ([], found), analysed=False)
    write_report(tmp_path / "empty")
    assert "0 trials ended" in Outline(read(tmp_path / "empty")).text


def test_results_that_are_newer_than_the_analysis_are_told_of(run):
    edit(run, lambda found: found["trials"].__delitem__(slice(3, None)))
    edit(run, lambda found: found["trials"][0].update(status="missing"))
    write_report(run)
    assert "1 trial ended after it was made" in Outline(read(run)).text


def test_data_that_are_gone_leave_captions_and_say_why(tmp_path):
    def move(trials, found):
        moved = [replace(t, config={**t.config, "data": {**t.config["data"], "fingerprint": "other"}}) for t in trials]
        return moved, found

    folder = make_run(tmp_path / "run", limit=3, change=move)
    write_report(folder)
    page = Outline(read(folder))
    assert page.named("img") == []
    assert "6 pictures missing: the data have changed since this run." in page.text
    assert "something by mini-dense" in page.text


def test_a_page_of_many_pipelines_has_bounds(tmp_path, monkeypatch):
    for module, name, most in (
        (page_module, "MOST_ROWS", 60),
        (figures, "MOST_POINTS", 20),
        (figures, "MOST_FAINT", 5),
    ):
        monkeypatch.setattr(module, name, most)
    monkeypatch.setattr(figures, "MOST_LISTED", 10)

    def multiply(trials, found):
        made = []
        for number in range(160):
            row = json.loads(json.dumps(found["rows"][number % 24]))
            row["id"], row["trials"] = f"m{number}", []
            row["labels"]["bridge"] = f"memory({number})"
            row["values"]["cider-d"]["mean"] += number * 1e-4
            made.append(row)
        found["rows"], found["trials"] = made, []
        for part in found["sizes"]:
            part["series"] = [{**part["series"][0], "row": row["id"]} for row in made]
        for part in found["pareto"]:
            part["points"] = [
                {"row": row["id"], "seconds_per_sample": 0.1 + at, "value": 1.0, "front": not at}
                for at, row in enumerate(made)
            ]
        return trials, found

    folder = make_run(tmp_path / "run", limit=1, change=multiply)
    write_report(folder, samples=0)
    text = read(folder)
    page = Outline(text)
    rows = re.search(r'<table class="results".*?</table>', text, re.DOTALL).group(0).count("<tr data-on")
    assert 30 < rows <= 60
    assert f"{160 - rows} more rows are in results.csv." in page.text
    assert len((folder / "report" / "results.csv").read_text(encoding="utf-8").splitlines()) == 161
    pareto = (folder / "report" / "pareto-box-mini-cider-d.svg").read_text(encoding="utf-8")
    assert pareto.count("<circle") == 20
    assert pareto.count("<polygon") == 1
    sizes = (folder / "report" / "sizes-box-mini-cider-d.svg").read_text(encoding="utf-8")
    assert sizes.count('class="k-grid"') < 20
    tables = re.findall(r"<details><summary>Numbers.*?</details>", text, re.DOTALL)
    assert max(table.count("<tr>") for table in tables) == 11


def test_refusals_of_one_reason_that_form_a_product_share_a_row(run):
    def refuse(found):
        found["refused"] = [
            {"axes": {"backbone": "mini-clip", "bridge": bridge}, "data": data, "trials": 1, "reason": "too wide"}
            for bridge in ("none", "memory")
            for data in ("box@mini", "trace@mini")
        ]
        found["refused"].append({"axes": {"bridge": "x"}, "data": "", "trials": 3, "reason": "no weights"})

    edit(run, refuse)
    write_report(run, samples=0)
    text = Outline(read(run)).text
    assert "backbone: mini-clip; bridge: none, memory box@mini, trace@mini 4 too wide" in text
    assert "bridge: x all 3 no weights" in text


def test_a_single_pipeline_has_no_front_and_no_disagreement(tmp_path):
    def single(trials, found):
        kept = {row["id"] for row in found["rows"] if row["labels"]["region_encoder"] == "crop"}
        kept = sorted(kept)[:1]
        found["rows"] = [row for row in found["rows"] if row["id"] in kept]
        found["trials"] = [trial for trial in found["trials"] if trial["row"] in kept]
        for part in found["pareto"]:
            part["points"] = [one for one in part["points"] if one["row"] in kept]
        found["varied"] = []
        return trials, found

    folder = make_run(tmp_path / "run", limit=2, change=single)
    write_report(folder)
    text = read(folder)
    assert 'data-why="worst" aria-pressed' not in text
    assert "against time" not in text
    assert "2 of 2 samples: all that there are." in text


def test_where_nothing_interacts_nothing_is_coloured(run):
    def weaken(found):
        for part in found["interactions"]:
            part["residuals"] = [[value * 1e-3 for value in line] for line in part["residuals"]]

    edit(run, weaken)
    write_report(run, samples=0)
    name = "interaction-backbone-region-encoder-box-mini-cider-d.svg"
    drawn = (run / "report" / name).read_text(encoding="utf-8")
    cells = re.findall(r'class="f-h(\d)"[^>]*><title>', drawn)
    assert cells == ["4"] * 6


def test_plots_of_an_earlier_report_are_taken_away_and_nothing_else(run):
    write_report(run)
    (run / "report" / "old.svg").write_text("<svg/>", encoding="utf-8")
    (run / "report" / "notes.txt").write_text("mine", encoding="utf-8")
    write_report(run)
    assert not (run / "report" / "old.svg").exists()
    assert (run / "report" / "notes.txt").exists()


def test_the_end_of_a_run_writes_it(run):
    regionkit_stage_finished("trial", {"folder": str(run), "report": True})
    regionkit_stage_finished("run", {"folder": str(run), "report": False})
    assert not (run / "report.html").exists()
    regionkit_stage_finished("run", {"folder": str(run), "report": True})
    assert (run / "report.html").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no results in this folder"):
        write_report(tmp_path)
