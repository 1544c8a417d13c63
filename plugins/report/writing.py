"""Writes the report of a run: the page, its plots as files, and its tables for papers."""

from __future__ import annotations

from pathlib import Path

from regionkit.core.errors import RunFailed
from regionkit.core.files import replacing, write_text
from regionkit.plugins.report.gallery import SAMPLES

#: Name of the page, and of the folder of plots and tables, in a run's folder.
PAGE, FOLDER = "report.html", "report"


def write_report(folder: Path, *, out: Path | None = None, pdf: bool = False, samples: int = SAMPLES) -> list[Path]:
    """Write the report of a run from its folder alone. The same folder always gives the same bytes.

    Args:
        folder: Of the run; an unfinished or failed one has a report that says so.
        out: File of the page; plots and tables then lie beside it, ``page.html`` and ``page-files/``. By default they
            are ``report.html`` and ``report/`` in the run's folder.
        pdf: Write the plots as PDF, too.
        samples: Samples of the gallery.

    Returns:
        The files, the page first.

    Raises:
        DataError: The folder holds no run, or its files are damaged.
        MissingExtra: PDF is asked for, and the package that writes it is not installed.
        RunFailed: The report cannot be written.
    """
    from regionkit.plugins.report.charts.pdf import check_installed

    if pdf:
        check_installed()
    target = out or folder / PAGE
    beside = folder / FOLDER if out is None else out.with_name(f"{out.stem}-files")
    contents = _contents(folder, target, beside, pdf=pdf, samples=samples)
    try:
        for path, content in contents.items():
            if isinstance(content, bytes):
                with replacing(path) as temporary:
                    temporary.write_bytes(content)
            else:
                write_text(path, content)
        if out is None:
            _take_away(beside, set(contents))
    except OSError as error:
        raise RunFailed(
            f"{target}: the report cannot be written: {error.strerror or error}",
            f"write it to another place with: toolkit report {folder} --out FILE",
        ) from None
    return list(contents)


def _contents(folder: Path, target: Path, beside: Path, *, pdf: bool, samples: int) -> dict[Path, str | bytes]:
    """Return all files of a report by their paths, the page first, plots and tables in the folder ``beside``."""
    from regionkit.plugins.report import exports
    from regionkit.plugins.report.beside import beside_published
    from regionkit.plugins.report.cells import results
    from regionkit.plugins.report.charts.pdf import to_pdf
    from regionkit.plugins.report.evidence import ANALYSIS, read_analysis
    from regionkit.plugins.report.figures import figures
    from regionkit.plugins.report.gallery import gallery
    from regionkit.plugins.report.page import page
    from regionkit.plugins.report.unfinished import from_results, with_notices
    from regionkit.registry.run_folders import open_run

    with open_run(folder) as store:
        if (folder / ANALYSIS).is_file():
            found = with_notices(read_analysis(folder / ANALYSIS), store)
        else:
            found = from_results(folder, store)
        lines = results(found)
        plots, more = figures(found)
        content = page(found, lines, plots, more, gallery(found, store, samples), beside_published(folder))
    contents: dict[Path, str | bytes] = {target: content}
    contents[beside / "results.tex"] = exports.results_latex(found, lines)
    contents[beside / "results.md"] = exports.results_markdown(found, lines)
    contents[beside / "results.csv"] = exports.results_csv(found, lines)
    if found["claims"]:
        contents[beside / "claims.tex"] = exports.claims_latex(found)
    for plot in plots:
        contents[beside / f"{plot.name}.svg"] = plot.svg
        if pdf:
            contents[beside / f"{plot.name}.pdf"] = to_pdf(plot.canvas, plot.title)
    return contents


def _take_away(folder: Path, kept: set[Path]) -> None:
    """Remove plots of an earlier report that this one does not have: nobody must take them for its own."""
    for path in folder.iterdir():
        if path.suffix in (".svg", ".pdf") and path not in kept:
            path.unlink()
