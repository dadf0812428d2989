"""`--engine`: where a batch is judged. In this process, or by a Ray cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from piqa_cli.cli.options import option
from piqa_cli.cli.run import Run
from piqa_cli.cli.streams import printable
from piqa_cli.cli.summary import plural
from piqa_cli.errors import UsageError

if TYPE_CHECKING:
    from piqa_cli.cli.results import Held, Rows
    from piqa_cli.images import ImagePolicy
    from piqa_cli.resume import Known, Recipe
    from piqa_cli.schema import Failure, Outcome, Pair

Engine = Literal["local", "ray"]
Items = Callable[["Iterable[Pair | Failure]", "Rows"], "Generator[Outcome | Known, None, None]"]
"""Judges pairs; the rows keep what comes before its turn."""

_PANEL = "Cluster"
_ADDRESS = "RAY_ADDRESS"
ENGINE = option(
    _PANEL,
    "--engine",
    metavar="local|ray",
    help_="Judge in this process (local, default), or in the workers of a Ray cluster; needs piqa-cli[ray].",
)
RAY_ADDRESS = option(
    _PANEL,
    "--ray-address",
    metavar="HOST:PORT",
    help_="The cluster, or auto for the one this machine is in; by default RAY_ADDRESS, else one is started here.",
)
RAY_WORKERS = option(
    _PANEL,
    "--ray-workers",
    metavar="N",
    help_="Processes that each open the model; by default as many as there are GPUs for, else processors.",
    least=1,
)
GPUS_PER_WORKER = typer.Option(
    "--gpus-per-worker",
    metavar="X",
    min=0,
    help="GPUs of each, also a part of one (0.5); 1 by default where there are any, else 0.",
    rich_help_panel=_PANEL,
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was asked for with `--engine` and the options that go with it."""

    engine: Engine = "local"
    address: str | None = None
    workers: int | None = None
    gpus: float | None = None

    def check(self) -> None:
        """Whether the options fit together and Ray is installed.

        Raises:
            UsageError: they do not, or it is not.
        """
        if self.engine == "local":
            given = {"--ray-address": self.address, "--ray-workers": self.workers, "--gpus-per-worker": self.gpus}
            for name, value in given.items():
                if value is not None:
                    raise UsageError(f"{name} goes with --engine ray", found="--engine local")
            return
        if self.gpus is not None and self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(
                "--gpus-per-worker: expected whole GPUs, or a part of one",
                found=f"{self.gpus:g}",
                hint="0.5 puts two workers on one GPU, 2 gives each worker two",
            )
        from piqa_cli.scaling.session import check_ray

        check_ray()


@contextmanager
def ray_engine(
    run: Run,
    asked: Cluster,
    held: Held,
    recipe: Recipe,
    policy: ImagePolicy,
    *,
    workers: int,
    batch_size: int,
    retry_failed: bool,
) -> Iterator[Items]:
    """The cluster, for as long as the batch goes on.

    Raises:
        DeviceError: it cannot be had.
        UsageError: it has not what was asked for.
    """
    from piqa_cli.models import open_assessor
    from piqa_cli.scaling.cluster import Errand
    from piqa_cli.scaling.running import judge_pairs
    from piqa_cli.scaling.session import opened
    from piqa_cli.scaling.work import Job

    address = asked.address or os.environ.get(_ADDRESS) or None
    job = Job(
        open=functools.partial(open_assessor, **run.settings.for_model()),
        recipe=recipe,
        policy=policy,
        workers=workers,
        batch_size=batch_size,
        explain=run.settings.explain,
        retry_failed=retry_failed,
        hashes=held.hashes.path,
        folder=os.getcwd(),
    )
    run.detail(f"Ray: {'a cluster on this machine' if address is None else printable(address)}")
    with opened(Errand(job, address, asked.workers, asked.gpus, debug=run.settings.debug)) as session:
        share = session.share
        if asked.workers is not None and share.workers < asked.workers:
            run.warn(f"the cluster has room for {plural(share.workers, 'worker')}, not for {asked.workers}")
        run.detail(f"Ray: {plural(share.workers, 'worker')} with {share.cpus:g} CPUs and {share.gpus:g} GPUs each")

        def items(found: Iterable[Pair | Failure], rows: Rows) -> Generator[Outcome | Known, None, None]:
            yield from judge_pairs(found, session, share.workers, batch_size, rows, held.hashes, held.finished)

        yield items
