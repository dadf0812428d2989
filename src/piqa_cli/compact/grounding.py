"""The change decoder on registered frames: probability maps, clean masks, and what changed within and outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from piqa_cli.compact.framing import Frame
from piqa_cli.compact.network import STRIDE, CompactModel, Grounded, summarise

_SMALLEST_REGION = 0.0004  # of the frame; less is not told from coding noise

# A part counts as kept when it is large enough to look at, has structure, and the structure is the same. Measured on
# subjects before exchanged backgrounds (0.84 and more after JPEG q50) and on whole-picture changes (mostly under 0.7).
_KEPT_SHARE, _KEPT_DETAIL, _KEPT_CORRELATION, _KEPT_DIFFERENCE = 0.03, 3.0, 0.8, 8.0
_KEPT_MARGIN = 15  # pixels; a tight outline leaves a rim of the new surroundings on the kept part


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What the decoder says of N frames of one size.

    probability: N x h x w float32 of being edited. kinds: N x 4 probabilities in the order of `network.KINDS`.
    """

    probability: NDArray[np.float32]
    kinds: NDArray[np.float32]
    grounded: Grounded
    evidence: Tensor


def to_tensor(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Pictures of one shape, h x w x 3 uint8 -> N x 3 x H x W in 0..1, padded to multiples of the stride."""
    stacked = torch.from_numpy(np.stack(pictures))
    if device.type == "cuda":
        stacked = stacked.pin_memory()  # copied while the processor goes on
    tensor = stacked.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
    return _padded(tensor).contiguous(memory_format=torch.channels_last)


def _padded(tensor: Tensor) -> Tensor:
    height, width = tensor.shape[-2:]
    return F.pad(tensor, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def ground_frames(model: CompactModel, frames: Sequence[Frame]) -> Maps:
    """Runs the decoder on frames of one size."""
    height, width = frames[0].size
    source, edited = (to_tensor([getattr(f, side) for f in frames], model.device) for side in ("source", "edited"))
    grounded, evidence = model.ground(source, edited)
    enlarged = F.interpolate(grounded.mask.float(), scale_factor=2.0, mode="bilinear", align_corners=False)
    probability = enlarged.sigmoid()[:, 0, :height, :width].cpu().numpy()
    return Maps(probability, grounded.kind.float().softmax(1).cpu().numpy(), grounded, evidence)


def threshold(model: CompactModel, probability: NDArray[np.float32], frame: Frame) -> NDArray[np.bool_]:
    """The region of one frame: probability over the model's threshold, specks dropped, pinholes filled."""
    mask: NDArray[np.bool_] = (probability > model.config.mask_threshold) & frame.registration.valid
    least = max(8, int(_SMALLEST_REGION * mask.size))
    for value in (True, False):
        count, labels, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False  # label 0 is everything else
        if count > 1 and small.any():
            mask[small[labels]] = not value
    return mask


def keeps_a_part(frame: Frame, changed: NDArray[np.bool_]) -> bool:
    """Whether what lies outside `changed` (h x w) is the source's own, in its details: then the edit is local.

    Compares luma and its detail finer than two pixels, away from the region's border.
    """
    kept = ~changed & frame.registration.valid
    inner = cv2.erode(kept.view(np.uint8), np.ones((_KEPT_MARGIN, _KEPT_MARGIN), np.uint8)).view(np.bool_)
    if kept.mean() < _KEPT_SHARE or not inner.any():
        return False
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (frame.source, frame.edited))
    if np.median(np.abs(before - after)[inner]) > _KEPT_DIFFERENCE:
        return False
    fine = [(luma - cv2.GaussianBlur(luma, (0, 0), 2))[inner] for luma in (before, after)]
    detail = [float(part.std()) for part in fine]
    correlation = float((fine[0] * fine[1]).mean()) / max(detail[0] * detail[1], 1e-6)
    return min(detail) >= _KEPT_DETAIL and correlation >= _KEPT_CORRELATION


def summarise_maps(maps: Maps, masks: Sequence[NDArray[np.bool_]]) -> tuple[Tensor, Tensor]:
    """`network.summarise` within and outside each frame's region: N x (3C + 15) each."""
    stacked = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32)).to(maps.evidence.device)
    return summarise(maps.grounded, maps.evidence, F.avg_pool2d(_padded(stacked), 2))
