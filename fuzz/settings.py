"""`piqa.toml`, and a model folder's files: read before anything is trusted."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fuzz.checks import same
from piqa_cli.cli.config import KEYS, OWN_ONLY, Settings, resolve
from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.checkpoint import read_checkpoint

SETTINGS_WORDS = (*(f'{name} = "x"\n'.encode() for name in KEYS), b"[", b"[[", b"]", b"{", b"}", b'"""', b"=", b"0x",
                  b"f" * 400, b"9" * 400, b"1e999", b"nan", b"-1", b"true", b"1979-05-27", b"[a]\n", b"\\u0000", b"\0",
                  b"\xff", b"[[[[[[[[" * 200, b"a." * 400, b"{a=" * 200)  # fmt: skip
CHECKPOINT_WORDS = (b"[", b"{", b"}", b'"model_type": 1', b'"text_config": []', b'"auto_map": {}', b"9" * 400, b"-1",
                    b"[" * 3000, b'"data_offsets": [0]', b'"shape": [-1]', b"\xff" * 8, b"\0" * 8, b"1e999", b"null",
                    b"../../x", b"weight_map")  # fmt: skip
_BETWEEN = b"\n====\n"


def settings_seeds() -> Sequence[bytes]:
    """Files of settings."""
    return (
        (
            b'model = "compact"\ndevice = "cpu"\nformat = "jsonl"\nworkers = 2\nbatch-size = 8\nexplain = true\n'
            b'fail-under = ["overall=3", "preservation=4"]\nmax-errors = "1%"\n'
        ),
        b'max_pixels = 120000000\nframe = 0\nexplain_below = 2.5\nseed = 7\nmatch = "relpath"\nbatch_size = "auto"\n',
    )


def read_settings(data: bytes) -> bool:
    """A project's settings: refused, or every value of its kind; and never what a project may not set."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("piqa.toml").write_bytes(data)
        Path(".git").mkdir()
        Path("home").mkdir()
        os.environ["XDG_CONFIG_HOME"] = str(Path("home").absolute())
        try:
            found = resolve({}, {})
        except UsageError:
            return False
    same(os.getcwd(), before, "the folder we are in")
    for name in OWN_ONLY:
        same(getattr(found, name), getattr(Settings(), name), name)
    same(found.workers is None or found.workers >= 1, True, "workers")
    same(found.model.startswith("openai:"), False, "a served model")
    return True


def checkpoint_seeds() -> Sequence[bytes]:
    """A configuration, and a safetensors file or an index of such files."""
    config = json.dumps({"model_type": "smolvlm", "text_config": {"hidden_size": 8}}).encode()
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(16)
    index = json.dumps({"weight_map": {"a": "model-1.safetensors"}}).encode()
    return (_BETWEEN.join((config, weights)), _BETWEEN.join((config, index, weights)))


def read_model_folder(data: bytes) -> bool:
    """The headers of a checkpoint: refused, or tensors that lie within their files."""
    config, *files = data.split(_BETWEEN, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(config)
        names = {1: ("model.safetensors",), 2: ("model.safetensors.index.json", "model-1.safetensors")}
        for file, text in zip(names.get(len(files), ()), files, strict=False):
            (folder / file).write_bytes(text)
        try:
            checkpoint = read_checkpoint(folder)
        except ModelError:
            return False
        for tensor in checkpoint.tensors:
            same(tensor.file.parent, folder, "the folder of the weights")
            same(0 <= tensor.start <= tensor.end <= tensor.file.stat().st_size, True, f"the place of {tensor}")
    return True
