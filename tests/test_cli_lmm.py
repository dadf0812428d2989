"""The executable with a larger judge: a checkpoint in a folder, and a server."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_vlms
from conftest import Pictures, RunPiqa
from fake_openai import MODEL, FakeOpenAI, Response, completion, error, texts, tokens
from piqa_cli.schema import SCALES, Dimension

OFFLINE = {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
PROMPT = ("--prompt", "Repaint the disc")
SAID = "The edited part fits the scene well, and the disc was repainted as the instruction asked for."


def answer(request: dict[str, Any]) -> Response:
    """Good in every dimension, done, and a sentence to go with it."""
    if not request.get("logprobs"):
        return completion(SAID)
    if "Yes, Partly or No" in texts(request):
        return tokens({"Yes": 0.9, "Partly": 0.08, "No": 0.02})
    return tokens({"Good": 0.8, "Fair": 0.1, "Excellent": 0.05})


def assert_on_scale(scores: dict[str, Any], dimension: Dimension) -> None:
    scale, score = SCALES[dimension], scores[dimension.value]
    assert scale.low <= score["value"] <= scale.high
    assert score["level"] in scale.levels
    assert sum(score["distribution"]) == pytest.approx(1, abs=1e-6)
    assert 0 <= score["reliability"]["off_scale"] <= 1


def test_a_folder_with_a_checkpoint_judges_a_pair(piqa: RunPiqa, files: Pictures) -> None:
    folder = tiny_vlms.checkpoint("qwen2_5_vl")
    done = piqa(
        *("assess", files.source, files.edited, "--mask", files.mask, *PROMPT, "--format", "json"),
        *("--model", folder, "--device", "cpu"),
        env=OFFLINE,
    )
    assert done.status == 0, done.err
    record = done.json()
    assert record["model"]["name"] == "qwen2_5_vl"
    assert record["model"]["precision"] == "fp32"
    for dimension in Dimension:
        assert_on_scale(record["scores"], dimension)
    assert len(record["explanation"].split()) > 5


def test_a_batch_with_a_cross_check_has_a_row_a_pair_that_tells_of_both(
    piqa: RunPiqa, make_batch: Callable[[int], Path]
) -> None:
    done = piqa(
        *("batch", make_batch(2), "--cross-check", "--format", "csv", "--device", "cpu"),
        *("--model", tiny_vlms.checkpoint("smolvlm")),
        env=OFFLINE,
    )
    assert done.status == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out.decode())))
    assert [row["id"] for row in rows] == ["p0", "p1"]
    for row in rows:
        assert row["model"] == "smolvlm"
        assert row["cross_check_model"] == "compact"
        for name in ("overall", "harmony", "local_naturalness", "preservation"):
            assert 1 <= float(row[name]) <= 5
        assert row["explanation"]


def test_a_server_judges_a_pair_and_is_the_only_one_that_is_asked(piqa: RunPiqa, files: Pictures) -> None:
    wrong = {**OFFLINE, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}  # what --base-url goes before
    with FakeOpenAI(answer) as server:
        done = piqa(
            *("assess", files.source, files.edited, "--mask", files.mask, *PROMPT, "--format", "json"),
            *("--model", f"openai:{MODEL}", "--base-url", server.base_url, "--offline", "--device", "cpu"),
            env=wrong,
        )
    assert done.status == 0, done.err
    record = done.json()
    assert len(server.requests) == len(Dimension) + 1
    for dimension in Dimension:
        assert_on_scale(record["scores"], dimension)
    assert record["scores"]["harmony"]["level"] == "good"
    assert record["explanation"] == SAID


def test_a_reply_that_makes_no_sense_is_a_record_of_the_pair_and_exit_status_4(piqa: RunPiqa, files: Pictures) -> None:
    with FakeOpenAI(lambda request: error(400, "the picture is upside down")) as server:
        done = piqa(
            *("assess", files.source, files.edited, "--mask", files.mask, *PROMPT, "--format", "json"),
            *("--model", f"openai:{MODEL}", "--base-url", server.base_url, "--device", "cpu"),
            env=OFFLINE,
        )
    assert done.status == 4
    record = json.loads(done.out)
    assert (record["status"], record["error"]["code"]) == ("error", "E_REPLY")
    assert "upside down" in record["error"]["found"]


def test_without_an_address_and_a_key_nothing_is_sent_anywhere(piqa: RunPiqa, files: Pictures) -> None:
    done = piqa("assess", files.source, files.edited, "--model", f"openai:{MODEL}", "--device", "cpu", env=OFFLINE)
    assert (done.status, done.out) == (4, b"")
    assert "OPENAI_API_KEY" in done.err


def test_every_setting_of_the_model_reaches_it(quick_piqa: RunPiqa, files: Pictures) -> None:
    given = (
        "--revision",
        "r1",
        "--adapter",
        "lora",
        "--quantize",
        "4bit",
        "--grounding",
        "mask",
        "--explain-below",
        "3",
    )
    done = quick_piqa(
        *("assess", files.source, files.edited, "--format", "json", "--model", "a/b"),
        *(*given, "--trust-remote-code", "--cross-check"),
    )
    version = done.json()["model"]["version"]
    for part in ("revision=r1", "adapter=lora", "quantize=4bit", "grounding=mask", "explain_below=3.0"):
        assert part in version
    assert "trust_remote_code=True" in version
    assert "cross_check=True" in version
    served = quick_piqa(
        *("assess", files.source, files.edited, "--format", "json"),
        *("--model", "openai:x", "--base-url", "http://127.0.0.1:1/v1"),
    )
    assert "base_url=http://127.0.0.1:1/v1" in served.json()["model"]["version"]
