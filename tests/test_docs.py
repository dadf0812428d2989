"""The pages under docs/ say what the code does: fields, codes, findings, module order, command lines, links."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import typer.main
from pydantic import TypeAdapter

import piqa_cli
from benchmarks import data_licences
from doc_pages import PAGES, ROOT, blocks, steps
from piqa_cli.cli.app import app
from piqa_cli.compact.explain import FAULT_NAMES
from piqa_cli.compact.findings import ROWS
from piqa_cli.regions import decode_heat, encode_heat, encode_mask
from piqa_cli.schema import SCALES, Outcome
from piqa_cli.training.settings import STAGES
from piqa_cli.writers.columns import COLUMNS
from scripts import draw_levels

SCHEMA_PAGE = PAGES["docs/schema.md"]
QUOTED = set(re.findall(r"`([^`\n]+)`", SCHEMA_PAGE))
CODE = re.compile(r"[EN]_[A-Z]+(?:_[A-Z]+)*")
PIQA = typer.main.get_command(app)


def schema_words() -> Iterator[str]:
    """Every field name and every fixed value of the JSON Schema that `piqa schema` prints."""
    pending: list[Any] = [TypeAdapter(Outcome).json_schema(mode="serialization")]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from node.get("properties", {})
            yield from (value for value in node.get("enum", []) if isinstance(value, str))
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def source_codes() -> set[str]:
    """Reason and error codes: what text in the source is or begins with, docstrings apart."""
    found = set()
    for path in (ROOT / "src" / "piqa_cli").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
                match = CODE.match(node.value)
                if match and re.fullmatch(r"$|:.*", node.value[match.end() :], flags=re.DOTALL):
                    found.add(match.group())
    return found


@pytest.mark.parametrize("word", sorted(set(schema_words())))
def test_every_field_and_fixed_value_of_the_json_schema_is_explained(word: str) -> None:
    assert word in QUOTED or f'"{word}"' in QUOTED


def test_the_codes_in_the_source_and_on_the_page_are_the_same() -> None:
    codes = source_codes()
    assert {"E_DECODE", "E_MASK_EMPTY", "N_NO_PROMPT"} <= codes
    assert codes == set(CODE.findall(SCHEMA_PAGE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}{row.sign:+d}")
def test_every_kind_of_finding_is_explained_with_its_unit(row: Any) -> None:
    assert f"| `{row.kind}` | `{row.unit}` |" in SCHEMA_PAGE


@pytest.mark.parametrize("level", sorted({level for scale in SCALES.values() for level in scale.levels}))
def test_every_level_word_is_named(level: str) -> None:
    assert level in QUOTED


def test_the_csv_columns_are_listed_in_their_order() -> None:
    (block,) = [text for text in blocks("docs/schema.md", "") if text.startswith("schema_version")]
    assert re.findall(r"\w+", block) == [column.name for column in COLUMNS]


@pytest.mark.parametrize("seed", range(5))
def test_the_decoder_on_the_page_reads_our_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.random((4 + seed, 7)) < 0.4, np.ones((23, 31))) > 0
    mask = patches & (rng.random(patches.shape) < 0.9)
    encoded = encode_mask(mask)
    names: dict[str, Any] = {}
    for text in blocks("docs/schema.md", "python"):
        exec(text, names)  # the page's own lines, as a reader would run them
    assert np.array_equal(names["decode"](list(encoded.size), encoded.counts), mask)


def test_the_decoder_on_the_page_reads_our_heat_maps() -> None:
    heat = encode_heat(np.random.default_rng(0).random((5, 7)), (-3, 0, 11, 10))
    names: dict[str, Any] = {}
    for text in blocks("docs/schema.md", "python"):
        exec(text, names)
    np.testing.assert_allclose(names["decode_heat"](list(heat.size), heat.values), decode_heat(heat), atol=1e-6)


@pytest.mark.parametrize("kind", FAULT_NAMES)
def test_every_kind_of_fault_is_explained_in_the_words_of_the_explanation(kind: str) -> None:
    assert re.search(rf"\| `{kind}` \| {FAULT_NAMES[kind][1]}\b", SCHEMA_PAGE)


def test_the_picture_of_the_levels_is_the_order_that_the_import_test_holds() -> None:
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text("utf-8"))
    (order,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER"
    ]
    (block,) = [text for text in blocks("docs/architecture.md", "") if text.startswith("level 0")]
    drawn = re.findall(r"[\w.*]+", "\n".join(line for line in block.splitlines() if not line.startswith("level")))
    assert drawn == [name or "piqa_cli" for name in order]


def test_the_picture_of_the_parts_is_what_the_code_imports() -> None:
    mark, end = draw_levels.MARKS
    page = PAGES["docs/architecture.md"]
    assert page[page.index(mark) + len(mark) : page.index(end)] == draw_levels.drawn(), "python -m scripts.draw_levels"


def test_the_pictures_of_the_pages_are_there_and_small() -> None:
    shown = {name for text in PAGES.values() for name in re.findall(r"!\[[^\]]*\]\((?:docs/)?(pictures/[^)]+)\)", text)}
    files = {f"pictures/{path.name}" for path in (ROOT / "docs" / "pictures").iterdir()}
    assert shown == files
    assert sum((ROOT / "docs" / name).stat().st_size for name in files) < 300_000


def test_the_training_page_has_a_row_for_every_stage() -> None:
    assert re.findall(r"^\| `(\w+)` \| [\d,]+ \|", PAGES["docs/compact.md"], flags=re.MULTILINE) == list(STAGES)


def shell_lines() -> list[tuple[str, str]]:
    """(page, words of a `piqa` command) for every one in a shell block."""
    return [
        (page, shlex.join(words))
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        for words in steps(line)
    ]


def inline_commands() -> list[tuple[str, str]]:
    """(page, text) for every `piqa ...` within a sentence or a table."""
    return [
        (page, span.partition(" \\|")[0].partition(" <")[0])
        for page, text in PAGES.items()
        for span in re.findall(r"`piqa ([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    ]


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command (or group) that words name, and the words behind its name; KeyError where there is none."""
    command: Any = PIQA
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_the_pages_show_command_lines() -> None:
    assert len(shell_lines()) >= 10
    assert len(inline_commands()) >= 10


@pytest.mark.parametrize(("page", "line"), shell_lines())
def test_every_command_line_in_a_shell_block_can_be_parsed(page: str, line: str) -> None:
    command, rest = find_command(shlex.split(line))
    assert command.make_context(command.name, rest).params  # raises what a user would be told


@pytest.mark.parametrize(("page", "text"), inline_commands())
def test_every_command_and_option_named_in_a_sentence_exists(page: str, text: str) -> None:
    words = [word.strip("[]") for word in text.split() if re.match(r"\[?-*[a-z]", word)]
    named = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    known = {"--help"}
    for alternative in itertools.product(*(word.split("|") for word in named)):
        command, _ = find_command(list(alternative))
        known |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("line", ["assess a.jpg", "assess a.jpg b.jpg --nonsense", "batch x --format nonsense"])
def test_a_wrong_option_or_a_missing_argument_would_be_noticed(line: str) -> None:
    command, rest = find_command(shlex.split(line))
    with pytest.raises(typer.TyperException):
        command.make_context(command.name, rest)


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(KeyError):
        find_command(["models", "nonsense"])


def test_the_python_example_uses_public_names_with_arguments_that_they_take() -> None:
    (text,) = blocks("README.md", "python")
    tree = ast.parse(text)
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "piqa_cli"
        for alias in node.names
    }
    assert {"assess", "assess_pairs", "open_assessor"} <= names <= set(piqa_cli.__all__)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]
    for call in calls:
        signature = inspect.signature(getattr(piqa_cli, ast.unparse(call.func)))
        signature.bind(*call.args, **{keyword.arg or "": keyword.value for keyword in call.keywords})
    assert len(calls) >= len(names)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_headings_that_pages_point_to_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text("utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if not anchor:
            continue
        headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


def programs() -> list[tuple[str, str]]:
    """(module, what stands behind it) for every program of the repository that a page names."""
    found = set()
    for text in (*PAGES.values(), (ROOT / "CONTRIBUTING.md").read_text("utf-8")):
        found |= set(re.findall(r"python -m ((?:benchmarks|scripts)\.\w+)((?:[^`]|`(?=`))*?)(?:`|\n\n|\Z)", text))
    return sorted((module, " ".join(more.split())) for module, more in found)


@pytest.mark.parametrize(("module", "more"), programs())
def test_every_program_that_a_page_names_runs_and_takes_the_options_it_shows(
    module: str, more: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main()
    assert ended.value.code in {0, None}
    assert set(re.findall(r"--[a-z][\w-]*", more)) <= set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))


def test_licences_are_counted_by_group_and_missing_ones_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "photos": ['{"repo": "a/b", "licence": "research"}'],
        "train_pairs": [
            '{"repo": "c/d", "licence": "custom: some company Limited"}',
            '{"repo": "c/e", "licence": null}',
            '{"repo": "c/e"}',
            '{"repo": "c/f", "licence": "BSD (LICENSE)"}',
        ],
    }
    for name, lines in rows.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text("\n".join(lines), "utf-8")
    data_licences.main(["--data", str(tmp_path)])
    printed = capsys.readouterr().out
    for line in ("| none stated | 1 | 2 |", "| custom terms | 1 | 1 |", "| BSD | 1 | 1 |", "| all | 3 | 4 |"):
        assert line in printed
    data_licences.main(["--data", str(tmp_path), "--repositories"])
    assert "| c/e | none stated | 2 |" in capsys.readouterr().out


def test_a_data_folder_without_manifests_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="expected a manifest"):
        data_licences.main(["--data", str(tmp_path)])


def test_the_counts_of_licences_are_those_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the training data is not beside the repository")
    data_licences.main(["--data", str(data), "--repositories"])
    for line in capsys.readouterr().out.splitlines():
        assert line in PAGES["docs/data-sources.md"].splitlines()
    data_licences.main(["--data", str(data)])
    card = PAGES["docs/model-card.md"].replace(",", "")
    for row in re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", capsys.readouterr().out, flags=re.MULTILINE):
        name, repositories, edits = (value.replace(",", "") for value in row)
        assert name == "all" or re.search(rf"\| {re.escape(name)}[^|]* \| {repositories} \| {edits} \|", card), name
