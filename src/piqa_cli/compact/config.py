"""The shape of the compact network; travels with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig


class CompactConfig(PreTrainedConfig):
    """Configuration of `CompactModel`.

    Args:
        widths: channels of the encoder at strides 2, 4, 8, 16 and 32.
        depths: residual blocks at the same strides.
        decoder_widths: channels of the change decoder at the same strides.
        match_width: channels in which the best match within a 3 x 3 window is searched.
        quality_width: channels of the quality branch.
        crop_side: side in pixels of the square crop that the quality branch looks at.
        bins: points of each score's distribution, evenly spaced from 1 to 5.
        temperatures: divides the logits of harmony, naturalness and preservation (fitted on held-out pairs).
        widening: multiplies the spreads of the same three (fitted on held-out pairs).
        mask_threshold: probability from which a pixel counts as edited.
        edit_threshold: probability from which a pair counts as edited.
    """

    model_type = "piqa_compact"

    def __init__(
        self,
        widths: Sequence[int] = (16, 48, 80, 128, 160),
        depths: Sequence[int] = (0, 1, 1, 2, 1),
        decoder_widths: Sequence[int] = (16, 32, 48, 64, 64),
        match_width: int = 8,
        quality_width: int = 96,
        crop_side: int = 256,
        bins: int = 9,
        temperatures: Sequence[float] = (1.0, 1.0, 1.0),
        widening: Sequence[float] = (1.0, 1.0, 1.0),
        mask_threshold: float = 0.5,
        edit_threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.widths = list(widths)
        self.depths = list(depths)
        self.decoder_widths = list(decoder_widths)
        self.match_width = match_width
        self.quality_width = quality_width
        self.crop_side = crop_side
        self.bins = bins
        self.temperatures = list(temperatures)
        self.widening = list(widening)
        self.mask_threshold = mask_threshold
        self.edit_threshold = edit_threshold
        super().__init__(**kwargs)
