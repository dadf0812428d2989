"""Pairs and an assessor in, outcomes out: decode ahead of the model, assess in batches, keep the order.

```
pairs -> feeder thread -> decoding threads -> (here) batches -> ground -> score -> explain -> Outcome
```

One bad pair becomes a `Failure` and never stops the others. What concerns every pair alike, a model or
a device that cannot be had, is raised. The number of decoded pairs held at any time is bounded, so
memory does not grow with the length of the input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, TypeVar

from piqa_cli.assessor import Assessor, Explanation, Grounding, Judgement
from piqa_cli.errors import DeviceError, ModelError, PiqaError
from piqa_cli.failures import refuse
from piqa_cli.images import DEFAULT_POLICY, ImagePolicy, LoadedPair, load_pair
from piqa_cli.pairs import Request
from piqa_cli.prefetch import Prefetch
from piqa_cli.remote import once
from piqa_cli.resume import Known, Memory
from piqa_cli.schema import Assessment, ErrorInfo, Failure, ModelInfo, Outcome, Pair

P = TypeVar("P")
"""What passes in its place without being assessed: a `Failure`, or what `resume_pairs` finds known."""

_WORTH_DOUBLING = 0.9  # a batch of twice the size has to save a tenth of a pair's time


def assess_pairs(
    pairs: Iterable[Pair | Failure],
    assessor: Assessor,
    *,
    policy: ImagePolicy = DEFAULT_POLICY,
    workers: int = 2,
    batch_size: int = 8,
    largest_batch: int | None = None,
    explain: bool = True,
    stdin: BinaryIO | None = None,
) -> Iterator[Outcome]:
    """One outcome per pair, in input order, as they are done.

    The input is read lazily, and a batch is run as soon as no further pair is ready, so a slow producer
    (a stream on standard input) gets its records as it goes. At most about `workers` and two batches of
    decoded pairs are held. A batch that runs out of device memory is halved.

    Args:
        pairs: what to assess; a `Failure` (an unpaired file, a broken row) is passed through in its place.
        assessor: judges the pairs; its answer for a pair does not depend on the batch.
        policy: limits and conversions for reading images.
        workers: decoding threads.
        batch_size: most pairs given to the assessor at once, to begin with.
        largest_batch: the batch may double up to this, as long as that makes a pair cheaper; None: `batch_size`.
        explain: whether to run the third stage.
        stdin: what "-" stands for as a path.

    Raises:
        ModelError: the model cannot be used.
        DeviceError: the device cannot be used; running out of memory with one pair is that pair's `Failure`.
        ValueError: `workers` or `batch_size` is below 1.
    """

    def load(pair: Pair) -> LoadedPair | Failure:
        return _load(pair, None, policy, stdin)

    return _flow(pairs, load, _Runner(assessor, batch_size, explain, largest_batch), workers)


def resume_pairs(
    pairs: Iterable[Pair | Failure],
    assessor: Assessor,
    memory: Memory,
    *,
    policy: ImagePolicy = DEFAULT_POLICY,
    workers: int = 2,
    batch_size: int = 8,
    largest_batch: int | None = None,
    explain: bool = True,
) -> Iterator[Outcome | Known]:
    """As `assess_pairs`, but the records have keys, and a pair that the memory knows is not even decoded.

    Args:
        pairs: see `assess_pairs`, as all that is not told here.
        assessor: see there.
        memory: the keys, and the records there are.
        policy: see there.
        workers: see there; the same threads read files for their keys.
        batch_size: see there.
        largest_batch: see there.
        explain: see there.

    Raises:
        ModelError, DeviceError, ValueError: as `assess_pairs`.
    """

    def load(pair: Pair) -> LoadedPair | Failure | Known:
        with once():
            key = memory.key_of(pair)
            known = memory.recall(pair, key)
            if known is not None:
                return known
            done = _load(pair, key, policy, None)
            # A file that changed between the reading for the key and the reading for the picture has no key.
            return done if memory.key_of(pair) == key else _without_key(done)

    return _flow(pairs, load, _Runner(assessor, batch_size, explain, largest_batch), workers)


def answer_requests(
    requests: Iterable[Request | Failure],
    assessor: Assessor,
    *,
    policy: ImagePolicy = DEFAULT_POLICY,
    workers: int = 2,
    batch_size: int = 8,
    explain: bool = True,
) -> Iterator[Outcome]:
    """As `assess_pairs`, but each request may ask for something else than the run does.

    Args:
        requests: see `assess_pairs`; no more than `workers + batch_size` of them are read before the first of them
            has been answered and the answer has been taken.
        assessor: see there, as all that is not told here.
        policy: of requests that do not name a frame, or which way round their mask is.
        workers: see there.
        batch_size: see there.
        explain: of requests that do not say.

    Raises:
        ModelError, DeviceError, ValueError: as `assess_pairs`.
    """

    def load(pair: Pair) -> LoadedPair | Failure:
        request = pair if isinstance(pair, Request) else Request(**pair.model_dump())
        asked = replace(
            policy,
            frame=policy.frame if request.frame is None else request.frame,
            invert_mask=policy.invert_mask if request.invert_mask is None else request.invert_mask,
        )
        done = _load(request.pair(), None, asked, None)
        wanted = explain if request.explain is None else request.explain
        return done if isinstance(done, Failure) else replace(done, explain=wanted)

    return _flow(requests, load, _Runner(assessor, batch_size, True), workers)


def assess_pair(
    pair: Pair,
    assessor: Assessor,
    *,
    policy: ImagePolicy = DEFAULT_POLICY,
    explain: bool = True,
    stdin: BinaryIO | None = None,
) -> tuple[LoadedPair, Assessment]:
    """Assess one pair without threads, and hand out its decoded images as well (for an overlay).

    Raises:
        PiqaError: the pair cannot be read or assessed; the narrowest class says why.
    """
    loaded = load_pair(pair, policy, stdin=stdin)
    try:
        return loaded, _assess_batch([loaded], assessor, explain)[0]
    except MemoryError as error:
        raise _out_of_memory(pair) from error


def failure(pair: Pair, error: BaseException, key: str | None = None) -> Failure:
    """The record of a pair that could not be assessed, whatever stopped it; `key` is what it is known by again."""
    if isinstance(error, MemoryError):
        error = _out_of_memory(pair)
    if not isinstance(error, PiqaError):
        hint = "this is a fault in piqa; please report it with the files"
        info = ErrorInfo(code="E_INTERNAL", message=f"{type(error).__name__}: {error}", file=pair.edited, hint=hint)
        return Failure(id=pair.id, key=key, pair=pair, error=info)
    return refuse(pair, error, key)


def assemble(
    loaded: LoadedPair,
    model: ModelInfo,
    grounding: Grounding,
    judgement: Judgement,
    explanation: str | Explanation | None,
    seconds: float,
) -> Assessment:
    """The record of one pair from the three stages' answers."""
    told = explanation if isinstance(explanation, Explanation) else Explanation(explanation)
    warnings = dict.fromkeys((*loaded.warnings, *grounding.warnings, *judgement.warnings, *told.warnings))
    return Assessment(
        id=loaded.pair.id,
        key=loaded.key,
        pair=loaded.info,
        model=model,
        edit=grounding.edit,
        alignment=grounding.alignment,
        regions=grounding.regions,
        scores=judgement.scores,
        fusion=judgement.fusion,
        findings=judgement.findings,
        faults=judgement.faults,
        artefacts=judgement.artefacts,
        cross_check=judgement.cross_check,
        explanation=None if told.text is None else _utf8(told.text),
        warnings=tuple(_utf8(warning) for warning in warnings),
        seconds=seconds,
    )


def _utf8(text: str) -> str:
    r"""Sentences may quote a path or prompt that is not UTF-8; those bytes are spelt out, as \udce9."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _out_of_memory(pair: Pair) -> DeviceError:
    return DeviceError(
        "out of memory with a single pair",
        code="E_OOM",
        file=pair.edited,
        hint="reduce the images, or choose another --device",
    )


def _assess_batch(batch: Sequence[LoadedPair], assessor: Assessor, explain: bool) -> list[Assessment]:
    """The three stages on one batch; whatever they raise passes."""
    start = time.perf_counter()
    groundings = assessor.ground(batch)
    judgements = assessor.score(batch, groundings)
    texts: list[str | Explanation | None] = [None] * len(batch)
    if wanted := [n for n, loaded in enumerate(batch) if explain and loaded.explain]:
        told = assessor.explain(
            [batch[n] for n in wanted], [groundings[n] for n in wanted], [judgements[n] for n in wanted]
        )
        for n, text in zip(wanted, told, strict=True):
            texts[n] = text
    seconds = (time.perf_counter() - start) / len(batch)
    stages = zip(batch, groundings, judgements, texts, strict=True)
    return [assemble(loaded, assessor.info, g, j, text, seconds) for loaded, g, j, text in stages]


class _Runner:
    """Runs batches, divides those that fail, and learns how large a batch should be.

    It may double, up to `largest`, as long as that makes a pair cheaper.
    """

    def __init__(self, assessor: Assessor, batch_size: int, explain: bool, largest: int | None = None) -> None:
        self._assessor = assessor
        self._explain = explain
        self.limit = batch_size
        self._largest = largest or batch_size
        self._before: float | None = None  # seconds a pair took in batches of half the size
        self._warm = False

    def run(self, group: Sequence[LoadedPair | P]) -> list[Outcome | P]:
        """Outcomes of a group in its order; what was not loaded passes through."""
        batch = [item for item in group if isinstance(item, LoadedPair)]
        full, start = len(batch) == self.limit, time.perf_counter()
        done = iter(self._divide(batch))
        if full and self.limit == len(batch):  # and was not found to be too large
            self._learn((time.perf_counter() - start) / len(batch))
        return [next(done) if isinstance(item, LoadedPair) else item for item in group]

    def _learn(self, seconds: float) -> None:
        """Takes in what a pair cost in a full batch; the first batch of a size only warms up."""
        if not self._warm:
            self._warm = True
        elif self._before is not None and seconds > _WORTH_DOUBLING * self._before:
            self._settle(self.limit // 2)
        elif 2 * self.limit <= self._largest:
            self.limit, self._before, self._warm = 2 * self.limit, seconds, False

    def _settle(self, size: int) -> None:
        self.limit = self._largest = size
        self._before = None

    def _divide(self, batch: list[LoadedPair]) -> list[Outcome]:
        if not batch:
            return []
        try:
            return list(_assess_batch(batch, self._assessor, self._explain))
        except ModelError:
            raise
        except DeviceError as error:
            if error.code != "E_OOM":
                raise
            cause: Exception = error
        except Exception as error:  # noqa: BLE001 - becomes the failure of the pair that caused it
            cause = error
        if len(batch) == 1:
            return [failure(batch[0].pair, cause, batch[0].key)]
        # Left of the except block: while the error is handled, its traceback holds the batch's tensors.
        out_of_memory = isinstance(cause, DeviceError | MemoryError)
        del cause
        return self._halve(batch) if out_of_memory else [one for item in batch for one in self._divide([item])]

    def _halve(self, batch: list[LoadedPair]) -> list[Outcome]:
        half = (len(batch) + 1) // 2
        outcomes = self._divide(batch[:half]) + self._divide(batch[half:])
        if not any(isinstance(one, Failure) for one in outcomes):
            self._settle(min(self.limit, half))  # no single pair was too large, so the batch was
        return outcomes


def _load(pair: Pair, key: str | None, policy: ImagePolicy, stdin: BinaryIO | None) -> LoadedPair | Failure:
    try:
        return replace(load_pair(pair, policy, stdin=stdin), key=key)
    except Exception as error:  # noqa: BLE001 - a fault of ours with one file must not cost the others
        return failure(pair, error, key)


def _without_key(done: LoadedPair | Failure) -> LoadedPair | Failure:
    return done.model_copy(update={"key": None}) if isinstance(done, Failure) else replace(done, key=None)


def _flow(
    pairs: Iterable[Pair | P], load: Callable[[Pair], LoadedPair | P], runner: _Runner, workers: int
) -> Iterator[Outcome | P]:
    """Starts nothing yet, so that wrong numbers are told at once.

    Raises:
        ValueError: a number of threads or of pairs in a batch is below 1.
    """
    if workers < 1 or runner.limit < 1:
        raise ValueError(f"workers and batch_size must be at least 1, found {workers} and {runner.limit}")
    return _outcomes(Prefetch(pairs, load, workers, ahead=workers + runner.limit), runner)


def _outcomes(prefetch: Prefetch[P], runner: _Runner) -> Iterator[Outcome | P]:
    try:
        while group := prefetch.take(runner.limit):
            outcomes = runner.run(group)
            prefetch.reach(runner.limit)
            group.clear()  # a slow reader of the records must not keep the pictures alive
            yield from outcomes
    finally:
        prefetch.close()
