"""The root of the command line: ``toolkit`` and its alias ``regionkit``.

Commands are strings until one is used, so that ``toolkit --help`` imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from regionkit.core.errors import ConfigError, RegionkitError, did_you_mean
from regionkit.registry.registry import get_registry

#: Flags of the root that may also stand after the command.
_EVERYWHERE = ("--traceback", "--offline", "--allow-local-plugins")
#: Exit status of a command that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130


class KnownError(click.ClickException):
    """A RegionkitError on its way to the terminal: ``error: ...`` without a traceback."""

    def __init__(self, error: RegionkitError) -> None:
        super().__init__(str(error))
        self.error = error
        vars(self)["exit_code"] = error.exit_code  # click declares it for the class, and reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print every mistake, each under its own heading."""
        problems = self.error.problems if isinstance(self.error, ConfigError) else (self.error,)
        for problem in problems:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {problem}", file=file or sys.stderr)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept the root's flags anywhere before ``--``."""
        end = args.index("--") if "--" in args else len(args)
        flags = [arg for arg in args[:end] if arg in _EVERYWHERE]
        rest = [arg for arg in args[:end] if arg not in _EVERYWHERE] + args[end:]
        return super().parse_args(ctx, [*flags, *rest])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(get_registry().commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Raises:
            RunFailed: Its module cannot be imported.
        """
        registry = get_registry()
        spec = registry.commands.get(cmd_name)
        if spec is None:
            return None
        command: click.Command = registry.import_for(spec, spec.target)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones come close."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            registry = get_registry()
            raise RegionkitError(
                f"no command named '{name}'",
                did_you_mean(name, registry.commands) or f"commands are: {', '.join(sorted(registry.commands))}",
                *registry.skipped(),
                "see: toolkit --help",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the summaries of their specs."""
        rows = [(name, spec.summary) for name, spec in sorted(get_registry().commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Make the context; its options are read here, and listing commands for ``--help`` may find known errors."""
        try:
            return super().make_context(*args, **extra)
        except RegionkitError as error:
            raise KnownError(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn what ends it into an exit status."""
        try:
            return super().invoke(ctx)
        except RegionkitError as error:
            if ctx.params.get("traceback"):
                import traceback

                traceback.print_exc()
            raise KnownError(error) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise click.exceptions.Exit(_INTERRUPTED) from None


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"regionkit {version('regionkit')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.option("--offline", is_flag=True, help="Never use the network; may also stand after the command.")
@click.option("--traceback", is_flag=True, help="Show where a known error came from; may also stand after the command.")
@click.option(
    "--allow-local-plugins",
    is_flag=True,
    help="Run the code that YAML files bring under their key 'plugins'; may also stand after the command.",
)
@click.pass_context
def root(context: click.Context, /, offline: bool, traceback: bool, allow_local_plugins: bool) -> None:
    """Caption any region of an image: assemble, train, ablate and serve captioners from YAML."""
    if allow_local_plugins:
        from regionkit.registry.discovery.local_plugins import allow_local_plugins as allowing

        context.with_resource(allowing())
    if offline:
        context.with_resource(_offline())


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the network out for one command, which may be one of many in this process."""
    names = ("REGIONKIT_OFFLINE", "HF_HUB_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``toolkit``; ends the process with 0 (good), 1 (failed), 2 (wrong use) or 130 (interrupted)."""
    name = Path(sys.argv[0]).name
    root.main(
        args=None if argv is None else list(argv), prog_name=name if name in ("toolkit", "regionkit") else "toolkit"
    )
