"""The promises of docs/security.md: each names tests that exist; and those that no other file holds."""

from __future__ import annotations

import ast
import io
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from piqa_cli.cli.inputs import failure_line
from piqa_cli.cli.run import Run, report
from piqa_cli.compact import assessor as compact
from piqa_cli.errors import InputError, ModelError
from piqa_cli.models import open_assessor
from piqa_cli.report.content import row
from piqa_cli.report.pictures import draw_preview
from piqa_cli.schema import ErrorInfo
from piqa_cli.writers import open_writer
from records import HOSTILE, ORDINARY, UNREADABLE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
PROMISES = re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
NASTY = "\x1b]0;pwned\x07\x1b[31mred\x9b2J \u202egnp.exe\u2066 [bold]x[/bold] \r\n<script>alert(1)</script>\udcff"


def test_every_promise_names_tests_that_exist() -> None:
    assert [int(number) for number, _, _ in PROMISES] == list(range(1, len(PROMISES) + 1))
    assert len(PROMISES) >= 15
    for number, _, held in PROMISES:
        named = re.findall(r"`(tests/\w+\.py)::(\w+)`", held)
        assert named, number
        assert re.sub(r"`tests/\w+\.py::\w+`(, )?", "", held) == ""
        for file, test in named:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


NASTY_FAILURE = UNREADABLE.model_copy(
    update={
        "id": NASTY,
        "pair": UNREADABLE.pair.model_copy(update=dict.fromkeys(("id", "source", "edited", "mask", "prompt"), NASTY)),
        "error": ErrorInfo(**dict.fromkeys(ErrorInfo.model_fields, NASTY)),
    }
)
NASTY_RECORD = ORDINARY.model_copy(
    update={
        "id": NASTY,
        "pair": ORDINARY.pair.model_copy(
            update={
                "source": ORDINARY.pair.source.model_copy(update={"path": NASTY, "notes": (NASTY,)}),
                "edited": ORDINARY.pair.edited.model_copy(update={"path": NASTY}),
                "prompt": NASTY,
            }
        ),
        "model": ORDINARY.model.model_copy(update={"name": NASTY, "version": NASTY}),
        "explanation": NASTY,
        "warnings": (NASTY,),
        "fusion": NASTY,
        "findings": (ORDINARY.findings[0].model_copy(update={"kind": NASTY, "text": NASTY, "unit": NASTY}),),
    }
)


def obeyed(text: str) -> list[str]:
    """What of a text a terminal would obey, line ends apart."""
    return [character for character in text if not character.isprintable() and character != "\n"]


@pytest.mark.parametrize("outcome", [HOSTILE, NASTY_RECORD, NASTY_FAILURE], ids=["hostile", "record", "failure"])
def test_nothing_that_a_terminal_obeys_comes_out_of_any_door(
    outcome: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for form in ("table", "json", "jsonl"):
        for single in (True, False):
            stream = io.StringIO()
            with open_writer(form, stream, single=single, width=100) as writer:
                writer.write(outcome)
            assert obeyed(stream.getvalue()) == []
            assert form == "table" or stream.getvalue().isascii()
    page = row(outcome, draw_preview(outcome, None), None, None)
    assert page.isascii()
    assert not set("<>\x1b") & set(page)
    run = Run()
    run.note(NASTY)
    run.warn(f"{NASTY}: line 3 is torn")
    report(InputError(NASTY, file=NASTY, expected=NASTY, found=NASTY, hint=NASTY))
    if outcome is NASTY_FAILURE:
        run.note(failure_line(outcome))
    assert obeyed(capsys.readouterr().err) == []


class Opened:
    """What a pickle does when it is read: it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("config", "name", "code"),
    [
        ('{"model_type": "smolvlm"}', "pytorch_model.bin", "E_MODEL_PICKLE"),
        ('{"model_type": "smolvlm"}', "model.pkl", "E_MODEL_PICKLE"),
        ('{"model_type": "smolvlm"}', "checkpoint.pt", "E_MODEL_PICKLE"),
        ('{"model_type": "smolvlm"}', "model.safetensors", "E_MODEL"),
        ("compact", "model.safetensors", "E_MODEL"),
        ("compact", "pytorch_model.bin", "E_MODEL"),
    ],
)
def test_a_pickle_is_refused_and_never_unpickled(tmp_path: Path, config: str, name: str, code: str) -> None:
    folder, mark = tmp_path / "model", tmp_path / "unpickled"
    folder.mkdir()
    if config == "compact":
        shutil.copy(Path(compact.__file__).parent / "weights" / "config.json", folder)
    else:
        (folder / "config.json").write_text(config)
    (folder / name).write_bytes(pickle.dumps(Opened(mark)))
    with pytest.raises(ModelError) as caught:
        open_assessor(str(folder), device="cpu", offline=True)
    assert caught.value.code == code
    assert not mark.exists()
    pickle.loads((folder / name).read_bytes())
    assert mark.exists(), "it would have made it"
