"""Models of the hub: a cache made up here, what the hub answers, and `piqa models`."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import RunPiqa
from lmm_loads import load, refusal
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm import hub, memory
from piqa_cli.lmm.checkpoint import fingerprint, read_checkpoint, sha256_of
from piqa_cli.lmm.loading import load_vlm
from piqa_cli.lmm.settings import LmmSettings
from tiny_vlms import checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds a tiny model as `owner/tiny`, laid out as huggingface_hub does."""
    import huggingface_hub.constants

    home = tmp_path / "home"
    repository = home / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for file in checkpoint("smolvlm").iterdir():
        blob = repository / "blobs" / (sha256_of(file) if file.suffix == ".safetensors" else file.name)
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    return home


def test_a_model_that_is_not_here_is_told_how_to_get_it(cache: Path) -> None:
    assert "piqa models download owner/other" in str(refusal("E_MODEL_OFFLINE", "owner/other").hint)
    assert "--revision v2" in str(refusal("E_MODEL_OFFLINE", "owner/tiny", revision="v2").hint)
    refusal("E_MODEL_MISSING", "no/such/folder")


def test_a_hub_model_in_the_cache_loads_offline_under_its_id_and_commit(cache: Path) -> None:
    info = load("owner/tiny").info
    assert (info.name, info.version) == ("owner/tiny", COMMIT)
    same = read_checkpoint(checkpoint("smolvlm"))
    assert info.weights_sha256 == fingerprint(same)


def test_a_folder_goes_before_a_hub_model_of_the_same_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint("llava"), tmp_path / "owner" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load("owner/tiny").family.model_type == "llava"
    with pytest.raises(UsageError, match="--revision"):
        load("owner/tiny", revision="main")


def test_half_a_download_is_not_taken_for_a_model(cache: Path) -> None:
    (cache / "hub" / "models--owner--tiny" / "snapshots" / COMMIT / "model.safetensors").unlink()
    refusal("E_MODEL_OFFLINE", "owner/tiny")


def answer(kind: str) -> Exception:
    """What huggingface_hub raises when the hub answers so."""
    from huggingface_hub import errors

    transport: Any = errors.HfHubHTTPError.__bases__[0]
    if kind == "unreachable":
        return transport("no route to host")  # type: ignore[no-any-return]
    request = SimpleNamespace(url="https://huggingface.co", method="GET")
    response: Any = SimpleNamespace(headers={}, request=request, status_code=403)
    made: Exception = getattr(errors, kind)("the hub says no", response=response)
    return made


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("GatedRepoError", "E_MODEL_GATED", "accept the licence at https://huggingface.co/owner/big"),
        ("RepositoryNotFoundError", "E_MODEL_MISSING", "HF_TOKEN"),
        ("RevisionNotFoundError", "E_MODEL_MISSING", "tree/main"),
        ("unreachable", "E_MODEL_OFFLINE", "piqa models download owner/big"),
    ],
)
def test_what_the_hub_answers_becomes_an_error_that_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str, code: str, words: str
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise answer(kind)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(ModelError) as caught:
        hub.locate("owner/big")
    assert caught.value.code == code
    assert words in str(caught.value.hint)
    assert hub.locate("owner/tiny").version == COMMIT, "what is in the cache serves all the same"


def test_what_could_not_be_used_is_refused_before_its_weights_are_downloaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(parameters: int, model_type: str, *files: str) -> None:
        (cache / "config.json").write_text(json.dumps({"model_type": model_type}))
        info = SimpleNamespace(
            sha="f" * 40,
            siblings=[SimpleNamespace(rfilename=name) for name in files],
            safetensors=SimpleNamespace(total=parameters),
        )
        monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)

    def never(*_: Any, **__: Any) -> Path:
        raise AssertionError("downloaded")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(cache / "config.json"))
    monkeypatch.setattr(hub, "_download", never)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    settings = LmmSettings("owner/big", device="cpu")
    for parameters, model_type, files, code in (
        (10**13, "qwen2_5_vl", ["model.safetensors"], "E_MODEL_MEMORY"),
        (10**6, "llama", ["model.safetensors"], "E_MODEL_TEXT_ONLY"),
        (10**6, "qwen2_5_vl", ["pytorch_model.bin"], "E_MODEL_PICKLE"),
    ):
        offered(parameters, model_type, *files)
        with pytest.raises(ModelError) as caught:
            load_vlm(settings)
        assert caught.value.code == code


def test_the_cache_is_listed_described_and_verified(piqa: RunPiqa, cache: Path) -> None:
    env = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    listed = piqa("models", "list", env=env).json()
    assert [row["name"] for row in listed] == ["compact", "owner/tiny"]
    entry = listed[1]
    assert piqa("models", "info", "owner/tiny", env=env).json() == entry
    assert (entry["version"], entry["licence"]) == (COMMIT, "apache-2.0")
    assert entry["memory"]["fp32"] > entry["memory"]["bf16"] > memory.GIB / 2
    assert b"1 files are as published" in piqa("models", "verify", "owner/tiny", env=env).out
    weights = cache / "hub" / "models--owner--tiny" / "snapshots" / COMMIT / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[struct.unpack("<Q", data[:8])[0] + 100] ^= 1
    weights.resolve().write_bytes(data)
    done = piqa("models", "verify", "owner/tiny", env=env)
    assert (done.status, done.out) == (4, b"")
    assert "E_MODEL_HASH" in done.err
    done = piqa("models", "download", "owner/tiny", "--offline", env=env)
    assert done.status == 4
    assert "E_MODEL_OFFLINE" in done.err


def test_a_projects_file_can_neither_run_code_nor_choose_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piqa_cli.cli.config import resolve

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "piqa").mkdir(parents=True)
    (tmp_path / "config" / "piqa" / "config.toml").write_text("trust-remote-code = true\nquantize = '4bit'\n")
    chosen = resolve({"explain_below": 2.5, "model": "openai:x"}, {"PIQA_BASE_URL": "http://localhost"})
    assert (chosen.trust_remote_code, chosen.quantize, chosen.base_url) == (True, "4bit", "http://localhost")
    assert chosen.for_model()["explain_below"] == 2.5
    for line in ("trust-remote-code = true", "base-url = 'http://elsewhere'"):
        (tmp_path / "piqa.toml").write_text(line)
        with pytest.raises(UsageError, match="cannot be set for a project"):
            resolve({}, {})
