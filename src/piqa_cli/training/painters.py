"""`piqa train painters`: the two small networks that the synthesis borrows its generative faults from."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piqa_cli import __version__
from piqa_cli.errors import UsageError
from piqa_cli.synthesis.masks import draw_mask
from piqa_cli.synthesis.painter import AUTOENCODER, PAINTER, Autoencoder, Painter, channels_last, save_networks
from piqa_cli.synthesis.photos import PhotoLibrary, random_crop
from piqa_cli.synthesis.pixels import log_uniform
from piqa_cli.training.loop import Plan, fit
from piqa_cli.training.teachers import Teacher

RUNGS = (0.003, 0.009, 0.12, 1.0)
"""Shares of the steps after which the painter goes onto its ladder; the first steps change what it paints most."""
STEPS = {"painter": 1300, "autoencoder": 1400}
_TEACHER, _TAPS = "squeezenet_v1_1", ("stride2", "stride4", "stride8")


@dataclass(frozen=True, slots=True)
class PainterSettings:
    """The flags of `piqa train painters`.

    photos, out, teachers: folders; without teachers the networks learn from absolute differences alone.
    steps: of each network; None takes `STEPS`. size: side of the training crops, in pixels.
    """

    photos: str
    out: str
    teachers: str | None = None
    steps: int | None = None
    seed: int = 0
    batch_size: int = 4
    size: int = 128


def train(settings: PainterSettings, report: Callable[[str], None] = print) -> None:
    """Trains both networks; an interrupted run of the same settings goes on where it was.

    `settings.out` receives checkpoints, `log.jsonl`, `run.json` and `weights/`, whose files
    `synthesis.painter` opens.

    Raises:
        UsageError: the output folder holds a run of other settings.
        InputError: photos or teachers are missing.
    """
    out = Path(settings.out)
    weights = out / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    _record(settings, out)
    data = PhotoLibrary(settings.photos, long_side=_long_side(settings.size), cached=10_000)
    alike = _Alike(None if settings.teachers is None else Path(settings.teachers))
    train_painter(settings, data, alike, report)
    train_autoencoder(settings, data, alike, report)
    (weights / "run.json").write_text((out / "run.json").read_text("utf-8"), "utf-8")


def train_painter(
    settings: PainterSettings, library: PhotoLibrary, alike: _Alike, report: Callable[[str], None]
) -> None:  # fmt: skip
    """The painter and its ladder, into `weights/` of the output folder."""
    out = Path(settings.out)
    torch.manual_seed(settings.seed)
    painter = channels_last(Painter())
    plan = Plan("painter", settings.steps or STEPS["painter"], 2e-3, warmup=0.02)
    batches = _with_rungs(_Crops(library, settings, holes=True), painter, plan.steps, out)
    fit(plan, painter, _PainterLosses(painter, alike), batches, out, report)
    save_networks([load_file(_rung_file(out, number)) for number in range(len(RUNGS))], out / "weights" / PAINTER)


def train_autoencoder(
    settings: PainterSettings, library: PhotoLibrary, alike: _Alike, report: Callable[[str], None]
) -> None:  # fmt: skip
    """The autoencoder, into `weights/` of the output folder."""
    out = Path(settings.out)
    torch.manual_seed(settings.seed + 1)
    autoencoder = channels_last(Autoencoder())
    plan = Plan("autoencoder", settings.steps or STEPS["autoencoder"], 2e-3, warmup=0.02)
    fit(plan, autoencoder, _AutoencoderLosses(autoencoder, alike), _Crops(library, settings, holes=False), out, report)
    save_networks([autoencoder.state_dict()], out / "weights" / AUTOENCODER)


def _long_side(size: int) -> int:
    """A crop then shows as much of its photo, as sharply, as the synthesis shows at twice the side."""
    return 5 * size // 2


def _record(settings: PainterSettings, out: Path) -> None:
    """Writes `run.json`: settings without this machine's paths."""
    described: dict[str, object] = {"piqa": __version__, "torch": torch.__version__, **asdict(settings)}
    described |= {name: folder and Path(folder).resolve().name for name, folder in _folders(settings).items()}
    described |= {"steps": {name: settings.steps or steps for name, steps in STEPS.items()}, "rungs": RUNGS}
    del described["out"]
    text = json.dumps(described, indent=2) + "\n"
    record = out / "run.json"
    if record.is_file() and record.read_text("utf-8") != text:
        raise UsageError(
            "the output folder holds another run", file=str(out), hint="choose another --out, or remove it"
        )
    record.write_text(text, "utf-8")


def _folders(settings: PainterSettings) -> dict[str, str | None]:
    return {"photos": settings.photos, "teachers": settings.teachers}


@dataclass(frozen=True, slots=True)
class _Crops:
    """Batches of crops of the training photos: pure functions of (seed, step)."""

    library: PhotoLibrary
    settings: PainterSettings
    holes: bool

    def __call__(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        for step in range(first, last):
            yield self.batch(np.random.default_rng((self.settings.seed, int(self.holes), step)))

    def batch(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """`rgb` N x 3 x S x S in 0..1, `hole` N x 1 x S x S (0 or 1)."""
        names, size = self.library.names("train"), self.settings.size
        pictures, holes = [], []
        for _ in range(self.settings.batch_size):
            photo = random_crop(rng, self.library.load(names[int(rng.integers(len(names)))]), (size, size))
            pictures.append(photo.pixels)
            if self.holes:
                holes.append(draw_mask(rng, photo, area=log_uniform(rng, 0.02, 0.5)))
        batch = {"rgb": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255}
        if holes:
            batch["hole"] = torch.from_numpy(np.stack(holes))[:, None].float()
        return batch


def _with_rungs(
    crops: _Crops, painter: Painter, steps: int, out: Path
) -> Callable[[int, int], Iterator[dict[str, Tensor]]]:
    """The batches; whoever asks for the next one has finished the step before, so here the rungs are saved."""

    def iterate(first: int, last: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(crops(first, last), first):
            yield batch
            for number, share in enumerate(RUNGS):
                if step + 1 == max(1, round(share * steps)):
                    save_file({k: v.contiguous() for k, v in painter.state_dict().items()}, _rung_file(out, number))

    return iterate


def _rung_file(out: Path, number: int) -> Path:
    return out / f"painter-rung-{number}.safetensors"


class _Alike(nn.Module):
    """How unlike two pictures look to a teacher network: its features, and (as a texture) their Gram matrices.

    Features: unit length at every place, as in Zhang et al. 2018 (LPIPS). Gram: Gatys et al. 2016.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.teacher = None if folder is None else _shortened(Teacher(folder / f"{_TEACHER}.safetensors"))

    def forward(self, made: Tensor, rgb: Tensor, where: Tensor | None = None) -> dict[str, Tensor]:
        """Losses `features` and `texture`, the latter within `where`; none without a teacher."""
        if self.teacher is None:
            return {}
        # Gradients have to pass through the teacher, which by itself keeps none.
        found: dict[str, Tensor] = inspect.unwrap(Teacher.forward)(self.teacher, made)
        wanted: dict[str, Tensor] = self.teacher(rgb)
        features, texture = [], []
        for tap in _TAPS:
            ours, theirs = (F.normalize(maps[tap].float(), dim=1) for maps in (found, wanted))
            unlike = (ours - theirs).square().sum(1, keepdim=True)
            here = (
                torch.ones_like(unlike)
                if where is None
                else F.adaptive_avg_pool2d(where, (ours.shape[2], ours.shape[3]))
            )
            features.append((unlike * (0.1 + here)).sum() / (0.1 + here).sum())
            difference = _gram(ours, here) - _gram(theirs, here)
            texture.append((difference.square().sum((1, 2)) + 1e-6).sqrt().mean())
        return {"features": 0.4 * torch.stack(features).mean(), "texture": 0.4 * torch.stack(texture).mean()}


def _gram(features: Tensor, where: Tensor) -> Tensor:
    """N x C x C products of the channels, averaged over `where`, N x 1 x H x W."""
    flat, weights = features.flatten(2), where.flatten(2)
    with torch.autocast("cpu", enabled=False):  # small differences of large sums
        return (flat * weights) @ flat.transpose(1, 2) / weights.sum(2, keepdim=True).clamp_min(1e-3)


def _shortened(teacher: Teacher) -> Teacher:
    """The teacher up to the last output that is compared."""
    teacher.taps = {tap: name for tap, name in teacher.taps.items() if tap in _TAPS}
    last = max(number for number, step in enumerate(teacher.plan) if step["name"] in teacher.taps.values())
    teacher.plan = teacher.plan[: last + 1]
    return channels_last(teacher)


@dataclass(frozen=True, slots=True)
class _PainterLosses:
    painter: Painter
    alike: _Alike

    def __call__(self, batch: dict[str, Tensor], /) -> dict[str, Tensor]:
        rgb, hole = (batch[name].contiguous(memory_format=torch.channels_last) for name in ("rgb", "hole"))
        with torch.autocast("cpu", torch.bfloat16):
            painted = self.painter(rgb, hole).float()
            wrong = (painted - rgb).abs()
            looks = self.alike(rgb * (1 - hole) + painted * hole, rgb, hole)
        return {"hole": (wrong * hole).sum() / (3 * hole.sum()), "known": 0.3 * wrong.mean(), **looks}


@dataclass(frozen=True, slots=True)
class _AutoencoderLosses:
    autoencoder: Autoencoder
    alike: _Alike

    def __call__(self, batch: dict[str, Tensor], /) -> dict[str, Tensor]:
        rgb = batch["rgb"].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.autoencoder(rgb).float()
            looks = self.alike(made, rgb)
        return {"pixels": 2 * (made - rgb).abs().mean(), **looks}
