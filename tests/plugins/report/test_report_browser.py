"""The page in a real browser: it loads nothing, complains of nothing, and does what it offers, also by keyboard."""

from __future__ import annotations

import io

import chromium
import pytest
from PIL import Image

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason=f"no browser is installed, looked for: {', '.join(chromium.NAMES)}"
)

#: How many elements are seen, and a choice in a field that the page hears of.
COUNT = "[...document.querySelectorAll('{}')].filter(one => one.checkVisibility()).length"
CHOOSE = (
    "(() => {{ const e = document.querySelector('{}'); e.value = {}; "
    "e.dispatchEvent(new Event('change')); e.dispatchEvent(new Event('input')); }})()"
)
SHOWN = "[...document.querySelectorAll('#samples tbody tr')].filter(row => row.checkVisibility()).length"


@pytest.fixture(scope="module")
def browser():
    with chromium.started(PROGRAM) as found:
        yield found


@pytest.fixture
def tab(browser, finished):
    found = browser.tab()
    found.open(finished / "report.html")
    yield found
    # Whatever a test did, nothing went out and nothing was complained of.
    assert [one for one in found.requests if not one.startswith("data:")] == [
        (finished / "report.html").absolute().as_uri()
    ]
    assert found.complaints == []


def heading(name):
    return f"[...document.querySelectorAll('#table th[data-sort]')].find(one => one.textContent === '{name}')"


def values(tab):
    """Return the column cider-d of the rows that are shown, from top to bottom."""
    cells = "[...document.querySelectorAll('#table tbody tr')].filter(row => !row.hidden).map(row => row.children[4])"
    return tab.run(f"{cells}.map(cell => Number(cell.dataset.value))")


def test_the_policy_refuses_what_the_page_never_asks_for(browser, finished):
    tab = browser.tab()
    tab.open(finished / "report.html")
    tab.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    tab.run("void document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}))")
    tab.run(
        "void document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}))"
    )
    assert tab.run("typeof window.bad") == "undefined"
    assert len([one for one in tab.complaints if "Content Security Policy" in one]) >= 2


def test_a_click_sorts_and_another_one_turns_around(tab):
    before = values(tab)
    tab.run(f"{heading('cider-d')}.id = 'cider'")
    tab.click("#cider button")
    assert values(tab) == sorted(before, reverse=True) != before
    assert tab.run("document.querySelector('#cider').getAttribute('aria-sort')") == "descending"
    tab.click("#cider button")
    assert values(tab) == sorted(before)
    assert tab.run("document.querySelector('#cider').getAttribute('aria-sort')") == "ascending"
    assert tab.run("document.querySelectorAll('[aria-sort]').length") == 1
    assert tab.run("document.querySelector('#sorted').textContent") == "Sorted by cider-d, ascending."


def test_what_is_better_lower_comes_lowest_first(tab):
    tab.run(f"{heading('perplexity')}.id = 'lower'")
    tab.click("#lower button")
    assert tab.run("document.querySelector('#lower').getAttribute('aria-sort')") == "ascending"


def test_the_keyboard_sorts_every_column(tab):
    tab.run("document.querySelector('#table').closest('.scroll').focus()")
    heads = "[...document.querySelectorAll('#table th[data-sort]')].filter(one => one.checkVisibility())"
    names = tab.run(f"{heads}.map(one => one.textContent)")
    assert len(names) >= 6
    for name in names:
        tab.press("Tab")
        assert tab.run("document.activeElement.tagName + document.activeElement.textContent") == f"BUTTON{name}"
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        tab.press("Enter")
        assert tab.run("document.querySelector('[aria-sort]').textContent") == name


def test_data_and_column_choose_rows_plots_and_samples(tab):
    assert tab.run(COUNT.format("#table tbody tr")) == 12
    assert tab.run(COUNT.format("figure")) == 8
    assert tab.run(SHOWN) == 8
    tab.run(CHOOSE.format("#view-data", "''"))
    assert tab.run(COUNT.format("#table tbody tr")) == 24
    assert tab.run(COUNT.format("figure")) == 16
    tab.run(CHOOSE.format("#view-column", "''"))
    assert tab.run(COUNT.format("figure")) == 32
    tab.run(CHOOSE.format("#view-data", "'trace@mini'"))
    assert tab.run(COUNT.format("figure")) == 16
    assert tab.run(
        "[...document.querySelectorAll('#table tbody tr')].every(r => r.hidden === (r.dataset.on !== 'trace@mini'))"
    )


def test_filters_of_the_gallery(tab):
    everything = tab.run(SHOWN)
    tab.click("button[data-why=worst]")
    assert 0 < tab.run(SHOWN) < everything
    assert tab.run("document.querySelector('button[data-why=worst]').getAttribute('aria-pressed')") == "true"
    means = (
        "[...document.querySelectorAll('#samples tbody tr')].filter(r => !r.hidden).map(r => Number(r.dataset.mean))"
    )
    assert tab.run(means) == sorted(tab.run(means))
    tab.click("button[data-why=disagreement]")
    apart = means.replace("mean", "apart")
    assert 0 < tab.run(SHOWN) < everything
    assert tab.run(apart) == sorted(tab.run(apart), reverse=True)
    tab.click("button[data-why='']")
    assert tab.run(SHOWN) == everything
    tab.click("#by-text")
    tab.send("Input.insertText", text="no caption has these words")
    assert tab.run(SHOWN) == 0
    assert tab.run("document.querySelector('#shown').textContent") == "No sample fits"
    tab.run(CHOOSE.format("#by-text", "''"))
    assert tab.run("document.querySelector('#shown').textContent") == f"{everything} of {everything} shown"
    tab.run(CHOOSE.format("#by-size", "e.options[1].value"))
    assert tab.run(SHOWN) < everything


def test_pipelines_are_opened_and_closed(tab):
    heads = "[...document.querySelectorAll('#samples thead th')].filter(one => one.checkVisibility()).length"
    assert tab.run(heads) == 1 + 4
    tab.click(".columns summary")
    tab.click(".choices input:not(:checked)")
    assert tab.run(heads) == 1 + 5
    assert tab.run("document.querySelector('#open-count').textContent") == "5"


@pytest.mark.parametrize("dark", [pytest.param(False, id="light"), pytest.param(True, id="dark")])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(browser, finished, width, dark):
    tab = browser.tab()
    tab.open(finished / "report.html", width=width, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.run("document.documentElement.scrollWidth") <= width
    # The first column of the table stays where it is while the table scrolls in its box.
    left = "document.querySelector('#table tbody th').getBoundingClientRect().left"
    before = tab.run(left)
    tab.run("document.querySelector('#table').closest('.scroll').scrollLeft = 120")
    assert tab.run(left) == before
    picture = Image.open(io.BytesIO(tab.picture())).convert("L")
    corner = picture.getpixel((2, 2))
    assert corner < 60 if dark else corner > 220
    assert picture.getextrema()[1] - picture.getextrema()[0] > 120
    assert tab.complaints == []


def test_without_its_script_everything_can_be_read(browser, finished, tmp_path):
    tab = browser.tab()
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(finished / "report.html")
    assert tab.run(COUNT.format("#table tbody tr")) == 24
    assert tab.run(COUNT.format("figure")) == 32
    assert tab.run(COUNT.format("#samples thead th")) == 13
    assert tab.run(COUNT.format("button, select, input")) == 0


def test_hostile_captions_run_nothing(browser, tmp_path):
    from dataclasses import replace

    from report_cases import HOSTILE, make_run

    from regionkit.plugins.report.writing import write_report

    def spoil(trials, found):
        found["name"] = HOSTILE.replace("alert(1)", "window.bad = 1")
        bad = "<img src=x onerror='window.bad = 1'>" + found["name"]
        return [replace(t, samples=tuple(replace(row, caption=bad) for row in t.samples)) for t in trials], found

    folder = make_run(tmp_path / "run", limit=2, change=spoil)
    write_report(folder)
    tab = browser.tab()
    tab.open(folder / "report.html")
    assert tab.run("typeof window.bad") == "undefined"
    assert tab.complaints == []
    assert tab.run("document.querySelector('.caption').textContent").startswith("<img src=x onerror=")
    assert tab.run("document.documentElement.scrollWidth") <= 1280
