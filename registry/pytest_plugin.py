"""The pytest plugin that comes with regionkit: a plugin's conformance test in three lines, and a few fixtures.

::

    @pytest.mark.conformance("my-plugin")
    def test_conforms(conformance):
        conformance()

It is loaded in every pytest run of an environment that has regionkit, so it imports nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result
    from PIL import Image

    from regionkit.core.testing import GridBackbone
    from regionkit.registry.conformance import Case

_MARKERS = (
    "conformance(*names, options={COMPONENT: {OPTION: VALUE}}, components=(NAME, ...)): one test a component and check "
    "of these plugins or distributions; the test takes the fixture conformance",
    "gpu: needs a CUDA device, skipped where there is none",
)
_USE = 'write @pytest.mark.conformance("NAME of the plugin or distribution")'


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test a component and check of a test that takes the fixture ``conformance``."""
    if "conformance" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("conformance")
    if marker is None or not marker.args:
        pytest.fail(f"{metafunc.definition.name} takes the fixture conformance: {_USE}", pytrace=False)
    cases = _cases(*marker.args, **marker.kwargs)
    parameters = [pytest.param(case, id=case.id, marks=[pytest.mark.gpu] if case.check.gpu else []) for case in cases]
    metafunc.parametrize("conformance", parameters, indirect=True)


def _cases(*names: str, options: Any = None, components: Any = (), **wrong: Any) -> list[Case]:
    from regionkit.core.errors import RegionkitError
    from regionkit.registry.conformance import conformance_of

    if wrong:
        pytest.fail(f"the marker conformance takes options and components, not {', '.join(wrong)}", pytrace=False)
    try:
        return [case for name in names for case in conformance_of(name, options=options, components=components)]
    except RegionkitError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def conformance(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return a function that makes one check of one component; the marker ``conformance`` says of which plugin."""
    case: Case = request.param

    def run() -> None:
        from regionkit.core.testing import Skip

        sentence = ""
        try:
            case.run()
        except Skip as skip:
            pytest.skip(str(skip))
        except AssertionError as error:
            sentence = str(error)
        if sentence:  # outside of the handler: the traceback of the check itself says nothing of the plugin
            pytest.fail(f"{case.component}: {sentence}\n  demanded: {case.check.demands}", pytrace=False)

    return run


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Return a function that runs the command line in this process: ``toolkit("compat", "--json").output``.

    Its result has ``exit_code``, ``output``, ``stdout`` and ``stderr``. Caches go to a temporary folder. It is offline
    only where ``--offline`` says so, whatever the environment says.
    """
    from click.testing import CliRunner

    from regionkit.registry.cli import root

    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path_factory.mktemp("regionkit-cache")))
    for variable in ("REGIONKIT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(root, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def grid_backbone() -> GridBackbone:
    """Return a backbone of pixel statistics, which needs no weights and whose vectors can be told by hand."""
    from regionkit.core.testing import GridBackbone

    return GridBackbone()


@pytest.fixture
def picture() -> Image.Image:
    """Return a small picture of coloured blocks, 64 x 48 pixels, the same in every run."""
    from regionkit.core.testing import picture as draw

    return draw()
