"""piqa from a Python program: the same flow as the command line, with paths in and records out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from piqa_cli import pipeline
from piqa_cli.assessor import Assessor
from piqa_cli.errors import UsageError
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy
from piqa_cli.models import open_assessor
from piqa_cli.schema import Assessment, Failure, Outcome, Pair

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def assess(
    source: Path,
    edited: Path,
    prompt: str | None = None,
    mask: Path | None = None,
    *,
    model: str = "compact",
    assessor: Assessor | None = None,
    device: str = "auto",
    explain: bool = True,
    policy: ImagePolicy = DEFAULT_POLICY,
) -> Assessment:
    """Judge one edited image against its source.

    Opens the model on every call; for several pairs open it once with `open_assessor` and pass it, or use
    `assess_pairs`.

    Args:
        source: the image before the edit.
        edited: the image after it; its path becomes the record's `id`.
        prompt: what the edit was asked to do; without it prompt completion is null.
        mask: an image that is white where the edit was allowed.
        model: which model, as `open_assessor` takes it. Not used if `assessor` is given.
        assessor: an assessor that is already open; `open_assessor` takes everything that can be said of a model.
        device: auto, cpu, cuda, cuda:N or mps. Not used if `assessor` is given.
        explain: whether to write the explanation.
        policy: limits and conversions for reading images.

    Raises:
        InputError: an image cannot be read, or the images cannot be compared.
        ModelError: the model cannot be had.
        ReplyError: what a server answered cannot be used.
        DeviceError: the device cannot be had, or its memory does not suffice.
    """
    pair = Pair(
        id=_text(edited, "edited"),
        source=_text(source, "source"),
        edited=_text(edited, "edited"),
        mask=None if mask is None else _text(mask, "mask"),
        prompt=prompt,
    )
    judge = assessor or open_assessor(model, device=device)
    return pipeline.assess_pair(pair, judge, policy=policy, explain=explain)[1]


def assess_pairs(
    pairs: Iterable[Pair | Failure],
    assessor: Assessor | None = None,
    *,
    model: str = "compact",
    device: str = "auto",
    explain: bool = True,
    policy: ImagePolicy = DEFAULT_POLICY,
    workers: int = 2,
    batch_size: int = 8,
) -> Iterator[Outcome]:
    """Judge many pairs: one outcome per pair, in input order, as they are done.

    A pair that cannot be judged comes out as a `Failure` and does not stop the others. The pairs are read
    lazily, in another thread.

    Args:
        pairs: what to judge.
        assessor: an assessor that is already open; without it `model` is opened on `device`.
        model: which model, as `open_assessor` takes it.
        device: auto, cpu, cuda, cuda:N or mps.
        explain: whether to write the explanations.
        policy: limits and conversions for reading images.
        workers: decoding threads.
        batch_size: most pairs given to the model at once; does not change the records.

    Raises:
        ModelError: the model cannot be had.
        DeviceError: the device cannot be had.
        ValueError: `workers` or `batch_size` is below 1.
    """
    judge = assessor or open_assessor(model, device=device)
    return pipeline.assess_pairs(pairs, judge, policy=policy, workers=workers, batch_size=batch_size, explain=explain)


def _text(path: Path, role: str) -> str:
    """The path as text; "-" is a file of that name here, because a program has its own standard input."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise UsageError(
            f"the {role} image must be a path", expected="str, bytes or os.PathLike", found=type(path).__name__
        )
    text = os.fsdecode(path)
    return os.path.join(os.curdir, text) if text == "-" else text
