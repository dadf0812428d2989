"""The part of a model that turns images and text into its input, loaded whether or not torchvision is there."""

from __future__ import annotations

import importlib.util
import json
import types
from pathlib import Path
from typing import Any

from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.families import Family

_NAMED_IN = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_VIDEO = "video_processor"


def load_processor(folder: Path, family: Family, *, trusted: bool = False) -> Any:
    """The processor of a checkpoint, padding on the left, as generation and a shared prefix need it.

    Where torchvision is absent, a processor that would also handle films is loaded without that part, the only one
    that needs torchvision; images then go through Pillow.

    Args:
        folder: the checkpoint.
        family: its architecture.
        trusted: whether Python files in the folder may be run.

    Raises:
        UsageError: a package that this processor needs is not installed.
        ModelError: the files are missing or cannot be read.
    """
    absent = [name for name in family.needs if importlib.util.find_spec(name) is None]
    if absent:
        raise UsageError(
            f"the processor of {family.model_type} models needs {', '.join(absent)}",
            hint="pip install 'piqa-cli[lmm]'",
        )
    import transformers
    from transformers.utils.import_utils import is_torchvision_available

    name = _class_name(folder, family.model_type)
    base = None if name is None else getattr(transformers, name, None)
    has_films = base is not None and _VIDEO in base.get_attributes()
    kind = _without_films(base) if has_films and not is_torchvision_available() else transformers.AutoProcessor
    try:
        processor = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(
            f"cannot load the processor: {error}",
            file=str(folder),
            expected="the files of an image processor and a tokenizer beside the weights",
        ) from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(
            "the model has no processor for images and text",
            code="E_MODEL_MISSING",
            file=str(folder),
            expected="preprocessor_config.json and tokenizer files beside the weights",
            found=type(processor).__name__,
        )
    processor.tokenizer.padding_side = "left"
    return processor


def _class_name(folder: Path, model_type: str) -> str | None:
    """The processor's class: as the checkpoint names it, else as transformers does for its architecture."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]

    for file in _NAMED_IN:
        if (folder / file).is_file():
            try:
                name = json.loads((folder / file).read_text("utf-8")).get("processor_class")
            except (OSError, ValueError, AttributeError) as error:
                raise ModelError(f"cannot read {file}: {error}", file=str(folder), expected="a JSON object") from error
            if name:
                return str(name)
    return PROCESSOR_MAPPING_NAMES.get(model_type)


def _without_films(base: Any) -> Any:
    """A class like `base` whose processors have no part for films.

    transformers finds a processor's parts by the arguments of its `__init__`, and loads each in the private
    `_get_arguments_from_pretrained`. The class made here leaves one part out of the first and puts None for it into
    the second. A test for every architecture in `FAMILIES` fails should transformers change either.
    """
    parts = base.get_attributes()
    place = parts.index(_VIDEO)

    class ImagesOnly(base):  # type: ignore[misc]  # the base is found at run time
        # SmolVLM asks for two numbers of it even where there are no films. Not set in an `__init__`: transformers
        # reads that one's signature to see what else, such as a chat template, it may pass.
        video_processor = types.SimpleNamespace(num_frames=1, fps=1)

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [part for part in parts if part != _VIDEO]

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            found: list[Any] = super()._get_arguments_from_pretrained(*args, **kwargs)
            return [*found[:place], None, *found[place:]]

    ImagesOnly.__name__ = ImagesOnly.__qualname__ = base.__name__  # it is saved, and told, under the base's name
    return ImagesOnly
