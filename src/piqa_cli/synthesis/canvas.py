"""What an edit family gets and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from piqa_cli.synthesis.pixels import F32, U8, Mask, Rng, inner_alpha, to_float, to_uint8

HARMONY_FAULTS = ("exposure", "colour", "noise", "sharpness", "seam")
NATURALNESS_FAULTS = ("texture_loss", "smear", "blocking", "warp", "ghost", "repetition", "garbled")
FAULTS = HARMONY_FAULTS + NATURALNESS_FAULTS


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One edit in the making. All pictures are H x W x 3 uint8 RGB of one size.

    picture: the photo before the edit. base: the photo with its content changed but without faults; it is
    `picture` where nothing was changed. mask: the edited region. inner: the inserted object proper, a part
    of the mask. donor: another photo, lying so that what is to be pasted is under `inner`. grain: noise of
    the photo, H x W x 3 float32, which an edit may lose; zero where there is none. severity: 0 (no fault)
    to 1. feather: pixels over which the edit blends in, inside the mask.
    """

    picture: U8
    base: U8
    mask: Mask
    inner: Mask
    donor: U8
    grain: F32
    severity: float
    feather: float

    def put(self, content: F32, *, feather: float | None = None, below: U8 | None = None) -> U8:
        """`content` inside the mask, over `below` (the photo by default); outside nothing changes."""
        under = self.picture if below is None else below
        alpha = inner_alpha(self.mask, self.feather if feather is None else feather)[..., None]
        mixed = to_float(under)
        mixed += alpha * (content - mixed)
        return np.where(self.mask[..., None], to_uint8(mixed), self.picture)


Apply = Callable[[Rng, Canvas], U8]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of edit or of fault.

    apply: gives the edited picture; its random draws do not depend on the severity, so that the same
    generator state at two severities gives the same edit, better and worse. faults: what suffers as
    severity grows, the main one first. content: it changes content by itself; the others put a fault on
    content changed by one that does, and at severity 0 change nothing. grain: how often it wants a photo
    with visible noise.
    """

    name: str
    apply: Apply
    faults: tuple[str, ...]
    content: bool = False
    grain: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether severity 0 still is an edit that can be seen."""
        return self.content

    @property
    def harms_harmony(self) -> bool:
        """Whether severity costs harmony."""
        return any(fault in HARMONY_FAULTS for fault in self.faults)

    @property
    def harms_naturalness(self) -> bool:
        """Whether severity costs naturalness."""
        return any(fault in NATURALNESS_FAULTS for fault in self.faults)
