"""The options that several commands share, as tables, and the wrapper that gives them to a command.

All but `--version` are settings: they also have a variable and a key in the configuration files. Those of the
first and the last group work before the command's name too (`piqa --device cpu batch ...`); the one after it wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

import typer

from piqa_cli.cli.config import resolve
from piqa_cli.cli.run import Run, guarded
from piqa_cli.cli.streams import emit

P = ParamSpec("P")
Options = dict[str, Any]  # parameter name -> annotation, as Typer reads it
_MODEL, _READING, _RUN = "Model", "Reading images", "General"


def _option(kind: Any, *names: str, **rest: Any) -> Any:
    return Annotated[kind, typer.Option(*names, show_default=False, **rest)]


def _print_version(asked: bool) -> None:
    if asked:
        from piqa_cli import __version__

        with guarded(Run()):
            emit(f"piqa {__version__}\n")
        raise typer.Exit


MODEL: Options = {
    "model": _option(str | None, "--model", "-m", metavar="NAME", help="Who judges.", rich_help_panel=_MODEL),
    "device": _option(
        str | None, "--device", metavar="auto|cpu|cuda[:N]|mps", help="Where it runs.", rich_help_panel=_MODEL
    ),
    "dtype": _option(
        str | None, "--dtype", metavar="auto|fp32|bf16|fp16", help="Its precision.", rich_help_panel=_MODEL
    ),
    "offline": _option(bool | None, "--offline/--no-offline", help="Never use the network.", rich_help_panel=_MODEL),
}
SEED: Options = {
    "seed": _option(
        int | None, "--seed", min=0, metavar="N", help="Of everything random; 0 by default.", rich_help_panel=_RUN
    ),
}
RESULTS: Options = {
    "format": _option(Literal["table", "json", "jsonl", "csv"] | None, "--format", "-f", help="Of the results."),
    "explain": _option(bool | None, "--explain/--no-explain", help="With or without sentences."),
    "fail_under": _option(
        list[str] | None,
        "--fail-under",
        metavar="DIM=VALUE",
        help="Exit with 10 unless every pair scores VALUE or more; DIM is overall, completion, harmony, naturalness"
        " or preservation. Repeatable.",
    ),
}
READING: Options = {
    "max_pixels": _option(
        int | None, "--max-pixels", min=1, metavar="N", help="Refuse larger images.", rich_help_panel=_READING
    ),
    "frame": _option(
        int | None, "--frame", min=0, metavar="N", help="Of animations and multi-page files.", rich_help_panel=_READING
    ),
    "invert_mask": _option(
        bool | None, "--invert-mask/--no-invert-mask", help="Masks are black where edited.", rich_help_panel=_READING
    ),
}
PAIRING: Options = {
    "match": _option(Literal["stem", "relpath"] | None, "--match", help="What two names must share."),
    "on_unpaired": _option(
        Literal["error", "warn", "ignore"] | None,
        "--on-unpaired",
        help="A file without a partner stops all (error), is a failed row (warn), or is passed over.",
    ),
}
EFFORT: Options = {
    "workers": _option(int | None, "--workers", min=1, metavar="N", help="Threads that decode images."),
    "batch_size": _option(str | None, "--batch-size", metavar="auto|N", help="Pairs given to the model at once."),
    "max_errors": _option(str | None, "--max-errors", metavar="N|P%", help="Failed pairs that are tolerated."),
}
RUN: Options = {
    "quiet": _option(bool | None, "--quiet", "-q", help="Only errors on standard error.", rich_help_panel=_RUN),
    "verbose": _option(bool | None, "--verbose", "-v", help="Say more on standard error.", rich_help_panel=_RUN),
    "debug": _option(bool | None, "--debug", help="Show tracebacks.", rich_help_panel=_RUN),
    "progress": _option(bool | None, "--progress/--no-progress", help="The progress bar.", rich_help_panel=_RUN),
}
_VERSION = _option(
    bool, "--version", is_eager=True, callback=_print_version, help="Show the version and exit.", rich_help_panel=_RUN
)


def command(*groups: Options) -> Callable[[Callable[Concatenate[Run, P], None]], Callable[..., None]]:
    """Turns `def body(run, <its own options>)` into what Typer wants, with the groups' options added.

    The settings are resolved before the body runs, from both places on the command line, the environment and the
    configuration files; the body finds them in `run.settings`.
    """
    shared = {name: option for group in (*groups, RUN) for name, option in group.items()}

    def decorate(body: Callable[Concatenate[Run, P], None]) -> Callable[..., None]:
        def wrapper(ctx: typer.Context, **given: Any) -> None:
            run = ctx.find_object(Run) or Run()
            given.pop("version")
            with guarded(run):
                here = {name: given.pop(name) for name in shared}
                run.flags |= {name: value for name, value in here.items() if value is not None}
                run.settings = resolve(run.flags)
                body(run, **given)  # type: ignore[call-arg]  # Typer gives what `_declare` declared

        own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
        _declare(wrapper, body, [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own], shared)
        return wrapper

    return decorate


def root_callback(ctx: typer.Context, **given: Any) -> None:
    """Judge partial-AIGC images: where a photo was edited, how good the edit is, and why."""
    given.pop("version")
    run = ctx.find_object(Run)
    if run is not None:
        run.flags |= given


def _declare(
    wrapper: Callable[..., None], body: Callable[..., None], own: list[inspect.Parameter], shared: Options
) -> None:
    """Gives the wrapper the name, the help and the parameters that Typer reads off a function."""

    def keyword(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [
        keyword("ctx", typer.Context, inspect.Parameter.empty),
        *own,
        *(keyword(name, option) for name, option in shared.items()),
        keyword("version", _VERSION, default=False),
    ]
    wrapper.__name__, wrapper.__doc__ = body.__name__, body.__doc__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


_declare(root_callback, root_callback, [], {**MODEL, **SEED, **RUN})
