"""Which samples a gallery shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from report_cases import make_run

from regionkit.core.results import DATABASE, ResultStore
from regionkit.plugins.report.choosing import Candidates, choose
from regionkit.plugins.report.evidence import read_analysis
from regionkit.plugins.report.gallery import gallery


def candidates(apart, mean, changed, seed=0):
    ids = [f"s{seed}-{at}" for at in range(len(apart))]
    return Candidates("box@mini", seed, {"p": "t"}, ids, np.array(apart), np.array(mean), np.array(changed))


def chosen(sources, wanted):
    return {one.source.samples[one.place]: list(one.reasons) for one in choose(sources, wanted)}


def test_a_third_each_of_disagreement_worst_and_changed():
    apart = [0, 9, 8, 0, 0, 0, 0, 0, 0, 0]
    mean = [5, 5, 5, 1, 2, 5, 5, 5, 5, 5]
    changed = [False, True, True, False, False, True, False, False, True, False]
    found = chosen([candidates(apart, mean, changed)], 6)
    assert found == {
        "s0-1": ["disagreement", "changed"],
        "s0-2": ["disagreement", "changed"],
        "s0-3": ["worst"],
        "s0-4": ["worst"],
        "s0-5": ["changed"],
        "s0-8": ["changed"],
    }


def test_what_is_not_judged_is_never_the_worst():
    found = chosen([candidates([np.nan] * 4, [np.nan, np.nan, 3, 2], [False] * 4)], 3)
    assert found == {"s0-0": [], "s0-1": [], "s0-3": ["worst"]}


@pytest.mark.parametrize("wanted", [0, 1, 2, 5, 50])
def test_never_more_than_asked_for_and_none_twice(wanted):
    apart = [float(at % 5) for at in range(20)]
    sources = [candidates(apart, apart, [bool(at % 2) for at in range(20)], seed) for seed in (0, 1)]
    found = choose(sources, wanted)
    assert len(found) == min(wanted, 40)
    assert len({(one.source.seed, one.place) for one in found}) == len(found)


def shown(folder, **options):
    with ResultStore(folder / DATABASE, read_only=True) as store:
        return gallery(read_analysis(folder / "analysis.json"), store, **options)


def test_samples_are_shared_among_the_data_sets(finished):
    found = shown(finished, wanted=5)
    assert [one.data for one in found.samples].count("box@mini") == 2
    assert [one.data for one in found.samples].count("trace@mini") == 3
    assert found.kinds == ["box", "trace"]


def test_a_sample_has_region_references_captions_and_scores(finished):
    one = shown(finished, wanted=2).samples[0]
    assert one.kind == "box"
    assert one.area.endswith("px²")
    assert one.size in ("<= 600 px2", "600 to 1500 px2", "> 1500 px2")
    assert len(one.references) == 3
    assert len(one.said) == 12
    said = one.said["mini-dense · patch-pool · memory"]
    assert set(said.scores) == {"cider-d", "perplexity"}
    assert sum(each.best for each in one.said.values()) >= 1


def test_the_open_pipelines_are_the_best_and_one_for_each_axis(finished):
    found = shown(finished, wanted=1)
    assert list(found.open) == [
        "mini-dense · patch-pool · memory",
        "mini-dense · patch-pool · none",
        "mini-dense · crop · memory",
        "mini-clip · patch-pool · memory",
    ]


def test_pictures_stop_where_their_room_is_taken(finished):
    found = shown(finished, wanted=8, most_bytes=20_000)
    sizes = [len(one.picture.uri) for one in found.samples]
    assert 0 < sum(size > 0 for size in sizes) < len(sizes)
    assert sum(sizes) <= 20_000 + len(sizes) * len("data:image/webp;base64,")
    assert any("pictures of this page have taken up their room" in note for note in found.notes)


def test_disturbed_data_sets_are_not_shown_again(tmp_path):
    def disturb(trials, found):
        for row in [*found["rows"], *found["trials"]]:
            row["data"] = row["data"].replace("trace@mini", "box@mini~jitter=0.1")
        found["data"] = ["box@mini", "box@mini~jitter=0.1"]
        return trials, json.loads(json.dumps(found))

    folder = make_run(tmp_path / "run", limit=3, change=disturb)
    assert {one.data for one in shown(folder, wanted=6).samples} == {"box@mini"}


def test_a_failed_sample_shows_its_error(tmp_path):
    from dataclasses import replace

    def fail(trials, found):
        first, *rest = trials
        rows = tuple(replace(row, caption=None, error="no patch under the region") for row in first.samples)
        metrics = tuple(replace(one, per_sample=()) for one in first.metrics)
        return [replace(first, samples=rows, metrics=metrics), *rest], found

    folder = make_run(tmp_path / "run", limit=2, change=fail)
    said = shown(folder, wanted=2).samples[0].said["mini-dense · patch-pool · none"]
    assert (said.caption, said.error) == (None, "no patch under the region")
