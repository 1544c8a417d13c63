"""The architecture's import rules, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Plugins that are tools of the toolkit itself and may use the registry.
TOOLS = {"ablation", "scoring", "training", "report", "ray", "serve"}


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def allowed(path: Path, module: str) -> bool:
    area, *rest = path.relative_to(ROOT).parts
    target = module.split(".")[1] if "." in module else ""
    if not target or target == "core":
        return True
    if area == "core":
        return False
    if area == "registry":
        return target == "registry" or module == "regionkit.plugins"  # the folder that discovery scans, no plugin
    own = rest[0]
    if target == "registry":
        return own in TOOLS
    return target == "plugins" and module.split(".")[2:3] in ([], [own])


def sources(area: str) -> list[Path]:
    return sorted((ROOT / area).rglob("*.py"))


@pytest.mark.parametrize("area", ["core", "registry", "plugins"])
def test_layers(area):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(area)
        for line, module in imported_modules(path)
        if module.split(".")[0] == "regionkit" and not allowed(path, module)
    ]
    assert not wrong, "\n".join(wrong)
    assert sources(area)


@pytest.mark.parametrize(
    ("path", "module", "fits"),
    [
        pytest.param("core/regions.py", "regionkit.registry", False, id="core-registry"),
        pytest.param("registry/plan.py", "regionkit.plugins.mini", False, id="registry-plugin"),
        pytest.param("plugins/mini/world.py", "regionkit.plugins.mini.scenes", True, id="plugin-itself"),
        pytest.param("plugins/mini/world.py", "regionkit.plugins.patchioner", False, id="plugin-plugin"),
        pytest.param("plugins/mini/world.py", "regionkit.registry", False, id="material-registry"),
        pytest.param("plugins/ablation/engine.py", "regionkit.registry.plan", True, id="tool-registry"),
    ],
)
def test_the_rule_itself(path, module, fits):
    assert allowed(ROOT / path, module) is fits


def test_core_and_registry_name_no_paper():
    papers = {"patchioner", "patch-ioner", "regionvlm", "vizer", "decap", "capdec", "viecap", "talk2dino"}
    wrong = []
    for path in sources("core") + sources("registry"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and any(paper in node.value.lower() for paper in papers)
        ]
    assert not wrong, "\n".join(wrong)
