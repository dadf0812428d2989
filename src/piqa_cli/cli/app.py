"""The table of commands, and the entry point."""

from __future__ import annotations

import sys

import typer

from piqa_cli.cli import (
    assess,
    batch,
    compare,
    dataset,
    doctor,
    evaluate,
    merge,
    models,
    options,
    schema,
    serve,
    synth,
    train,
)
from piqa_cli.cli import report as report_command
from piqa_cli.cli.run import Run, report, terminate_like_interrupt
from piqa_cli.cli.streams import CLOSED_PIPE_STATUS, abandon_stdout, prepare
from piqa_cli.errors import OutputError, UsageError

app = typer.Typer(
    name="piqa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 2 usage, 3 input, 4 model, 5 device, 6 some pairs failed, 10 a gate failed,"
    " 130 interrupted, 1 anything else.",
)
app.callback()(options.root_callback)
app.command("assess")(assess.assess)
app.command("batch")(batch.batch)
app.command("serve")(serve.serve)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("merge")(merge.merge)
app.command("report")(report_command.report)
app.add_typer(models.app, name="models")
app.add_typer(train.app, name="train")
app.add_typer(dataset.app, name="dataset")
app.command("doctor")(doctor.doctor)
app.command("synth")(synth.synth)
app.command("schema")(schema.schema)


def main() -> None:
    """Runs the command line on `sys.argv`; ends with `SystemExit` and one of the documented statuses."""
    prepare()
    terminate_like_interrupt()
    try:
        status = app(sys.argv[1:], prog_name="piqa", obj=Run(), standalone_mode=False)
    except typer.TyperException as error:  # what the parser says; what commands raise has become a status by now
        status = _usage_error(error)
    except OSError as error:  # the help could not be written
        abandon_stdout()
        status = CLOSED_PIPE_STATUS
        if not isinstance(error, BrokenPipeError):
            status = report(OutputError(f"standard output cannot be written: {error.strerror}"))
    sys.exit(status or 0)


def _usage_error(error: typer.TyperException) -> int:
    """In the same words as all other errors, and without Rich, whose import takes longer than all the rest."""
    message = error.format_message().replace("Value error, ", "").strip().rstrip(".")
    if message:  # without: `piqa` alone, which has shown its help
        path = getattr(getattr(error, "ctx", None), "command_path", "piqa")
        hint = f"see `{path} --help`"
        if message.startswith("No such option"):
            hint += "; a file name that begins with a dash goes after `--`"
        return report(UsageError(message, hint=hint))
    return error.exit_code
