"""The processes that train one model together, each on its own rows of a batch; a single one as a rule.

accelerate starts and connects them (`accelerate launch`). What is learnt does not depend on how many share the work:
sums of a batch are taken over all processes, and gradients are averaged before the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Peers:
    """This process among its peers. `state` is accelerate's; None where there are no others."""

    count: int = 1
    rank: int = 0
    state: Any = None

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come this far."""
        if self.state is not None:
            self.state.wait_for_everyone()

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one behind the other; gradients flow through one's own."""
        if self.count == 1:
            return rows
        from accelerate.utils import gather

        parts = list(gather(rows.detach().contiguous()).split(len(rows)))
        parts[self.rank] = rows
        return torch.cat(parts)

    def mean(self, total: Tensor, count: Tensor) -> Tensor:
        """The mean over the rows of all processes, of each one's sum and number of rows; 0 without any."""
        sums = self.gather(torch.stack([total, count.to(total)])[None]).sum(0)
        return self.whole(sums[0] / sums[1].clamp_min(1))

    def whole(self, loss: Tensor) -> Tensor:
        """A loss made of `gather`ed rows, for gradients that will be averaged: each process has but its own rows' part.

        The value stays.
        """
        return loss + (self.count - 1) * (loss - loss.detach())

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces the gradients by their mean over all processes, in one exchange."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.count == 1 or not gradients:
            return
        from accelerate.utils import reduce

        flat = torch.cat([gradient.float().flatten() for gradient in gradients])
        mean: Tensor = reduce(flat, "mean")
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


ALONE = Peers()


def find_peers(device: str) -> tuple[Peers, str]:
    """This process among those that accelerate started, and the device that it computes on.

    Args:
        device: as on the command line; auto and cuda become each process's own GPU.
    """
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    if state.num_processes == 1:
        return ALONE, device
    own = f"cuda:{state.local_process_index}" if state.device.type == "cuda" else str(state.device)
    return Peers(state.num_processes, state.process_index, state), own
