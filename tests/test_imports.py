"""The import rules: levels, no circles, heavy libraries only where tensors are handled, a light `--help`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "piqa_cli"

# A module imports only from modules before it. `name.*` stands for a package's modules, which may
# import each other, though never in a circle.
ORDER = (
    # level 0: what everything speaks
    "errors",
    "schema",
    # level 1: files, arrays and records; no model
    "failures",
    "remote",
    "regions",
    "metrics",
    "images.murmurs",
    "images.colour",
    "images.files",
    "images.decoding",
    "images.reduction",
    "images.masks",
    "images.loading",
    "images",
    "pairs.rows",
    "pairs.requests",
    "pairs.confinement",
    "pairs.folders",
    "pairs.folder_pairs",
    "pairs.manifest",
    "pairs.epaiqa",
    "pairs.names",
    "pairs.annotations",
    "pairs.columns",
    "pairs.truth",
    "pairs.finding",
    "pairs",
    "align.motion",
    "align.tone",
    "align.matching",
    "align.registration",
    "align",
    "assessor",
    "writers.sink",
    "writers.columns",
    "writers.terminal",
    "writers.writing",
    "writers.grids",
    "writers.plots",
    "writers.replacing",
    "writers.junit",
    "writers.tables",
    "writers",
    "overlay.*",
    # level 2: the flow and the assessors
    "devices",
    "fusion",
    "compact.config",
    "compact.network",
    "compact.weights_file",
    "compact.planes",
    "compact.traces",
    "compact.drift",
    "compact.features",
    "compact.measured",
    "compact.findings",
    "compact.completion",
    "compact.explain",
    "compact.framing",
    "compact.grounding",
    "compact.judgement",
    "compact.assessor",
    "compact",
    "lmm",
    "lmm.settings",
    "lmm.prompts",
    "lmm.families",
    "lmm.checkpoint",
    "lmm.memory",
    "lmm.hub",
    "lmm.cache",
    "lmm.adapters",
    "lmm.processors",
    "lmm.loading",
    "lmm.rendering",
    "lmm.prefix",
    "lmm.greedy",
    "lmm.levels",
    "lmm.views",
    "lmm.boxes",
    "lmm.grounding",
    "lmm.judgement",
    "lmm.explanations",
    "lmm.assessor",
    "lmm.addresses",
    "lmm.chat",
    "lmm.served",
    "lmm.cross_check",
    "resume.*",
    "prefetch",
    "pipeline",
    # level 3: the registry, and what makes the weights
    "models",
    "scaling.*",
    "doctor_pairs",
    "doctor",
    "synthesis.*",
    "api",
    "",
    "training.*",
    "dataset.*",
    "evaluation.*",
    "report.*",
    # level 4: the doors
    "cli.*",
    "__main__",
)

# Modules that may import these at module level; anywhere else inside functions only, or not at all.
TENSORS = {"torch", "transformers", "safetensors", "peft", "accelerate", "huggingface_hub", "openai"}
TENSOR_MODULES = (
    "compact.config",
    "compact.network",
    "compact.weights_file",
    "compact.grounding",
    "compact.assessor",
    "lmm.prefix",
    "lmm.greedy",
    "lmm.levels",
    "lmm.assessor",
    "lmm.served",
    "synthesis.painter",
    "training.*",
)

# What `piqa --help`, `--version` and usage errors must not load.
HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "PIL",
    "cv2",
    "pydantic",
    "safetensors",
    "huggingface_hub",
    "openai",
    "sklearn",
    "matplotlib",
    "jinja2",
    "pyarrow",
)


def modules() -> dict[str, Path]:
    """Dotted name below `piqa_cli` ("" is the package itself) -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def position(module: str) -> int | None:
    """Where the module stands in `ORDER`."""
    for index, entry in enumerate(ORDER):
        if module == entry:
            return index
        if entry.endswith(".*") and (module == entry[:-2] or module.startswith(entry[:-1])):
            return index
    return None


def imported(path: Path) -> Iterator[str]:
    """Names of all modules of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "piqa_cli" or name.startswith("piqa_cli."):
                inner = name.removeprefix("piqa_cli").lstrip(".")
                yield inner if inner in MODULES else inner.rpartition(".")[0]


def at_module_level(tree: ast.Module) -> Iterator[str]:
    """First names of what importing the file imports: not in functions, not under `if TYPE_CHECKING`."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


GRAPH = {module: set(imported(path)) - {module} for module, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m or "piqa_cli")
def test_every_module_has_a_place_in_the_order(module: str) -> None:
    assert position(module) is not None, f"put {module} into ORDER, after all it imports"


@pytest.mark.parametrize("entry", ORDER, ids=lambda e: e or "piqa_cli")
def test_every_place_in_the_order_is_a_module(entry: str) -> None:
    assert entry.removesuffix(".*") in MODULES


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m or "piqa_cli")
def test_a_module_imports_only_from_modules_before_it(module: str) -> None:
    here = position(module)
    assert here is not None
    shared = ORDER[here].endswith(".*")
    for other in GRAPH[module]:
        there = position(other)
        assert there is not None
        assert there < here or (shared and there == here), f"{module or 'piqa_cli'} imports {other or 'piqa_cli'}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: set(needs) for module, needs in GRAPH.items()}
    while free := {module for module, needs in left.items() if not needs & left.keys()}:
        left = {module: needs for module, needs in left.items() if module not in free}
    assert not left, f"circular: {sorted(left)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m or "piqa_cli")
def test_tensor_libraries_are_imported_at_module_level_only_where_tensors_are_handled(module: str) -> None:
    allowed = any(
        module == entry or (entry.endswith(".*") and module.startswith(entry[:-1])) for entry in TENSOR_MODULES
    )
    found = TENSORS & set(at_module_level(ast.parse(MODULES[module].read_text("utf-8"))))
    assert allowed or not found, f"{module} imports {found} at module level"


def loaded_by(*arguments: str) -> tuple[int, set[str]]:
    """Exit status of `piqa` with these arguments, and the first names of all modules it imported."""
    code = "import sys; from piqa_cli.cli import main; sys.argv = ['piqa', *sys.argv[1:]]; main()"
    command = [sys.executable, "-X", "importtime", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50, "expected -X importtime to list the modules"
    return done.returncode, {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--help",), 0),
        (("--version",), 0),
        (("assess", "--help"), 0),
        (("batch", "--help"), 0),
        (("train", "compact", "--help"), 0),
        (("doctor", "--help"), 0),
        (("evaluate", "--help"), 0),
        (("evaluate",), 2),
        (("dataset", "split", "--help"), 0),
        (("serve",), 2),
        (("report", "--help"), 0),
        (("report", "a.jsonl", "-o", "a.txt"), 2),
        (("models", "download", "--help"), 0),
        (("compare", "a.jsonl", "b.jsonl", "--fail-if-worse", "nonsense"), 2),
        (("assess",), 2),
        (("assess", "a.png", "b.png", "--format", "nonsense"), 2),
        (("nonsense",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_help_version_and_usage_errors_load_nothing_heavy(arguments: tuple[str, ...], status: int) -> None:
    found, loaded = loaded_by(*arguments)
    assert found == status
    assert "typer" in loaded
    # Typer 0.29 itself loads pydantic to read a command's parameters; the top-level pages do without.
    own = {"pydantic"} if arguments not in {("--help",), ("--version",)} else set()
    heavy = sorted(loaded & set(HEAVY) - own)
    assert not heavy


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, piqa_cli; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
