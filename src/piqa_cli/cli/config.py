"""Where a setting's value comes from: flag, then `PIQA_*`, then the project's piqa.toml, then the user's config.

`KEYS` is the whole list of what can be set outside the command line.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from piqa_cli.cli.gates import NO_ERRORS, ErrorAllowance, Gate, parse_allowance, parse_gate
from piqa_cli.cli.streams import printable
from piqa_cli.errors import UsageError

PROJECT_FILE = "piqa.toml"
OWN_ONLY = ("trust_remote_code", "base_url")
"""What a project's file may not set: being in a folder must not be enough to run its code or to send it your key."""
SERVED = "openai:"  # as `lmm.settings` has it, which imports pydantic
FORMATS = ("table", "json", "jsonl", "csv", "parquet")
MATCHES = ("stem", "relpath")
ON_UNPAIRED = ("error", "warn", "ignore")
DTYPES = ("auto", "fp32", "bf16", "fp16")
QUANTIZATIONS = ("8bit", "4bit")
GROUNDINGS = ("auto", "model", "compact", "mask")
LEAST_PIXELS = 32 * 32
"""The smallest picture that can be judged; no limit below it makes sense."""
_MOST_BYTES = 1 << 14  # of a file of settings: reading TOML takes time in the square of its length
_MOST_WHOLE = (1 << 63) - 1
_MOST_WORKERS, _MOST_BATCH = 1024, 65_536  # each is memory: a thread, or pictures held at a time
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting that has a flag, a variable and a key; None where the command decides."""

    model: str = "compact"
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    offline: bool = False
    cross_check: bool = False
    revision: str | None = None
    adapter: str | None = None
    quantize: Literal["8bit", "4bit"] | None = None
    grounding: Literal["auto", "model", "compact", "mask"] = "auto"
    trust_remote_code: bool = False
    base_url: str | None = None
    seed: int = 0
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    progress: bool = True
    format: Literal["table", "json", "jsonl", "csv", "parquet"] | None = None
    explain: bool = True
    explain_below: float | None = None
    fail_under: tuple[Gate, ...] = ()
    max_errors: ErrorAllowance = NO_ERRORS
    max_pixels: int | None = None
    frame: int = 0
    invert_mask: bool = False
    match: Literal["stem", "relpath"] = "stem"
    on_unpaired: Literal["error", "warn", "ignore"] = "warn"
    workers: int | None = None
    batch_size: int | None = None

    def for_model(self) -> dict[str, Any]:
        """The arguments of `open_assessor`."""
        return {name: getattr(self, name) for name in OF_MODEL}


OF_MODEL = ("model", "device", "dtype", "offline", "revision", "adapter", "quantize", "trust_remote_code",
             "grounding", "explain_below", "base_url", "cross_check")  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise ValueError


def _whole(least: int, most: int = _MOST_WHOLE) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)) or not least <= int(value) <= most:
            raise ValueError
        return int(value)

    return parse


def _overall(value: Any) -> float:
    """A score on the scale of the overall one."""
    number = math.nan if isinstance(value, bool) else float(value)
    if not 1 <= number <= 5:
        raise ValueError
    return number


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return parse


def _device(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        return value
    raise ValueError


def _batch_size(value: Any) -> int | None:
    return None if value == "auto" else _whole(1, _MOST_BATCH)(value)


def _allowance(value: Any) -> ErrorAllowance:
    return parse_allowance(str(value))


def _gates(value: Any) -> tuple[Gate, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError
    return tuple(parse_gate(str(text)) for text in texts)


@dataclass(frozen=True, slots=True)
class Key:
    """How one setting is read from text or TOML, and what to say when it cannot be."""

    parse: Callable[[Any], Any]
    expected: str


_BOOL = Key(_flag, "true or false")
KEYS: dict[str, Key] = {
    "model": Key(_text, "the name of a model (see `piqa models list`)"),
    "device": Key(_device, "auto, cpu, cuda, cuda:N or mps"),
    "dtype": Key(_one_of(*DTYPES), "one of " + ", ".join(DTYPES)),
    "offline": _BOOL,
    "cross_check": _BOOL,
    "revision": Key(_text, "a branch, tag or commit"),
    "adapter": Key(_text, "the folder of a LoRA adapter"),
    "quantize": Key(_one_of(*QUANTIZATIONS), "one of " + ", ".join(QUANTIZATIONS)),
    "grounding": Key(_one_of(*GROUNDINGS), "one of " + ", ".join(GROUNDINGS)),
    "trust_remote_code": _BOOL,
    "base_url": Key(_text, "the address of a server"),
    "seed": Key(_whole(0), "a whole number, 0 or more"),
    "quiet": _BOOL,
    "verbose": _BOOL,
    "debug": _BOOL,
    "progress": _BOOL,
    "format": Key(_one_of(*FORMATS), "one of " + ", ".join(FORMATS)),
    "explain": _BOOL,
    "explain_below": Key(_overall, "a score, 1 to 5"),
    "fail_under": Key(_gates, 'DIM=VALUE, or several: "overall=3,harmony=2.5"'),
    "max_errors": Key(_allowance, "a number of pairs or a percentage"),
    "max_pixels": Key(_whole(LEAST_PIXELS), f"a whole number of pixels, {LEAST_PIXELS} or more"),
    "frame": Key(_whole(0), "a frame's number, 0 or more"),
    "invert_mask": _BOOL,
    "match": Key(_one_of(*MATCHES), "one of " + ", ".join(MATCHES)),
    "on_unpaired": Key(_one_of(*ON_UNPAIRED), "one of " + ", ".join(ON_UNPAIRED)),
    "workers": Key(_whole(1, _MOST_WORKERS), f"a whole number, 1 to {_MOST_WORKERS}"),
    "batch_size": Key(_batch_size, f"auto, or a whole number, 1 to {_MOST_BATCH}"),
}


def resolve(flags: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force.

    Args:
        flags: what the command line gave, by the names of `KEYS`; None where it gave nothing.
        environ: the environment; the process's own by default.

    Raises:
        UsageError: a value, variable or key is not valid; the message names it and where it stands.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for file, barred in ((_user_file(), ()), (_project_file(), OWN_ONLY)):  # the stronger one last
        if file is not None:
            values |= _read_file(file, barred)
    for name in KEYS:
        variable = "PIQA_" + name.upper()
        if environ.get(variable):  # an empty one counts as not set
            values[name] = _parse(name, environ[variable], f"environment variable {variable}")
    for name, value in flags.items():
        if value is not None:
            values[name] = _parse(name, value, "--" + name.replace("_", "-"))
    if flags.get("base_url") is None and not values.get("model", "").startswith(SERVED):
        values.pop("base_url", None)  # a server kept in one's configuration is there for when its model is asked for
    return Settings(**values)


def _parse(name: str, value: object, where: str) -> Any:
    key = KEYS[name]
    try:
        return key.parse(value)
    except UsageError as error:  # of gates and allowances, which name their option themselves
        message = error.message if where.startswith("--") else f"{where}: {error.message}"
        raise UsageError(message, hint=error.hint) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{where}: expected {key.expected}, found '{_shown(value)}'") from error


def _shown(value: object) -> str:
    """The beginning of a value, for a message."""
    try:
        text = str(value)
    except ValueError:  # a number of more digits than Python writes
        return "a very long number"
    return printable(text[:80]) + ("..." if len(text) > 80 else "")


def _project_file() -> Path | None:
    """The nearest piqa.toml in the current folder or above it, no higher than the repository it is in."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # somebody removed the folder we are in
        return None
    for place in (folder, *folder.parents):
        if (place / PROJECT_FILE).is_file():
            return place / PROJECT_FILE
        if (place / ".git").exists():
            return None
    return None


def _user_file() -> Path | None:
    import platformdirs

    file = platformdirs.user_config_path("piqa", appauthor=False) / "config.toml"
    return file if file.is_file() else None


def _read_file(file: Path, barred: Collection[str]) -> dict[str, Any]:
    import tomllib

    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise UsageError(f"{file}: longer than {_MOST_BYTES} bytes, so no file of settings", file=str(file))
        table = tomllib.loads(text.decode("utf-8").replace("\r\n", "\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}", file=str(file)) from error
    except (ValueError, RecursionError) as error:  # the former also for numbers of more digits than Python reads
        raise UsageError(f"{file}: not valid TOML: {printable(str(error))}", file=str(file)) from error
    values = {}
    for written, value in table.items():
        name = written.replace("-", "_")
        if name not in KEYS:
            raise UsageError(
                f"{file}: unknown key '{printable(written)}'; the nearest valid key is '{_nearest(name)}'",
                file=str(file),
                hint="valid keys: " + ", ".join(map(_written, KEYS)),
            )
        if name in barred:
            raise UsageError(
                f"{file}: '{_written(name)}' cannot be set for a project",
                file=str(file),
                hint=f"give --{_written(name)}, set PIQA_{name.upper()}, or write it into your own configuration",
            )
        values[name] = _parse(name, value, f"{file}: {written}")
        if barred and name == "model" and values[name].startswith(SERVED):
            raise UsageError(
                f"{file}: a model that a server answers for cannot be set for a project",
                file=str(file),
                found=values[name],
                hint="it would be sent your pictures: give --model, set PIQA_MODEL, or write it into your own"
                " configuration",
            )
    return values


def _nearest(name: str) -> str:
    import difflib

    return _written(difflib.get_close_matches(name, list(KEYS), n=1, cutoff=0)[0])


def _written(name: str) -> str:
    """A key as it is written in a file, and behind the dashes of its option."""
    return name.replace("_", "-")
