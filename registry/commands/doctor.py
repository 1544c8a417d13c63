"""``toolkit doctor``: what is installed, what is missing, and what to do about it. Works without torch."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

import click

from regionkit.core.errors import RunFailed
from regionkit.registry.commands.plugins import unknown_disabled
from regionkit.registry.commands.tables import text_table
from regionkit.registry.discovery.asking import describe
from regionkit.registry.discovery.owners import installed_version
from regionkit.registry.registry import DISABLE_VARIABLE, get_registry

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?P<rest>[^;]*)(;.*extra\s*==\s*['\"](?P<extra>[\w-]+)['\"])?")


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``status`` is ok, note or bad, and bad findings make the command fail."""

    topic: str
    name: str
    status: str
    detail: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of findings.")
def doctor(as_json: bool) -> None:
    """Check this installation. Ends with 1 where something that is needed is missing or damaged."""
    findings = [*_python(), *_packages(), *_programs(), *_devices(), *_plugins(), *_weights(), *_data(), *_folders()]
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        rows = [(finding.status, finding.topic, finding.name, finding.detail) for finding in findings]
        click.echo(text_table(("", "TOPIC", "WHAT", "DETAIL"), rows))
    bad = [finding for finding in findings if finding.status == "bad"]
    if bad and as_json:
        raise click.exceptions.Exit(1)
    if bad:
        count = "1 thing needs" if len(bad) == 1 else f"{len(bad)} things need"
        raise RunFailed(f"{count} attention", *(f"{f.topic} {f.name}: {f.detail}" for f in bad))


def _python() -> list[Finding]:
    own = installed_version("regionkit") or "run from a source tree that was not installed"
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    return [
        Finding("system", "python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", "machine", "ok", system),
        Finding("system", "regionkit", "ok", own),
    ]


def _packages() -> list[Finding]:
    """Report every dependency, and every extra with what it lacks."""
    findings: list[Finding] = []
    extras: dict[str, list[str]] = {}
    try:
        known = metadata("regionkit").get_all("Provides-Extra") or []
        lines = requires("regionkit") or []
    except PackageNotFoundError:
        return [Finding("package", "regionkit", "note", "not installed, so its dependencies are not known")]
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, extra = match["name"], match["extra"]
        if extra:
            extras.setdefault(extra, []).append(name)
            continue
        found = installed_version(name)
        detail = found or f"not installed; install it with: pip install '{name}{match['rest'].strip()}'"
        findings.append(Finding("package", name, "ok" if found else "bad", detail))
    for extra in known:
        lacking = [name for name in extras.get(extra, []) if not installed_version(name)]
        detail = f"lacks {', '.join(lacking)}: pip install 'regionkit[{extra}]'" if lacking else "installed"
        findings.append(Finding("extra", extra, "note" if lacking else "ok", detail))
    return findings


def _programs() -> list[Finding]:
    """Report the programs that components run; they may find one elsewhere too, and say so where they do not."""
    users: dict[str, list[str]] = {}
    extras: dict[str, str] = {}
    for spec in get_registry().specs():
        for program in spec.programs:
            users.setdefault(program, []).append(f"{spec.kind} {spec.name}")
            extras.setdefault(program, spec.extra)
    findings = []
    for program, names in users.items():
        path = shutil.which(program)
        how = f": pip install 'regionkit[{extras[program]}]'" if extras[program] else ""
        detail = f"{path}, for {', '.join(names)}" if path else f"not on the PATH; {', '.join(names)} may need it{how}"
        findings.append(Finding("program", program, "ok" if path else "note", detail))
    return findings


def _devices() -> list[Finding]:
    """Report devices; a torch that is missing or cannot be loaded is a finding, no crash."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return [Finding("device", "torch", "bad", f"cannot be imported: {describe(error)}")]
    findings = [Finding("device", "cpu", "ok", f"{torch.get_num_threads()} threads"), _onednn()]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        findings.append(Finding("device", f"cuda:{index}", "ok", detail))
    if torch.backends.mps.is_available():
        findings.append(Finding("device", "mps", "ok", "Apple GPU"))
    return findings


def _onednn() -> Finding:
    """Report which way float32 products take on this CPU; it is measured here where no model has run yet."""
    from regionkit.core.compute import VARIABLE, forbidden, probe

    if forbidden():
        return Finding("device", "cpu products", "note", f"torch's own: oneDNN's are forbidden by {VARIABLE}=off")
    found = probe()
    if found is None:
        return Finding("device", "cpu products", "ok", "torch's own: this torch has no oneDNN setting for them")
    which = "oneDNN's: it helps here" if found.helps else "torch's own: oneDNN does not help here"
    return Finding("device", "cpu products", "ok", f"{which}, {found}")


def _plugins() -> list[Finding]:
    registry = get_registry()
    findings = []
    for name, owner in registry.plugins.items():
        components = sum(registry.owner(spec) == owner for spec in registry.specs())
        commands = sum(registry.command_owner(command) == owner for command in registry.commands)
        notes = registry.loadings[name].notes
        detail = "; ".join(
            (f"{owner.distribution} {owner.version}, {components} components, {commands} commands", *notes)
        )
        findings.append(Finding("plugin", name, "note" if notes else "ok", detail))
    for plugin in registry.quarantined:
        findings.append(Finding("plugin", plugin.plugin, "note" if plugin.disabled else "bad", plugin.reason))
    findings += [Finding("environment", DISABLE_VARIABLE, "note", text) for text in unknown_disabled(registry)]
    return findings


def _weights() -> list[Finding]:
    from regionkit.registry.weights.bundle_manifest import status_in_bundle
    from regionkit.registry.weights.index import get_index, with_recipe

    index = get_index()
    findings = []
    for folder in get_registry().weight_folders:
        count = sum(file.path.is_relative_to(folder) for file in index.files)
        there = folder.is_dir()
        findings.append(
            Finding("weights", str(folder), "ok" if there else "note", f"{count} files" if there else "no such folder")
        )
    for file in index.files:
        wrong = status_in_bundle(file.path)
        findings += [Finding("weights", str(file.path), "bad", wrong)] if wrong else []
    for broken in index.damaged:
        error = with_recipe(broken)
        findings.append(Finding("weights", broken.path.name, "bad", "; ".join((error.message, *error.hints))))
    return findings


def _data() -> list[Finding]:
    """Report the folder of data sets, and the sets that are in it, whole or in part."""
    from regionkit.registry.commands.data_files import DATA_VARIABLE, folder_of, here, states

    root = os.environ.get(DATA_VARIABLE, "")
    if not root:
        detail = f"not set; say where data sets are with: export {DATA_VARIABLE}=DIR"
        return [Finding("environment", DATA_VARIABLE, "note", detail)]
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "is not there yet; toolkit data import makes it"
        status = "bad" if folder.exists() else "note"
        return [Finding("environment", DATA_VARIABLE, status, f"{root}: {wrong}")]
    findings = [Finding("environment", DATA_VARIABLE, "ok", root)]
    for spec in get_registry().specs("dataset"):
        files = states(spec, folder_of(spec))
        held = here(files)
        # Pictures that another set brought are no sign of this one.
        if any(one.found and not one.file.path.startswith("../") for one in files):
            complete = held == "yes"
            detail = (
                "all files are here" if complete else f"{_some(held)} here; the others: toolkit data list {spec.name}"
            )
            findings.append(Finding("data set", spec.name, "ok" if complete else "note", detail))
    return findings


def _some(held: str) -> str:
    return "optional files alone are" if held == "no" else f"{held} are"


def _folders() -> list[Finding]:
    from regionkit.core.cache import cache_folder

    findings = []
    cache = cache_folder()
    nearest = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    detail = f"{_megabytes(cache):.1f} MB" if writable else "cannot be written; name another with REGIONKIT_CACHE"
    findings.append(Finding("folder", str(cache), "ok" if writable else "bad", f"cache, {detail}"))
    for variable in ("REGIONKIT_WEIGHTS", "REGIONKIT_DISABLE", "REGIONKIT_OFFLINE"):
        if os.environ.get(variable):
            findings.append(Finding("environment", variable, "ok", os.environ[variable]))
    return findings


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6 if folder.is_dir() else 0.0
