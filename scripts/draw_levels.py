"""Draws which part of the package imports which, by levels, into docs/architecture.md.

    python -m scripts.draw_levels

tests/test_docs.py fails where the page has another picture.

The levels are those of ORDER in tests/test_imports.py; the arrows are what the code imports. An arrow that follows from
others is left out, and so are those to level 0, which everything speaks.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "piqa_cli"
PAGE = ROOT / "docs" / "architecture.md"
MARKS = ("<!-- made by scripts/draw_levels.py -->\n", "<!-- end -->\n")


def part_of(module: str) -> str:
    """The part that a module belongs to: the package's own file, or the first name below it."""
    return module.partition(".")[0] or "piqa_cli"


def levels() -> dict[str, list[str]]:
    """Title of each level -> its parts, in the order of ORDER."""
    text = (ROOT / "tests" / "test_imports.py").read_text("utf-8")
    order = text[text.index("ORDER = (") : text.index("\n)\n", text.index("ORDER = ("))]
    found: dict[str, list[str]] = {}
    title, seen = "", set[str]()
    for line in order.splitlines()[1:]:
        if comment := re.fullmatch(r"\s*# (level \d.*)", line):
            title = comment.group(1)
            found[title] = []
        elif name := re.fullmatch(r'\s*"([\w.*]*)",', line):
            part = part_of(name.group(1))
            if part not in seen:
                found[title].append(part)
            seen.add(part)
    return found


def imports() -> Iterator[tuple[str, str]]:
    """(part, part that it imports), wherever in a file the import stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(PACKAGE).with_suffix("").parts
        own = part_of("" if words == ("__init__",) else words[0])
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "piqa_cli":
                below = (node.module or "").partition(".")[2]
                targets = [below] if below else [alias.name for alias in node.names]
                for target in targets:
                    part = part_of(target)
                    known = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
                    yield own, part if known else "piqa_cli"


def arrows(parts: dict[str, int]) -> list[tuple[str, str]]:
    """What remains of the imports when those are left out that follow from others; `parts` gives the level of each."""
    wanted = {(a, b) for a, b in imports() if a != b and parts[b] > 0}
    reach: dict[str, set[str]] = {part: {b for a, b in wanted if a == part} for part in parts}
    for _ in parts:
        for part in parts:
            reach[part] |= {far for near in reach[part] for far in reach[near]}
    return sorted(
        (a, b) for a, b in wanted if not any((a, c) in wanted and b in reach[c] and a not in reach[c] for c in parts)
    )


def drawn() -> str:
    """The picture, as the page has it between the marks."""
    of_level = levels()
    numbers = {part: number for number, parts in enumerate(of_level.values()) for part in parts}
    lines = ["flowchart TD"]
    for number, (title, parts) in reversed(list(enumerate(of_level.items()))):
        lines.append(f'  subgraph level{number} ["{title}"]')
        lines += [f'    {part.strip("_")}["{part}"]' for part in parts]
        lines.append("  end")
    lines += [f"  {a.strip('_')} --> {b.strip('_')}" for a, b in arrows(numbers)]
    # Levels without an arrow between them would stand side by side.
    lines += ["  level1 ~~~ level0"]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(before + MARKS[0] + drawn() + MARKS[1] + after, "utf-8")


if __name__ == "__main__":
    main()
