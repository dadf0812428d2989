"""Loading tiny checkpoints of every architecture, with and without adapters, and what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lmm_loads import load, refusal
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.adapters import attach, check_base, read_adapter, write_base
from piqa_cli.lmm.checkpoint import fingerprint, read_checkpoint
from piqa_cli.lmm.families import FAMILIES
from piqa_cli.lmm.loading import Vlm
from piqa_cli.lmm.processors import load_processor
from piqa_cli.models import open_assessor
from tiny_vlms import KINDS, checkpoint


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkpoint to spoil."""
    return Path(shutil.copytree(checkpoint("qwen2_5_vl"), tmp_path / "copy"))


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_loads_with_its_own_processor_and_without_torchvision(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_torchvision_available", lambda: False)
    vlm = load(checkpoint(kind))
    assert vlm.family is FAMILIES[kind]
    assert type(vlm.processor).__name__.lower().replace("_", "").startswith(kind.replace("_", ""))
    assert vlm.processor.tokenizer.padding_side == "left"
    assert "torchvision" not in sys.modules
    assert not vlm.model.training
    assert not any(p.requires_grad for p in vlm.model.parameters())
    pictures = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue")]
    assert "pixel_values" in vlm.processor.image_processor(pictures, return_tensors="pt")
    info = vlm.info
    assert (info.name, info.version, info.precision, info.adapter) == (kind, "custom", "fp32", None)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "llava_onevision", "internvl", "smolvlm"])
def test_a_processor_with_a_part_for_films_is_the_checkpoints_own_but_for_that_part(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    monkeypatch.setattr("transformers.utils.import_utils.is_torchvision_available", lambda: False)
    processor = load_processor(checkpoint(kind), FAMILIES[kind])
    own = getattr(transformers, type(processor).__name__)
    assert isinstance(processor, own)
    assert set(own.get_attributes()) - set(type(processor).get_attributes()) == {"video_processor"}
    assert not hasattr(processor.video_processor, "preprocess")
    assert processor.chat_template


@pytest.mark.parametrize("name", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"])
def test_files_as_published_checkpoints_have_them_are_read(copy: Path, name: str) -> None:
    edit_json(copy / "preprocessor_config.json", image_processor_type=name)
    (copy / "chat_template.jinja").unlink()  # where save_pretrained puts it today
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": "hello {{ name }}"}))
    processor = load_processor(copy, FAMILIES["qwen2_5_vl"])
    assert processor.image_processor.patch_size == 14
    assert processor.chat_template == "hello {{ name }}"


def test_weights_that_do_not_fill_the_model_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    save_file({n: t for n, t in weights.items() if n != name}, copy / "model.safetensors", metadata={"format": "pt"})
    assert "1 missing" in str(refusal("E_MODEL", copy).found)


def spoil_nothing_there(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def spoil_text_only(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="llama")


def spoil_unknown(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="nonesuch_vl")


def spoil_other_kind(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="vit")


def spoil_own_code(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="their_own", auto_map={"AutoModel": "modeling.Model"})
    (folder / "modeling.py").write_text("raise SystemExit('ran')")


def spoil_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def spoil_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_shard_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-00001-of-00001.safetensors"}}')


def spoil_index(name: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))

    return spoil


def spoil_backwards(folder: Path) -> None:
    header = b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def spoil_deep(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


def spoil_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")


def spoil_torn(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])


def spoil_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (spoil_nothing_there, "E_MODEL_MISSING", "no config.json"),
        (spoil_text_only, "E_MODEL_TEXT_ONLY", "sees no images"),
        (spoil_unknown, "E_MODEL_ARCHITECTURE", "unknown"),
        (spoil_other_kind, "E_MODEL_ARCHITECTURE", "not an image-text-to-text model"),
        (spoil_own_code, "E_MODEL_ARCHITECTURE", "--trust-remote-code"),
        (spoil_pickled, "E_MODEL_PICKLE", "pickle"),
        (spoil_no_weights, "E_MODEL_MISSING", "no weights"),
        (spoil_shard_missing, "E_MODEL_MISSING", "1 of the 1 files"),
        (spoil_pointer, "E_MODEL", "git-lfs"),
        (spoil_deep, "E_MODEL", "config.json"),
        (spoil_backwards, "E_MODEL", "lies at 8 to 0"),
        (spoil_index("../elsewhere.safetensors"), "E_MODEL", "no file of the model"),
        (spoil_index("pytorch_model.bin"), "E_MODEL", "no file of the model"),
        (spoil_index(["x"]), "E_MODEL", "no file of the model"),
        (spoil_index("x" * 5000 + ".safetensors"), "E_MODEL", "no file of the model"),
        (spoil_torn, "E_MODEL", "before its last tensor"),
        (spoil_adapter, "E_MODEL_MISSING", "--adapter"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_folder_that_is_not_a_whole_usable_model_is_told_why(
    copy: Path, spoil: Callable[[Path], None], code: str, words: str
) -> None:
    spoil(copy)
    error = refusal(code, copy)
    assert words in f"{error.message} {error.hint}"


def test_the_fingerprint_is_of_the_content_not_of_the_files(copy: Path) -> None:
    before = fingerprint(read_checkpoint(copy))
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    places = {name: f"part-{index % 2}.safetensors" for index, name in enumerate(weights)}
    for file in set(places.values()):
        save_file({name: tensor for name, tensor in weights.items() if places[name] == file}, copy / file)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert fingerprint(read_checkpoint(copy)) == before
    edit_json(copy / "preprocessor_config.json", max_pixels=12345)
    assert fingerprint(read_checkpoint(copy)) != before


@pytest.mark.parametrize("where", [0, -1])
def test_another_set_of_weights_has_another_fingerprint(copy: Path, where: int) -> None:
    before = fingerprint(read_checkpoint(copy))
    weights = load_file(copy / "model.safetensors")
    weights[max(weights, key=lambda name: weights[name].numel())].flatten()[where] += 1.0
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(read_checkpoint(copy)) != before


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A LoRA adapter for the tiny llava, whose weights are not zero."""
    peft = pytest.importorskip("peft")
    model = load(checkpoint("llava")).model
    rows = peft.LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False)
    torch.manual_seed(0)
    peft.get_peft_model(model, rows).save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def logits(vlm: Vlm) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = vlm.model(input_ids=torch.arange(20, 30)[None]).logits
    return found


def test_an_adapter_changes_the_answers_and_stands_in_the_record(lora: Path) -> None:
    plain, adapted = load(checkpoint("llava")), load(checkpoint("llava"), adapter=str(lora))
    assert type(adapted.model) is type(plain.model)
    assert (logits(plain) - logits(adapted)).abs().max() > 1e-3
    assert adapted.info.adapter == "lora"
    assert re.fullmatch("[0-9a-f]{64}", adapted.info.adapter_sha256 or "")
    assert adapted.info.weights_sha256 == plain.info.weights_sha256
    beside = attach(load(checkpoint("llava")).model, read_adapter(lora), merge=False)  # as quantized weights keep it
    assert type(beside) is type(plain.model)
    torch.testing.assert_close(logits(SimpleNamespace(model=beside)), logits(adapted))  # type: ignore[arg-type]


def test_an_adapter_of_another_base_is_refused(lora: Path) -> None:
    assert "another model" in refusal("E_MODEL_ADAPTER", checkpoint("qwen2_vl"), adapter=str(lora)).message
    own = fingerprint(read_checkpoint(checkpoint("llava")))
    edit_json(lora / "adapter_config.json", base_model_name_or_path="owner/one")
    check_base(read_adapter(lora), "owner/one", own)
    with pytest.raises(ModelError, match="another model"):
        check_base(read_adapter(lora), "owner/two", own)
    write_base(lora, "owner/one", own)
    check_base(read_adapter(lora), "a copy of it", own)
    with pytest.raises(ModelError, match="another model"):
        check_base(read_adapter(lora), "owner/one", "0" * 64)
    with pytest.raises(ModelError) as caught:
        attach(load(checkpoint("paligemma")).model, read_adapter(lora), merge=True)
    assert "have no layer of their size" in str(caught.value.found)


def test_a_folder_that_is_no_safe_adapter_is_refused(lora: Path, copy: Path) -> None:
    refusal("E_MODEL_MISSING", checkpoint("llava"), adapter=str(copy))
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    refusal("E_MODEL_PICKLE", checkpoint("llava"), adapter=str(lora))


def test_an_option_whose_extra_is_not_installed_names_it(monkeypatch: pytest.MonkeyPatch, lora: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for options, extra in (({"quantize": "4bit"}, r"quantize"), ({"adapter": str(lora)}, "lmm")):
        with pytest.raises(UsageError) as caught:
            load(checkpoint("llava"), **options)
        assert caught.value.hint == f"pip install 'piqa-cli[{extra}]'"
    with pytest.raises(UsageError, match="num2words"):
        load(checkpoint("smolvlm"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"quantize": "4bit"}, "--quantize"),
        ({"adapter": "x"}, "--adapter"),
        ({"revision": "x"}, "--revision"),
        ({"cross_check": True}, "--cross-check"),
        ({"base_url": "http://localhost"}, "--base-url"),
        ({"model": "openai:x", "adapter": "y"}, "--adapter"),
        ({"model": "owner/x", "explain_below": 9.0}, "--explain-below"),
        ({"model": "owner/x", "grounding": "guess"}, "--grounding"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        open_assessor(**options)
