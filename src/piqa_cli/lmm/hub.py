"""Where a model lies: a local folder, or the Hugging Face hub by way of its own cache on this machine.

huggingface_hub reads its environment when it is imported, so it is imported only in here and only after `prepare`.
Everything else works on a local folder: no library below is ever given a hub id, and so none asks the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypedDict

from piqa_cli.errors import ModelError, UsageError
from piqa_cli.lmm.checkpoint import CONFIG, INDEX, WEIGHTS, facts, read_config, refuse_pickles

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo as HubInfo

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")
_YES: Final = {"1", "on", "yes", "true"}
_FILES: Final = ("*.json", "*.jinja", "*.txt", "*.model", "model*.safetensors", "README.md", "LICENSE*")
_CODE: Final = ("*.py",)
_FOLDERS: Final = ("*/*",)  # other formats of the same weights: onnx/, original/ ...


class _Patterns(TypedDict):
    """The arguments of snapshot_download that say which files."""

    allow_patterns: list[str]
    ignore_patterns: list[str]


@dataclass(frozen=True, slots=True)
class Located:
    """A model's folder, and what it is called in records: name, and commit or `custom`."""

    folder: Path
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the hub says of a model before its weights are fetched; `parameters` is None where it does not know."""

    name: str
    model_type: str
    has_code: bool
    parameters: int | None


def is_hub_id(name: str) -> bool:
    """Whether it has the form of one: `owner/name`."""
    return _ID.fullmatch(name) is not None


def is_offline(asked: bool = False) -> bool:
    """Whether the network must be left alone, by the settings or by the hub's own variable."""
    return asked or os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES


def prepare(offline: bool) -> None:
    """To be called before anything that imports huggingface_hub, transformers among it."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def locate(
    model: str,
    revision: str | None = None,
    *,
    offline: bool = False,
    trusted: bool = False,
    admit: Callable[[Offer], None] = lambda offer: None,
) -> Located:
    """A model's folder; of a hub model that is not in the cache yet, after it has been downloaded.

    Args:
        model: a folder or a hub id; a folder of that name wins.
        revision: branch, tag or commit of a hub model.
        offline: take what the cache has, and ask nobody.
        trusted: download Python files too.
        admit: called before weights are downloaded, to refuse what could not be used.

    Raises:
        UsageError: a revision of a folder was asked for.
        ModelError: E_MODEL_MISSING, E_MODEL_GATED, E_MODEL_OFFLINE, or E_MODEL_PICKLE.
    """
    if Path(model).is_dir():
        if revision is not None:
            raise UsageError("--revision goes with a hub id", found=f"the folder {model}")
        folder = Path(model).resolve()
        return Located(folder, folder.name, "custom")
    if not is_hub_id(model):
        _no_such_folder(model)
    prepare(offline)
    info, problem = None, None
    try:
        info = None if is_offline(offline) else _ask(model, revision)
    except ModelError as error:  # the hub says no, or nothing: what the cache has is as good as it was
        problem = error
    found = _cached(model, info.sha if info else revision, trusted)
    if found is None:
        if info is None:
            raise problem or _not_in_cache(model, revision)
        admit(_offer(model, info))
        found = _download(model, info.sha, trusted)
    return Located(found, model, found.name)


def download(model: str, revision: str | None = None, *, trusted: bool = False) -> Located:
    """Fetches a model into the hub's cache, or what is lacking of it.

    Raises:
        ModelError: as `locate`.
    """
    if not is_hub_id(model):
        raise ModelError(
            f"'{model}' is not the id of a hub model", code="E_MODEL_MISSING", expected="OWNER/NAME", found=model
        )
    if is_offline():
        raise ModelError(
            f"'{model}' cannot be downloaded without the network",
            code="E_MODEL_OFFLINE",
            hint="leave out --offline, and HF_HUB_OFFLINE in the environment",
        )
    info = _ask(model, revision)
    _offer(model, info)  # before the weights: whether they are of a kind that is loaded at all
    folder = _download(model, info.sha, trusted)
    return Located(folder, model, folder.name)


def _ask(model: str, revision: str | None) -> HubInfo:
    """What the hub knows of a model."""
    from huggingface_hub import HfApi

    with _answers(model, revision):
        return HfApi().model_info(model, revision=revision, timeout=20)


def _offer(model: str, info: HubInfo) -> Offer:
    """Reads the configuration, and refuses a model without safetensors before anything large is fetched."""
    from huggingface_hub import hf_hub_download

    names = [sibling.rfilename for sibling in info.siblings or []]
    if WEIGHTS not in names and INDEX not in names:
        refuse_pickles(model, names)
    with _answers(model, info.sha):
        file = hf_hub_download(model, CONFIG, revision=info.sha)
    model_type, has_code, _ = facts(read_config(Path(file).parent))
    return Offer(model, model_type, has_code, info.safetensors.total if info.safetensors else None)


def _download(model: str, revision: str | None, trusted: bool) -> Path:
    from huggingface_hub import snapshot_download

    with _answers(model, revision):
        return Path(snapshot_download(model, revision=revision, **_wanted(trusted)))


def _cached(model: str, revision: str | None, trusted: bool) -> Path | None:
    """The folder of a snapshot in the cache, if there is a whole one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True, **_wanted(trusted)))
    except LocalEntryNotFoundError:
        return None
    return folder if any((folder / name).is_file() for name in (WEIGHTS, INDEX)) else None


def _wanted(trusted: bool) -> _Patterns:
    return {"allow_patterns": [*_FILES, *(_CODE if trusted else ())], "ignore_patterns": [*_FOLDERS]}


@contextmanager
def _answers(model: str, revision: str | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into what a user can act on.

    Raises:
        ModelError: as `locate`.
    """
    from huggingface_hub import errors

    transport: type[Exception] = errors.HfHubHTTPError.__mro__[1]  # of httpx or httpx2, by the hub's version
    page = f"https://huggingface.co/{model}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"'{model}' is gated: its authors ask for consent to its licence",
            code="E_MODEL_GATED",
            hint=f"accept the licence at {page}, then log in (`hf auth login`) or set HF_TOKEN",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no model '{model}' on the hub, or it is private, and no folder of that name here",
            code="E_MODEL_MISSING",
            hint="check the spelling; for a private model log in (`hf auth login`) or set HF_TOKEN",
        ) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise ModelError(
            f"'{model}' has no such revision, or no {CONFIG} in it",
            code="E_MODEL_MISSING",
            found=f"--revision {revision}",
            hint=f"{page}/tree/main shows its branches and files",
        ) from error
    except (transport, ConnectionError, TimeoutError, errors.XetDownloadError) as error:
        raise ModelError(
            f"the hub cannot be asked for '{model}': {str(error).splitlines()[0] if str(error) else 'no answer'}",
            code="E_MODEL_OFFLINE",
            hint=_elsewhere(model, None),
        ) from error
    except OSError as error:
        raise ModelError(f"'{model}' cannot be kept in the hub's cache: {error}", file=_cache_folder()) from error


def _not_in_cache(model: str, revision: str | None) -> ModelError:
    wanted = model if revision is None else f"{model} at {revision}"
    return ModelError(
        f"'{wanted}' is not in the hub's cache, and the network may not be used",
        code="E_MODEL_OFFLINE",
        expected=f"a whole snapshot in {_cache_folder()}",
        hint=_elsewhere(model, revision),
    )


def _elsewhere(model: str, revision: str | None) -> str:
    more = f" --revision {revision}" if revision else ""
    return (
        f"with a network: `piqa models download {model}{more}`, here or on another machine whose cache"
        " (HF_HOME) you copy; a folder with the model can be given instead of its id"
    )


def _no_such_folder(model: str) -> NoReturn:
    raise ModelError(
        f"there is no folder '{model}'",
        code="E_MODEL_MISSING",
        expected="a folder with a model, or a hub id (OWNER/NAME)",
        found=model,
    )


def _cache_folder() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)
