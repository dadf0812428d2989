"""How much memory a model needs, and what is said where there is less."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from lmm_loads import load, refusal
from piqa_cli.lmm import loading, memory
from piqa_cli.lmm.checkpoint import read_checkpoint
from piqa_cli.lmm.families import FAMILIES
from tiny_vlms import checkpoint

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text("utf-8")


def test_the_memory_formula_counts_what_the_loaded_model_holds() -> None:
    vlm = load(checkpoint("gemma3"))
    size = memory.size_of_tensors(read_checkpoint(checkpoint("gemma3")).tensors)
    held = sum(parameter.numel() for parameter in vlm.model.parameters())
    assert size.parameters == held
    assert memory.need(size, "fp32") == pytest.approx(held * 4 * 1.2 + memory.GIB / 2, abs=1)
    quarter = memory.need(size, "bf16", "4bit") - memory.need(size, "bf16")
    assert quarter == pytest.approx(size.linear * (0.5159 - 2), abs=1)
    assert 0 < size.linear < held


def test_a_model_that_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    need = memory.need(memory.size_of_tensors(read_checkpoint(checkpoint("llava")).tensors), "bf16")
    monkeypatch.setattr(loading, "free", lambda device, every_gpu=False: need + 100)
    error = refusal("E_MODEL_MEMORY", checkpoint("llava"))
    assert "--dtype bf16 (0.5 GiB)" in str(error.hint)
    assert load(checkpoint("llava"), dtype="bf16").info.precision == "bf16"
    monkeypatch.setattr(loading, "free", lambda device, every_gpu=False: 3 * memory.GIB // 4)
    monkeypatch.setattr(loading, "size_of_tensors", lambda tensors, quantized: memory.size_of_count(10**10))
    assert "at most 0.1 billion parameters" in str(refusal("E_MODEL_MEMORY", checkpoint("llava")).hint)


def test_free_memory_is_the_smaller_of_the_machines_and_the_containers(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.free_ram(tmp_path) == 8000 * 1024
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    for name, text in (("max", "5000000"), ("current", "3000000"), ("stat", "anon 1\ninactive_file 400000\n")):
        (group / f"memory.{name}").write_text(text)
    assert memory.free_ram(tmp_path) == 2_400_000
    (group / "memory.max").write_text("max\n")
    assert memory.free_ram(tmp_path) == 8000 * 1024


def test_the_memory_of_the_recommended_models_is_what_the_formula_gives() -> None:
    rows = re.findall(
        r"^\| \[`[\w./-]+`\]\(\S+\) \| ([\d.]+) billion \| (.+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.M
    )
    assert len(rows) >= 5
    for count, _, *columns in rows:
        size = memory.size_of_count(round(float(count) * 1e9))
        forms = (("fp32", None), ("bf16", None), ("bf16", "4bit"))
        assert columns == [f"{math.ceil(memory.need(size, *form) / memory.GIB)}" for form in forms]


def test_the_page_names_every_architecture() -> None:
    assert set(FAMILIES) <= set(re.findall(r"`(\w+)`", PAGE))
