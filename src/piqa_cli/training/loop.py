"""One training loop for every stage: steps, log, checkpoints that resume exactly.

Batches are a pure function of (seed, step) and checkpoints hold the optimiser as safetensors, so that a
run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piqa_cli.errors import ModelError

Losses = dict[str, Tensor]
CHECKPOINT_SECONDS = 60.0
_SLOW_SHARE = 1 / 3


class StepFunction(Protocol):
    """One batch -> named losses; their sum is minimised."""

    def __call__(self, batch: dict[str, Tensor], /) -> Losses:
        """The losses of one batch of named tensors."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a stage learns."""

    name: str
    steps: int
    learning_rate: float
    weight_decay: float = 0.02
    warmup: float = 0.05
    slow: str = ""  # parameters under this name learn at a third of the rate: they start from what they know
    restarts: tuple[int, ...] = ()  # steps at which the rate climbs again, to half of its last peak
    log_every: int = 50
    deadline: float | None = None  # time.monotonic() at which to stop with a checkpoint

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 2 % of the peak; again after every restart (Loshchilov 2017)."""
        bounds = [0, *(restart for restart in self.restarts if restart < self.steps), self.steps]
        cycle = max(i for i, bound in enumerate(bounds[:-1]) if bound <= max(step, 0))
        peak, done, length = self.learning_rate / 2.0**cycle, step - bounds[cycle], bounds[cycle + 1] - bounds[cycle]
        warm = max(1, int(self.warmup * length))
        if done < warm:
            return peak * (done + 1) / warm
        progress = (done - warm) / max(1, length - warm)
        return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens beside the steps.

    Args:
        average: replaces gradients by their mean over all processes that train together.
        watch: told after every step how many are finished, before a checkpoint counts them; may validate.
        record: given what is logged, by name.
        writes: whether this process writes checkpoints and log, and reports.
    """

    average: Callable[[Sequence[nn.Parameter]], None] = _ignore
    watch: Callable[[int], None] = _ignore
    record: Callable[[int, dict[str, float]], None] = _ignore
    writes: bool = True


class Checkpoint:
    """Weights, optimiser and step of a stage in one safetensors file, replaced atomically."""

    def __init__(self, path: Path, module: nn.Module, optimiser: torch.optim.AdamW) -> None:
        self.path, self.module, self.optimiser = path, module, optimiser

    def save(self, step: int) -> None:
        """Writes the state after `step` finished steps."""
        tensors = {f"model.{name}": value.detach().contiguous() for name, value in self.module.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value.contiguous() for key, value in state.items()}
        temporary = self.path.with_suffix(".tmp")
        save_file(tensors, temporary, metadata={"step": str(step)})
        temporary.replace(self.path)

    def load(self) -> int:
        """Restores the state; gives the number of finished steps, 0 where there is no checkpoint."""
        if not self.path.is_file():
            return 0
        tensors = load_file(self.path)
        weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(
                f"the checkpoint does not fit the network: {error}", file=str(self.path), hint="start with --overwrite"
            ) from error
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        return finished_steps(self.path)


def finished_steps(checkpoint: Path) -> int:
    """How many steps a checkpoint has behind it; 0 where there is none."""
    if not checkpoint.is_file():
        return 0
    with safe_open(checkpoint, framework="pt") as file:
        return int(file.metadata()["step"])


def fit(
    plan: Plan,
    module: nn.Module,
    step_function: StepFunction,
    batches: Callable[[int, int], Iterator[dict[str, Tensor]]],
    folder: Path,
    report: Callable[[str], None],
    hooks: Hooks = Hooks(),
) -> bool:
    """Trains `module`'s parameters that require gradients; True when the last step was reached.

    Args:
        plan: for how long and how fast.
        module: what is optimised and checkpointed.
        step_function: gives the losses of a batch.
        batches: (first step, last step) -> the batches of those steps.
        folder: receives `<stage>.safetensors` (checkpoint) and `log.jsonl`.
        report: takes a line for the person who waits.
        hooks: what happens beside the steps.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(_groups(plan, module), plan.learning_rate, weight_decay=plan.weight_decay)
    checkpoint = Checkpoint(folder / f"{plan.name}.safetensors", module, optimiser)
    first = checkpoint.load()
    saved = started = time.monotonic()
    averages: dict[str, float] = {}
    for step, batch in enumerate(batches(first, plan.steps), start=first):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step) * group["share"]
        losses = step_function(batch)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        hooks.average(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        for name, value in losses.items():
            averages[name] = 0.98 * averages.get(name, value.item()) + 0.02 * value.item()
        now = time.monotonic()
        if hooks.writes and (step % plan.log_every == 0 or step + 1 == plan.steps):
            _log(folder, plan, step, averages, now - started, report)
            hooks.record(step, {"rate": plan.rate(step), **averages})
        hooks.watch(step + 1)
        late = plan.deadline is not None and now > plan.deadline
        if hooks.writes and (now - saved > CHECKPOINT_SECONDS or late or step + 1 == plan.steps):
            checkpoint.save(step + 1)
            saved = now
        if late:
            report(f"{plan.name}: out of time after step {step + 1} of {plan.steps}; --resume goes on")
            return step + 1 == plan.steps
    return True


def _groups(plan: Plan, module: nn.Module) -> list[dict[str, object]]:
    """Parameters that learn, the slow ones apart."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    slow = [p for name, p in named if plan.slow and name.startswith(plan.slow)]
    fast = [p for name, p in named if not (plan.slow and name.startswith(plan.slow))]
    return [{"params": part, "share": share} for part, share in ((fast, 1.0), (slow, _SLOW_SHARE)) if part]


def _log(
    folder: Path, plan: Plan, step: int, averages: dict[str, float], seconds: float, report: Callable[[str], None]
) -> None:
    rounded = {name: round(value, 4) for name, value in averages.items()}
    record = {"stage": plan.name, "step": step, "seconds": round(seconds, 1), "rate": plan.rate(step), **rounded}
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    report(f"{plan.name} {step}/{plan.steps} " + " ".join(f"{k} {v:.4f}" for k, v in rounded.items()))
