"""The hub models that are in the cache of this machine: listed, described, verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piqa_cli.errors import ModelError
from piqa_cli.lmm.checkpoint import CONFIG, facts, fingerprint, read_checkpoint, read_config, sha256_of
from piqa_cli.lmm.hub import Located
from piqa_cli.lmm.memory import need, size_of_tensors

_SHA256_DIGITS: Final = 64
_NO_LICENCE: Final = "not stated"


@dataclass(frozen=True, slots=True)
class Described:
    """A model folder in figures; the memory is what judging one pair takes, in bytes."""

    name: str
    version: str
    architecture: str
    parameters: int
    licence: str
    folder: Path
    sha256: str
    memory: dict[str, int]


def cached_models() -> list[Located]:
    """The image-text-to-text models in the hub's cache, by name; one entry for each commit.

    Whether they are such models is told by their configuration; other models and data sets are passed over.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = [
        Located(revision.snapshot_path, repository.repo_id, revision.commit_hash)
        for repository in repositories
        if repository.repo_type == "model"
        for revision in repository.revisions
        if _sees(revision.snapshot_path)
    ]
    return sorted(found, key=lambda located: (located.name, located.version))


def _sees(folder: Path) -> bool:
    """Whether the folder's configuration is that of a model with a part for images."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        return "vision_config" in read_config(folder)
    except ModelError:
        return False


def describe(located: Located) -> Described:
    """Reads a model's headers.

    Raises:
        ModelError: it is not whole, or cannot be read.
    """
    checkpoint = read_checkpoint(located.folder)
    size = size_of_tensors(checkpoint.tensors, quantized=checkpoint.quantized)
    forms = (("fp32", "fp32", None), ("bf16", "bf16", None), ("8bit", "bf16", "8bit"), ("4bit", "bf16", "4bit"))
    return Described(
        name=located.name,
        version=located.version,
        architecture=checkpoint.model_type,
        parameters=size.parameters,
        licence=licence_of(located.folder),
        folder=located.folder,
        sha256=fingerprint(checkpoint),
        memory={name: need(size, dtype, quantize) for name, dtype, quantize in forms},
    )


def licence_of(folder: Path) -> str:
    """What the head of the model's card names as its licence; `not stated` where it does not."""
    try:
        lines = (folder / "README.md").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return _NO_LICENCE
    if not lines or lines[0].strip() != "---":
        return _NO_LICENCE
    head: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, colon, value = line.partition(":")
        if colon and not key.startswith((" ", "-")):
            head[key.strip()] = value.strip().strip("\"'")
    named = head.get("license_name") if head.get("license") == "other" else head.get("license")
    return named or _NO_LICENCE


def verify_files(located: Located) -> int:
    """Compares every file that the hub names by its SHA-256 with that; gives how many there were.

    In the hub's cache a large file is a link to a blob named by its content's SHA-256. A plain folder says of no file
    what it should hold; there the headers are all that is checked, and the number is 0.

    Raises:
        ModelError: a file is not what its name says (E_MODEL_HASH), missing or damaged.
    """
    read_checkpoint(located.folder)  # complete, and as long as the headers say
    checked = 0
    for file in sorted(located.folder.iterdir()):
        blob = file.resolve().name
        if not file.is_symlink() or len(blob) != _SHA256_DIGITS:
            continue
        found = sha256_of(file)
        if found != blob:
            raise ModelError(
                f"a file of '{located.name}' is not the one that was published",
                code="E_MODEL_HASH",
                file=str(file),
                expected=blob,
                found=found,
                hint=f"remove it and run `piqa models download {located.name}`",
            )
        checked += 1
    return checked


def model_type_of(folder: Path) -> str:
    """The architecture that a folder's configuration names.

    Raises:
        ModelError: there is no configuration, or it cannot be read.
    """
    return facts(read_config(folder))[0]
