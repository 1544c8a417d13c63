"""``toolkit weights convert``: official checkpoints and pickles into files of ours."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.spec import ComponentSpec


@click.command("convert")
@click.argument("what")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--role", "roles", multiple=True, metavar="ROLE=PATH", help="Say which file is which; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to make.  [NAME.safetensors among your weights]")
@click.option("--space", default="", metavar="NAME[DIM]", help="The space, where the files do not say it.")
@click.option("--corpus", default="", help="Name of the texts it was trained on.")
@click.option("--corruption", default="", help="What the training embeddings went through, such as noise(std=0.08).")
@click.option("--license", "licence", default="", help="Licence of the weights.")
@click.option("--set", "overrides", multiple=True, metavar="option=value", help="An option of the component.")
@click.option("--half", is_flag=True, help="Store floating-point tensors as float16.")
@click.option("--names", type=click.Path(path_type=Path), help="For embeddings: a list of their names, .json or .txt.")
@click.option("--record", "records", multiple=True, metavar="MODULE.CLASS", help="Read the fields of such objects.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object about the file that was made.")
def convert(what: str, files: tuple[Path, ...], **options: Any) -> None:
    """Turn released weights into a file of ours, without running anything that is inside them.

    toolkit weights convert COMPONENT FILE... --out X.safetensors

    COMPONENT is NAME or KIND/NAME. Its files, or their folder, are known by the names of their release, or by --role;
    a file with a tensor that is not accounted for is refused.

    toolkit weights convert PICKLE --out X.json

    A single PICKLE of words, tensors or settings becomes .json or .safetensors and needs no component.
    """
    from regionkit.registry.weights.conversion import find_component, unknown_component

    spec = find_component(what)
    if spec is not None and (files or options["roles"] or not Path(what).exists()):
        _convert_component(spec, files, options)
        return
    if not Path(what).exists():
        raise unknown_component(what)
    _convert_file(Path(what), files, options)


def _convert_component(spec: ComponentSpec, paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    from regionkit.registry.weights.conversion import Stated, convert, match_files, part_of, recipe_of, save
    from regionkit.registry.weights.folders import default_folder, found_text
    from regionkit.registry.weights.reading import spec_for

    if not spec.reader:
        raise WeightsError(
            f"{spec.kind} '{spec.name}' has no released layout that could be converted",
            f"its weights are made with toolkit train; see: toolkit show {spec.name}",
        )
    for option, word in (("names", "names"), ("records", "record")):
        if options[option]:
            raise RegionkitError(f"--{word} belongs to single pickles, not to a component")
    part = part_of(spec, options["overrides"])
    files = match_files(spec_for(part), paths, _named(options["roles"]))
    out = _out(options["out"] or default_folder() / f"{spec.name}.safetensors", [".safetensors"], files.values())
    stated = Stated(options["space"], options["corpus"], options["corruption"], options["licence"])
    tensors, header = convert(part, files, stated, recipe_of(spec, files, out, _stated_words(options)))
    made = save(out, tensors, header, half=options["half"])
    count = sum(tensor.numel() for tensor in tensors.values())
    row = {
        "weights": str(made.path),
        "kind": spec.kind,
        "name": spec.name,
        "space": header.space,
        "corruption": header.corruption,
        "corpus": header.corpus,
        "license": header.license,
        "numbers": count,
        "from": {role: str(path) for role, path in files.items()},
    }
    if options["as_json"]:
        click.echo(json.dumps(row, indent=2))
        return
    click.echo(f"wrote {out}: {spec.kind} '{spec.name}', {count:,} numbers in {len(tensors)} tensors")
    click.echo(f"  from {', '.join(f'{role} {path.name}' for role, path in files.items())}")
    click.echo(f"  space {_space_text(header.space)}")
    click.echo(f"  licence {header.license}")
    click.echo(f"use it with --set {spec.kind}.weights=file:{shlex.quote(str(out))}; {found_text(out)}")


def _space_text(space: str) -> str:
    from regionkit.core.weights import UNNAMED

    if space and not space.startswith(UNNAMED):
        return space
    return f"{space or 'not said by the files'}; it is taken on trust, or given with --space NAME[DIM]"


def _convert_file(path: Path, files: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Convert one pickle or checkpoint by itself."""
    if files:
        raise RegionkitError(
            f"'{path}' is a file, and one pickle is converted at a time",
            "for the files of a component name it first: toolkit weights convert COMPONENT FILE ...",
        )
    given = [name for name in ("space", "corpus", "corruption", "half", "overrides", "roles") if options[name]]
    if given:
        word = {"overrides": "set", "roles": "role"}.get(given[0], given[0])
        raise RegionkitError(f"--{word} belongs to the weights of a component", "name the component first")
    if options["out"] is None:
        raise RegionkitError(
            f"say what to make of {path.name}: --out X.json or --out X.safetensors",
            "or name the component whose weights it is: toolkit weights convert COMPONENT FILE",
        )
    from regionkit.registry.weights.pickles import convert_plain

    out = _out(options["out"], [".json", ".safetensors"], [path])
    text = convert_plain(path, out, records=options["records"], names=options["names"])
    click.echo(
        json.dumps({"file": str(out), "holds": text}, indent=2) if options["as_json"] else f"wrote {out}: {text}"
    )


def _named(roles: tuple[str, ...]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for text in roles:
        role, equals, path = text.partition("=")
        if not equals or not path:
            raise RegionkitError(f"--role {text}: write ROLE=PATH")
        if role in named:
            raise RegionkitError(f"--role {role} is given twice")
        named[role] = Path(path).expanduser()
        if not named[role].exists():
            raise WeightsError(f"--role {text}: there is no file {path}")
    return named


def _out(out: Path, endings: list[str], inputs: Any) -> Path:
    """Check, before anything is read, that a file can have this path."""
    if out.suffix not in endings:
        raise RegionkitError(f"--out {out}: the file ends in {' or '.join(endings)}")
    if out.is_dir():
        raise RegionkitError(f"--out {out}: there is a folder of that name")
    if any(out.resolve() == path.resolve() for path in inputs):
        raise RegionkitError(f"--out {out} is the file that is read", "choose another name")
    return out


def _stated_words(options: dict[str, Any]) -> list[str]:
    """Return the options that decide the content of the file, as they were written."""
    words: list[str] = []
    for option, name in (
        ("space", "space"),
        ("corpus", "corpus"),
        ("corruption", "corruption"),
        ("licence", "license"),
    ):
        words += [f"--{name}", options[option]] if options[option] else []
    words += [word for text in options["overrides"] for word in ("--set", text)]
    return [*words, *(["--half"] if options["half"] else [])]
