"""Checks of what a plugin and its specs say, made before any component is built."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.core.errors import ConfigError, RegionkitError
from regionkit.core.spec import PARTS, RELEASED, ComponentSpec, Space
from regionkit.core.testing import Skip, crash
from regionkit.core.testing.demands import demand
from regionkit.core.testing.worker import ask
from regionkit.registry.assembly import component_class
from regionkit.registry.conformance.imports import light_import_faults
from regionkit.registry.conformance.subjects import CannotBuild, subject_of
from regionkit.registry.packages import missing_package
from regionkit.registry.ports import ends
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import config_class, fill_options, nowhere, options, takes, untyped
from regionkit.registry.yaml_text import read_value

#: Longest summary that a listing shows on one line.
_SUMMARY = 100

Options = Mapping[str, Any] | None


@dataclass(frozen=True)
class SpecCheck:
    """One promise of a spec; fields as in ``regionkit.core.testing.Check``."""

    name: str
    demands: str
    function: Callable[[ComponentSpec, Options], None]
    gpu: bool = False


@dataclass(frozen=True)
class PluginCheck:
    """One promise of a plugin as a whole; the function takes its name."""

    name: str
    demands: str
    function: Callable[[str], None]
    gpu: bool = False


SPEC_CHECKS: list[SpecCheck] = []
PLUGIN_CHECKS: list[PluginCheck] = []


def _spec_check(function: Callable[[ComponentSpec, Options], None]) -> Callable[[ComponentSpec, Options], None]:
    name, demands = function.__name__.replace("_", "-"), (function.__doc__ or "").splitlines()[0].rstrip(".")
    SPEC_CHECKS.append(SpecCheck(name, demands, function))
    return function


def _plugin_check(function: Callable[[str], None]) -> Callable[[str], None]:
    name, demands = function.__name__.replace("_", "-"), (function.__doc__ or "").splitlines()[0].rstrip(".")
    PLUGIN_CHECKS.append(PluginCheck(name, demands, function))
    return function


#: How messages begin where a preset lacks nothing but weights, or a bank, that whoever uses it has to bring.
_NOT_HERE = ("no weights of ", "no weight file named ", "no bank ", "no released ")


@_plugin_check
def imports_lightly(plugin: str) -> None:
    """Importing the plugin imports neither torch nor numpy, prints and writes nothing, and leaves the environment."""
    module = get_registry().manager.get_plugin(plugin)
    name = getattr(module, "__name__", "")
    if not name or not hasattr(module, "__file__"):
        raise Skip("it is no module that could be imported again")
    faults = light_import_faults([name])
    demand(not faults, "; ".join(faults))


@_plugin_check
def presets_plan(plugin: str) -> None:
    """Every preset of the plugin is a pipeline whose parts fit, and says in a summary what it is."""
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.plan import plan_pipeline

    hook = getattr(get_registry().manager.get_plugin(plugin), "regionkit_presets", None)
    paths = [path for folder in (hook() if hook else ()) for path in sorted(Path(folder).glob("*.yaml"))]
    if not paths:
        raise Skip("it brings no preset")
    waiting = []
    for path in paths:
        document = read_pipeline(path.stem)
        demand(bool(document.data.get("summary")), f"preset '{path.stem}' has no summary")
        try:
            plan_pipeline(document.data, document.line)
        except ConfigError as error:
            faults = [one.message for one in error.problems if not one.message.startswith(_NOT_HERE)]
            demand(not faults, f"preset '{path.stem}': {'; '.join(faults)}")
            waiting.append(path.stem)
    if waiting:
        raise Skip(f"weights that are not here decide the rest of: {', '.join(waiting)}")


@_plugin_check
def commands_explain_themselves(plugin: str) -> None:
    """Every command of the plugin can be imported, has the name that its spec says, and a help text."""
    import click

    registry = get_registry()
    own = [command for name, command in registry.commands.items() if registry.command_owner(name).plugin == plugin]
    if not own:
        raise Skip("it brings no command")
    for spec in own:
        command = registry.import_for(spec, spec.target)
        demand(
            isinstance(command, click.Command),
            f"{spec.target} is no click command but of type {type(command).__name__}",
        )
        demand(command.name == spec.name, f"command '{spec.name}' calls itself '{command.name}'")
        demand(bool(command.help), f"command '{spec.name}' has no docstring to show as its help")
        demand(bool(spec.summary), f"command '{spec.name}' has no summary for listings")
        if spec.check:
            registry.import_for(spec, spec.check)


@_spec_check
def spec_complete(spec: ComponentSpec, _: Options) -> None:
    """The spec has a summary of one short line, a licence, and a paper that can be cited."""
    demand(bool(spec.summary), "it has no summary: summary='One line for listings'")
    demand(not spec.summary.endswith("."), f"its summary ends with a full stop: '{spec.summary}'")
    demand(len(spec.summary) <= _SUMMARY, f"its summary has {len(spec.summary)} letters, a listing shows {_SUMMARY}")
    demand("\n" not in spec.summary, "its summary holds a line break")
    demand(bool(spec.license), "it names no licence: license='...'")
    papers = get_registry().papers
    for key in (spec.paper, *(key for _, key in spec.papers)):
        demand(not key or key in papers, f"no plugin describes its paper '{key}' in regionkit_papers")


@_spec_check
def config(spec: ComponentSpec, given: Options) -> None:
    """Its options are a frozen dataclass, each is documented, and they survive the way through YAML and JSON."""
    cls = config_class(spec)
    demand(cls.__dataclass_params__.frozen, f"{cls.__name__} is not frozen: @dataclass(frozen=True)")
    _options_are_typed(spec, cls.__name__)
    _choices_can_be_named(spec, cls.__name__)
    undocumented = [option.name for option in options(spec) if not option.doc]
    demand(not undocumented, f"options without a line under 'Attributes:' in {cls.__name__}: {', '.join(undocumented)}")
    demand(bool(takes(spec)), "its options cannot be listed")
    problems: list[Any] = []
    chosen = given if given is not None else (read_value(spec.tiny, spec.name) if spec.tiny else {})
    part = fill_options(spec, chosen, nowhere, spec.kind, problems)
    if part is None:
        wrong = [problem.message for problem in problems if given or spec.tiny or "no default" not in problem.message]
        demand(not wrong, "; ".join(wrong))
        return  # the only reason not to be filled by defaults is an option without one
    written = part.to_dict()
    demand(json.loads(json.dumps(written)) == written, "its options are changed by JSON")
    back = fill_options(spec, {key: value for key, value in written.items() if key != "name"}, nowhere, spec.kind, [])
    demand(back is not None and back.config == part.config, "its options do not survive being written and read again")
    before = dataclasses.asdict(part.config)
    demand(dataclasses.asdict(part.config) == before, "its options change while they are looked at")


def _options_are_typed(spec: ComponentSpec, config_name: str) -> None:
    bare = untyped(spec)
    demand(
        not bare,
        f"{config_name} sets {', '.join(bare)} without a type, so a dataclass takes it for no option: write "
        f"{'; '.join(bare.values())} (a constant that is no option: in capitals)",
    )


def _choices_can_be_named(spec: ComponentSpec, config_name: str) -> None:
    """Demand the options by which a user names weights and a bank, where the registry would choose them otherwise."""
    defaults = {option.name: option.default for option in options(spec)}
    fitted = spec.kind in PARTS and "corpus" in spec.roles.values()
    for name, verb, there in (("weights", "are", bool(spec.weights)), ("bank", "is", fitted)):
        demand(
            not there or name in defaults,
            f"its {name} {verb} chosen by what the pipeline needs, and nobody can say which to take: "
            f'write {name}: str = "auto" in {config_name}',
        )
    demand(
        not fitted or defaults["weights"] != "none",
        'with weights none it is never fitted, and that is its default: write weights: str = "auto"',
    )


@_spec_check
def released_files_are_options(spec: ComponentSpec, given: Options) -> None:
    """Each of its option_files is an option that takes the word "released", and file:PATH."""
    if not spec.option_files:
        raise Skip("its options name no released files")
    chosen = given if given is not None else (read_value(spec.tiny, spec.name) if spec.tiny else {})
    for role, value in ((entry.role, value) for entry in spec.option_files for value in (RELEASED, "file:x")):
        problems: list[Any] = []
        fill_options(spec, {**chosen, role: value}, nowhere, spec.kind, problems)
        reason = problems[0].message if problems else ""
        demand(not problems, f"'{role}' of its option_files is to take '{value}': {reason}")


@_spec_check
def options_import_lightly(spec: ComponentSpec, _: Options) -> None:
    """The modules of its options and of its ports import neither torch nor numpy, and do nothing else."""
    modules = [text.partition(":")[0] for text in (spec.config, spec.ports) if text]
    if not modules:
        raise Skip("it has neither options nor a function for its ports")
    faults = light_import_faults(modules)
    demand(not faults, "; ".join(faults))


@_spec_check
def implements_its_contract(spec: ComponentSpec, _: Options) -> None:
    """Its target is a class of the kind's contract, complete, with a docstring."""
    _need_packages(spec)
    try:
        cls = component_class(spec)
    except RegionkitError as error:
        raise AssertionError(error.message) from error
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    demand(not inspect.isabstract(cls), f"{cls.__name__} lacks {', '.join(missing)}")
    demand(bool(cls.__doc__), f"{cls.__name__} has no docstring")


@_spec_check
def imports_quietly(spec: ComponentSpec, _: Options) -> None:
    """Importing its code moves no random state, changes no setting of torch, prints and writes nothing."""
    _need_packages(spec)
    module = spec.target.partition(":")[0]
    faults = _quiet_faults(module)
    demand(not faults, f"importing {module} {' and '.join(faults)}")


@_spec_check
def ports_are_known(spec: ComponentSpec, given: Options) -> None:
    """Its ports follow from its options alone, and a backbone's are two named spaces."""
    if spec.kind not in ("backbone", "region_encoder", "bridge", "decoder"):
        raise Skip(f"a {spec.kind} has no ports")
    chosen = given if given is not None else (read_value(spec.tiny, spec.name) if spec.tiny else {})
    part = fill_options(spec, chosen, nowhere, spec.kind, [])
    if part is None:
        raise Skip("its options cannot be filled")
    try:
        own = ends(part)
    except RegionkitError as error:
        raise AssertionError(error.message) from error
    if spec.kind == "decoder":
        demand(own.reads is not None, "it does not say what it reads")
        return
    demand(own.writes is not None, "it does not say what it writes")
    if spec.kind == "backbone" and own.writes is not None:
        for text in (own.writes.space, *([own.text] if own.text else [])):
            try:
                Space.parse(text)
            except ValueError as error:
                raise AssertionError(str(error)) from error


@_spec_check
def builds(spec: ComponentSpec, given: Options) -> None:
    """The kit can build it: with its defaults, weights that its plugin ships, or the options that tiny names."""
    try:
        subject_of(spec, given)
    except CannotBuild as error:
        raise AssertionError(str(error)) from error


def _need_packages(spec: ComponentSpec) -> None:
    package = missing_package(spec)
    if package:
        raise Skip(f"it needs the package '{package}', which is not installed")


@functools.cache
def _quiet_faults(module: str) -> tuple[str, ...]:
    return tuple(ask("import", module))


def run_function(function: Callable[..., None], *arguments: Any) -> None:
    """Run a check of a spec or plugin; what it raises beside its own two outcomes is a fault of the plugin.

    Raises:
        AssertionError: The promise is broken.
        Skip: There is nothing to check.
    """
    try:
        function(*arguments)
    except (AssertionError, Skip):
        raise
    except RegionkitError as error:
        raise AssertionError(str(error)) from error
    except Exception as error:
        raise AssertionError(crash(error)) from error
