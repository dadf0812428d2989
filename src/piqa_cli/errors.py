"""What can go wrong, as one tree; each branch knows its stable code and the exit status of the command line.

The message says which file, what was expected, what was found and what to do. Modules raise the
narrowest class; readers of many rows catch per row, `pipeline` per pair, `cli` per command.
"""

from __future__ import annotations


class PiqaError(Exception):
    """Base of every error piqa raises on purpose.

    Args:
        message: one sentence that a user can act on.
        code: stable machine-readable code (`E_...`); the class's own by default.
        file: the path the message is about, exactly as the user gave it.
        expected: what the file or value should have been.
        found: what it was.
        hint: what to do about it.
    """

    exit_status = 1
    default_code = "E_INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        file: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.file = file
        self.expected = expected
        self.found = found
        self.hint = hint


class UsageError(PiqaError):
    """The command, its options or a configuration file are wrong."""

    exit_status = 2
    default_code = "E_USAGE"


class InputError(PiqaError):
    """An image, mask, manifest or label file is missing, unreadable or incompatible.

    Codes: E_NOT_FOUND, E_NOT_A_FILE, E_PERMISSION, E_EMPTY_FILE, E_NOT_AN_IMAGE, E_DECODE, E_TOO_LARGE,
    E_TOO_SMALL, E_PLUGIN, E_MASK_SIZE, E_MANIFEST, E_LABELS, E_UNPAIRED, E_DUPLICATE, E_RESULTS, E_REMOTE, E_OFFLINE,
    E_OUTSIDE, E_REQUEST_JSON, E_REQUEST_FIELD, E_REQUEST_LENGTH.
    """

    exit_status = 3
    default_code = "E_INPUT"


class ModelError(PiqaError):
    """A model cannot be had: unknown name, missing, altered or unfit weights, a server that cannot be used.

    Codes: E_MODEL, E_MODEL_MISSING, E_MODEL_GATED, E_MODEL_OFFLINE, E_MODEL_ARCHITECTURE, E_MODEL_TEXT_ONLY,
    E_MODEL_PICKLE, E_MODEL_MEMORY, E_MODEL_ADAPTER, E_MODEL_HASH, E_SERVER, E_SERVER_LOGPROBS.
    """

    exit_status = 4
    default_code = "E_MODEL"


class ReplyError(PiqaError):
    """What a model answered about one pair cannot be used; other pairs may fare better.

    Codes: E_REPLY, E_TIMEOUT, E_SERVER.
    """

    exit_status = 4
    default_code = "E_REPLY"


class DeviceError(PiqaError):
    """The device is absent, or out of memory with a single pair. Codes: E_DEVICE, E_OOM."""

    exit_status = 5
    default_code = "E_DEVICE"


class OutputError(PiqaError):
    """Results cannot be written: a full disk, a folder that is not there. Code: E_OUTPUT."""

    exit_status = 1
    default_code = "E_OUTPUT"
