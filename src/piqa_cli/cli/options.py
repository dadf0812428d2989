"""The options that several commands share, as tables, and the wrapper that gives them to a command.

All but `--version` are settings: they also have a variable and a key in the configuration files. Those of the
first and the last group work before the command's name too (`piqa --device cpu batch ...`); the one after it wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

import typer

from piqa_cli.cli import completion
from piqa_cli.cli.config import DTYPES, LEAST_PIXELS, resolve
from piqa_cli.cli.run import Run, guarded
from piqa_cli.cli.streams import emit

P = ParamSpec("P")
Options = dict[str, Any]  # parameter name -> annotation, as Typer reads it
INPUT_PANEL, RESULTS_PANEL, GATES_PANEL = "Input", "Results", "Gates"
_SPEED, _MODEL, _READING, _RUN = "Speed", "Model", "Reading images", "General"
_LMM = "Image-text-to-text models"


def _option(kind: Any, *names: str, **rest: Any) -> Any:
    return Annotated[kind, typer.Option(*names, show_default=False, **rest)]


def option(
    panel: str,
    *names: str,
    metavar: str,
    help_: str,
    least: int | None = None,
    completer: completion.Completer | None = None,
) -> Any:
    """An option of one command, in a panel of its help; `completer`: what a shell completes its value to."""
    return typer.Option(*names, metavar=metavar, help=help_, min=least, rich_help_panel=panel, autocompletion=completer)


RECORDS_OUTPUT = option(
    RESULTS_PANEL, "--output", "-o", metavar="FILE|-", help_="Where they go; standard output by default."
)
"""Of commands that write records."""

OUTPUT = option(RESULTS_PANEL, "--output", "-o", metavar="FILE|-", help_="Where it goes; standard output by default.")
"""Of commands that write something about records."""

SUMMARY = option(RESULTS_PANEL, "--summary", metavar="FILE.json", help_="Also write the counts and verdicts there.")


def _flag(name: str, help_: str, panel: str | None = None, short: str | None = None) -> Any:
    names = (name,) if short is None else (name, short)
    return _option(bool | None, *names, metavar="", help=help_, rich_help_panel=panel)


def _print_version(asked: bool) -> None:
    if asked:
        from piqa_cli import __version__

        with guarded(Run()):
            emit(f"piqa {__version__}\n")
        raise typer.Exit


MODEL: Options = {
    "model": _option(
        str | None,
        "--model",
        "-m",
        metavar="NAME",
        autocompletion=completion.models,
        help="Who judges: compact by default. Also a folder that `piqa train` wrote; an image-text-to-text model, by"
        " folder or hub id (OWNER/NAME); or openai:NAME, which a server answers for.",
        rich_help_panel=_MODEL,
    ),
    "device": _option(
        str | None,
        "--device",
        metavar="DEVICE",
        autocompletion=completion.one_of("auto", "cpu", "cuda", "mps"),
        help="Where it computes: auto (default), cpu, cuda, cuda:N or mps.",
        rich_help_panel=_MODEL,
    ),
    "dtype": _option(
        str | None,
        "--dtype",
        metavar="TYPE",
        autocompletion=completion.one_of(*DTYPES),
        help="Its precision: auto (default), fp32, bf16 or fp16.",
        rich_help_panel=_MODEL,
    ),
    "offline": _flag("--offline/--no-offline", "Never use the network.", _MODEL),
    "cross_check": _flag(
        "--cross-check/--no-cross-check", "Have compact judge too, and tell where it disagrees.", _MODEL
    ),
    "revision": _option(
        str | None,
        "--revision",
        metavar="REV",
        help="Branch, tag or commit of a hub model; main by default.",
        rich_help_panel=_LMM,
    ),
    "adapter": _option(
        str | None,
        "--adapter",
        metavar="FOLDER",
        help="A LoRA adapter to put onto the model.",
        rich_help_panel=_LMM,
    ),
    "quantize": _option(
        Literal["8bit", "4bit"] | None,
        "--quantize",
        metavar="BITS",
        help="Hold its weights in 8bit or 4bit; needs piqa-cli[quantize].",
        rich_help_panel=_LMM,
    ),
    "grounding": _option(
        Literal["auto", "model", "compact", "mask"] | None,
        "--grounding",
        metavar="WHOSE",
        help="Whose region counts: the model's where it can ground, else compact's (auto, default); model; compact;"
        " or mask.",
        rich_help_panel=_LMM,
    ),
    "trust_remote_code": _flag(
        "--trust-remote-code/--no-trust-remote-code", "Run Python files that come with the model.", _LMM
    ),
    "base_url": _option(
        str | None,
        "--base-url",
        metavar="URL",
        help="Where the server of an openai:NAME model listens.",
        rich_help_panel=_LMM,
    ),
}
HUB: Options = {name: MODEL[name] for name in ("offline", "revision", "trust_remote_code")}
SEED: Options = {
    "seed": _option(
        int | None, "--seed", min=0, metavar="N", help="Of everything random; 0 by default.", rich_help_panel=_RUN
    ),
}
RESULTS: Options = {
    "format": _option(
        Literal["table", "json", "jsonl", "csv", "parquet"] | None,
        "--format",
        "-f",
        metavar="FORMAT",
        help="table, json, jsonl, csv or, for a batch, parquet. By default a table for a terminal; else by the suffix"
        " of --output, or JSON.",
        rich_help_panel=RESULTS_PANEL,
    ),
    "explain": _flag("--explain/--no-explain", "Give the reasons in sentences (default), or not.", RESULTS_PANEL),
    "explain_below": _option(
        float | None,
        "--explain-below",
        min=1,
        max=5,
        metavar="X",
        help="With an image-text-to-text model: explain only pairs whose overall score is below X.",
        rich_help_panel=RESULTS_PANEL,
    ),
    "fail_under": _option(
        list[str] | None,
        "--fail-under",
        metavar="DIM=VALUE",
        autocompletion=completion.gates,
        help="Exit with 10 unless every pair scores VALUE or more; DIM is overall, completion, harmony, naturalness"
        " or preservation. Repeatable.",
        rich_help_panel=GATES_PANEL,
    ),
}
READING: Options = {
    "max_pixels": _option(
        int | None,
        "--max-pixels",
        min=LEAST_PIXELS,
        metavar="N",
        help="Refuse images of more pixels; 120000000 by default.",
        rich_help_panel=_READING,
    ),
    "frame": _option(
        int | None,
        "--frame",
        min=0,
        metavar="N",
        help="Which frame of animations and multi-page files; 0 by default.",
        rich_help_panel=_READING,
    ),
    "invert_mask": _flag("--invert-mask/--no-invert-mask", "Masks are black where edited, not white.", _READING),
}
PAIRING: Options = {
    "match": _option(
        Literal["stem", "relpath"] | None,
        "--match",
        metavar="HOW",
        help="What the names of a pair share: stem (file names, default) or relpath (folders too).",
        rich_help_panel=INPUT_PANEL,
    ),
    "on_unpaired": _option(
        Literal["error", "warn", "ignore"] | None,
        "--on-unpaired",
        metavar="WHAT",
        help="A file without a partner is a failed row (warn, default), stops everything (error), or is passed over"
        " (ignore).",
        rich_help_panel=INPUT_PANEL,
    ),
}
EFFORT: Options = {
    "workers": _option(
        int | None,
        "--workers",
        min=1,
        metavar="N",
        help="Threads that read images ahead; one a core by default, at most 8.",
        rich_help_panel=_SPEED,
    ),
    "batch_size": _option(
        str | None,
        "--batch-size",
        metavar="auto|N",
        help="Pairs given to the model at once. auto (default): 8, on a GPU up to 64 while that is faster, fewer where"
        " memory runs out.",
        rich_help_panel=_SPEED,
    ),
    "max_errors": _option(
        str | None,
        "--max-errors",
        metavar="N|P%",
        help="How many failed pairs are tolerated; none by default. With more of them, exit with 6.",
        rich_help_panel=GATES_PANEL,
    ),
}
RUN: Options = {
    "quiet": _flag("--quiet", "Only errors on standard error.", _RUN, "-q"),
    "verbose": _flag("--verbose", "Say more on standard error.", _RUN, "-v"),
    "debug": _flag("--debug", "Show tracebacks of errors.", _RUN),
    "progress": _flag("--progress/--no-progress", "Show a progress bar on a terminal (default), or none.", _RUN),
}
_VERSION = _option(
    bool,
    "--version",
    metavar="",
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
    rich_help_panel=_RUN,
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
