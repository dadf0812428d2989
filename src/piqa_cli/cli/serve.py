"""`piqa serve`: requests on standard input, records on standard output, the model loaded once."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from piqa_cli.cli.assess import image_policy, load_assessor
from piqa_cli.cli.batch import DEFAULT_BATCH_SIZE, readers
from piqa_cli.cli.inputs import ROOT, check_root
from piqa_cli.cli.options import EFFORT, INPUT_PANEL, MODEL, READING, RESULTS, command, option
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import open_stdin, printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from piqa_cli.assessor import Assessor
    from piqa_cli.schema import Outcome

_EXPLAINING = {name: RESULTS[name] for name in ("explain", "explain_below")}
_EFFORT = {name: EFFORT[name] for name in ("workers", "batch_size")}


@command(_EXPLAINING, _EFFORT, MODEL, READING)
def serve(
    run: Run,
    stdio: Annotated[
        bool,
        option(
            INPUT_PANEL,
            "--stdio",
            metavar="",
            help_="Requests on standard input, one JSON object a line; records on standard output.",
        ),
    ] = False,
    root: Annotated[str | None, ROOT] = None,
) -> None:
    """Answer requests of another program, one record each, in their order, until its end of the pipe is closed."""
    if not stdio:
        raise UsageError("say how requests come: --stdio is the one way there is", hint="piqa serve --stdio")
    check_root(root)
    assessor = load_assessor(run)

    from piqa_cli.writers import open_writer

    model = assessor.info
    run.note(f"ready: {printable(model.name)} {printable(model.version)}; one JSON object a line on standard input")
    run.progress = "before the first answer"
    done = 0
    with closing(_answers(run, assessor, root)) as answers, open_writer("jsonl", sys.stdout) as writer:
        for outcome in answers:
            writer.write(outcome)
            done += 1
            run.progress = f"after {plural(done, 'answer')}"
    run.note(f"standard input has ended; {plural(done, 'answer')} given")


def _answers(run: Run, assessor: Assessor, root: str | None) -> Generator[Outcome, None, None]:
    from piqa_cli.pairs import confine, read_requests
    from piqa_cli.pipeline import answer_requests

    yield from answer_requests(
        confine(read_requests(open_stdin(), root), root, offline=run.settings.offline),
        assessor,
        policy=image_policy(run.settings),
        workers=readers(run.settings),
        batch_size=run.settings.batch_size or DEFAULT_BATCH_SIZE,
        explain=run.settings.explain,
    )
