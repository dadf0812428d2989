"""The compact network: tensors in, tensors out. Images, masks and words are handled elsewhere.

One encoder sees source and edited with the same weights; over it the change decoder (where was edited) and
the kind head (edited at all? all over?). The quality branch (how good is the edited region, which faults has
it, how well was the rest kept) looks at a crop with an encoder of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from piqa_cli.compact.config import CompactConfig

KINDS = ("no_change", "local_edit", "global_change", "different_picture")
"""Order of the kind logits; the values of `schema.Kind`."""

FAULTS = (
    "exposure", "colour", "noise", "sharpness", "seam",
    "texture_loss", "smear", "blocking", "warp", "ghost", "repetition", "garbled",
)  # fmt: skip
"""Order of the fault logits; the faults of `synthesis.canvas`."""

MEASURED = 17
"""How many measurements of a crop are read; `measured.NUMBERS`."""

STRIDE = 32
"""Height and width of what goes in must be multiples of this."""

_FLOOR = 0.02  # a residual floor below this (of 1) is below what 8-bit files carry


@dataclass(frozen=True, slots=True)
class Grounded:
    """What the change decoder says. N pairs of H x W pixels.

    mask: N x 1 x H/2 x W/2 logits; coarse: N x 1 x H/8 x W/8 logits (a training aid);
    kind: N x 4 logits in the order of `KINDS`; change: N x C x H/8 x W/8 features for preservation.
    """

    mask: Tensor
    coarse: Tensor
    kind: Tensor
    change: Tensor


@dataclass(frozen=True, slots=True)
class Judged:
    """What the quality branch says: N x bins logits per score, N x faults logits, N x 1 x S/8 x S/8 artefact logits."""

    harmony: Tensor
    naturalness: Tensor
    preservation: Tensor
    faults: Tensor
    artefacts: Tensor


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W in and out."""
        added: Tensor = x + self.second(self.first(x))
        return F.relu(added, inplace=True)


def high_pass(luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Second-order residuals, where noise, seams and resampling live: N x H x W -> three times that.

    Horizontal, vertical and Laplacian, from shifted views: a convolution of a single channel is slow.
    """
    p = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    sides = p[..., :-2] + p[..., 2:]
    horizontal = torch.add(sides[:, 1:-1], luma, alpha=-2)
    vertical = torch.add(p[:, :-2, 1:-1] + p[:, 2:, 1:-1], luma, alpha=-2)
    corners = sides[:, :-2] + sides[:, 2:]
    return horizontal, vertical, torch.add(horizontal + vertical, corners, alpha=0.5) - 2 * luma


def _format(x: Tensor) -> torch.dtype:
    """The number format in which the next convolution of `x` computes."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Channels side by side, in the number format and layout that the next convolution takes without a copy."""
    dtype = _format(maps[0])
    return torch.cat([x.to(dtype, memory_format=torch.channels_last) for x in maps], 1)


class Encoder(nn.Module):
    """RGB and three fixed high-pass views of it -> features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        inputs = 6
        for width, depth in zip(config.widths, config.depths, strict=True):
            self.stages.append(nn.Sequential(_conv(inputs, width, 2), *(Residual(width) for _ in range(depth))))
            inputs = width

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """`rgb`: N x 3 x H x W in 0..1; gives five maps, finest first."""
        luma = (rgb[:, 0] + rgb[:, 1] + rgb[:, 2]) * (8.0 / 3.0)
        planes = [*(rgb * 4.0).sub_(1.8).unbind(1), *high_pass(luma)]
        dtype = _format(rgb)
        x = torch.stack([plane.to(dtype) for plane in planes], -1).permute(0, 3, 1, 2)  # channels last
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def best_match(a: Tensor, b: Tensor) -> Tensor:
    """Smallest mean absolute difference of `a` to `b` moved by up to one cell: N x C x H x W -> N x 1 x H x W.

    A residual misregistration costs nothing here, a real change does.
    """
    a, padded = a.contiguous(), F.pad(b, (1, 1, 1, 1), mode="replicate").contiguous()  # summed fastest plane by plane
    height, width = a.shape[-2:]
    best = None
    for dy in range(3):
        for dx in range(3):
            distance = (a - padded[..., dy : dy + height, dx : dx + width]).abs().sum(1, keepdim=True)
            best = distance if best is None else torch.minimum(best, distance)
    return cast(Tensor, best) / a.shape[1]


def over_floor(residual: Tensor) -> Tensor:
    """log2 of a residual over its own 40 % quantile in the picture: N x 1 x H x W in and out.

    What a codec or an autoencoder does to the whole file raises the floor, and so cancels.
    """
    step = max(1, residual.shape[-1] // 32)  # a sample of the cells is enough to know the floor
    flat = residual.detach()[..., step // 2 :: step, step // 2 :: step].flatten(1)
    floor = flat.kthvalue(max(1, int(0.4 * flat.shape[1])), dim=1).values.clamp_min(_FLOOR).view(-1, 1, 1, 1)
    return torch.log2((residual + 0.5 * _FLOOR) / floor).clamp(-4, 6)


def _halved(x: Tensor) -> Tensor:
    """Means over 2 x 2 pixels; several times faster than pooling."""
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _blur(x: Tensor) -> Tensor:
    """Means over 7 x 7 pixels, the border repeated; from sums of two and of four, several times faster than pooling."""
    x = F.pad(x, (3, 3, 3, 3), mode="replicate")
    for dim in (2, 3):
        length = x.shape[dim] - 6
        two = x.narrow(dim, 0, length + 5) + x.narrow(dim, 1, length + 5)
        four = two.narrow(dim, 0, length) + two.narrow(dim, 2, length)
        x = four + two.narrow(dim, 4, length) + x.narrow(dim, 6, length)
    return x / 49


def pixel_evidence(source: Tensor, edited: Tensor) -> Tensor:
    """Plain measures of change at stride 2: N x 3 x H x W twice -> N x 6 x H/2 x W/2.

    Mean absolute difference, best match within a pixel, and 1 - structural similarity (Wang et al. 2004,
    7 x 7 windows); then each over its floor in the picture.
    """
    a, b = _halved(source), _halved(edited)
    difference = (a - b).abs().mean(1, keepdim=True)
    matched = best_match(a, b)

    ya, yb = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
    ma, mb, maa, mbb, mab = _blur(torch.cat([ya, yb, ya * ya, yb * yb, ya * yb], 1)).split(1, 1)
    va, vb, vab = (maa - ma * ma).clamp_min(0), (mbb - mb * mb).clamp_min(0), mab - ma * mb
    ssim = (2 * ma * mb + 1e-4) * (2 * vab + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))
    dissimilarity = (1 - ssim).clamp(0, 2)
    plain = [4 * difference, 4 * matched, dissimilarity]
    return torch.cat(plain + [over_floor(x) for x in plain], 1)


class ChangeDecoder(nn.Module):
    """Features of both images -> where they differ by an edit."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        widths, outs = config.widths, config.decoder_widths
        # At stride 2 only |a - b| is looked at: cheap, and all that a sharp outline needs.
        views = [1, 3, 3, 3, 3]
        self.fuse = nn.ModuleList(
            nn.Conv2d(v * w, o, 1, bias=False) for v, w, o in zip(views, widths, outs, strict=True)
        )
        self.project = nn.ModuleList(nn.Conv2d(w, config.match_width, 1, bias=False) for w in widths[1:])
        inputs = [o + 2 for o in outs[1:]]
        inputs = [outs[0] + 6, inputs[0] + 6, *inputs[1:]]
        self.above = nn.ModuleList(nn.Conv2d(a, o, 1) for a, o in zip([*outs[1:], outs[-1]], outs, strict=True))
        self.merge = nn.ModuleList(_conv(i + o, o) for i, o in zip(inputs, outs, strict=True))
        self.context = nn.Linear(4 * widths[-1], outs[-1])
        self.refine = nn.ModuleList(Residual(o) for o in outs[1:])
        self.mask = nn.Conv2d(outs[0], 1, 3, padding=1)
        self.coarse = nn.Conv2d(outs[2], 1, 1)
        self.kind = nn.Sequential(
            nn.Linear(outs[-1] + 2 * outs[2] + 3, 64), nn.ReLU(inplace=True), nn.Linear(64, len(KINDS))
        )

    def _level(self, index: int, a: Tensor, b: Tensor, evidence: Tensor) -> Tensor:
        difference = (a - b).abs()
        if index == 0:
            return side_by_side([self.fuse[0](difference), evidence])
        fused = self.fuse[index](torch.cat([difference, a, b], 1))
        project = self.project[index - 1]
        matched = best_match(project(a), project(b))
        parts = [fused, matched, over_floor(matched)]
        if index == 1:
            parts.append(_halved(evidence))
        return side_by_side(parts)

    def forward(self, source: list[Tensor], edited: list[Tensor], evidence: Tensor) -> Grounded:
        """Encoder maps of both images, and `pixel_evidence`."""
        a, b = source[-1], edited[-1]
        difference = (a - b).abs()
        pooled = [difference.mean((2, 3)), difference.amax((2, 3)), a.mean((2, 3)), b.mean((2, 3))]
        context = self.context(torch.cat(pooled, 1))
        x = context[:, :, None, None]
        maps: list[Tensor] = []
        for index in range(len(source) - 1, -1, -1):
            level = self._level(index, source[index], edited[index], evidence)
            # Narrowed before it grows: at stride 2 every channel counts in time.
            x = F.interpolate(self.above[index](x), size=level.shape[-2:], mode="bilinear", align_corners=False)
            x = self.merge[index](side_by_side([level, x]))
            if index > 0:
                x = self.refine[index - 1](x)
            maps.append(x)
        change, mask = maps[2], self.mask(maps[4])
        probability = mask.sigmoid()
        summary = [probability.mean((2, 3)), probability.amax((2, 3)), F.avg_pool2d(probability, 8).amax((2, 3))]
        kind = self.kind(torch.cat([context, change.mean((2, 3)), change.amax((2, 3)), *summary], 1))
        return Grounded(mask, self.coarse(change), kind, change)


def zones(mask: Tensor) -> Tensor:
    """Soft region, inner ring, outer ring and background of a mask: N x 1 x h x w in 0..1 -> N x 4 x h x w."""
    wide = F.max_pool2d(mask, 3, 1, 1)
    narrow = -F.max_pool2d(-mask, 3, 1, 1)
    return torch.cat([mask, mask - narrow, wide - mask, 1 - wide], 1)


def pool(features: Tensor, weights: Tensor) -> Tensor:
    """Means of N x C x h x w under N x Z x h x w weights -> N x (Z C); an empty zone gives zeros."""
    total = weights.sum((2, 3)).unsqueeze(-1)
    sums = torch.einsum("nchw,nzhw->nzc", features, weights)
    return (sums / total.clamp_min(1e-3)).flatten(1)


def spread_out(measured: Tensor) -> Tensor:
    """Measurements of any unit, N x M with NaN where unknown -> N x 3M: compressed, their size, and whether unknown."""
    known = torch.nan_to_num(measured)
    compressed = known.sign() * known.abs().log1p()
    return torch.cat([compressed, compressed.abs(), torch.isnan(measured).to(measured.dtype)], 1)


def _head(inputs: int, outputs: int, hidden: int, dropout: float = 0.5) -> nn.Sequential:
    """Every input in its own unit, then one hidden layer."""
    return nn.Sequential(
        nn.BatchNorm1d(inputs), nn.Dropout(dropout), nn.Linear(inputs, hidden), nn.ReLU(inplace=True),
        nn.Dropout(dropout), nn.Linear(hidden, outputs),
    )  # fmt: skip


class LevelHead(nn.Module):
    """The levels of one score: a sum of what the crop shows and what was measured of it."""

    def __init__(self, seen: int, bins: int) -> None:
        super().__init__()
        self.seen = _head(seen, bins, 96)
        self.measured = _head(3 * MEASURED, bins, 64)

    def forward(self, seen: Tensor, measured: Tensor) -> Tensor:
        """N x seen and N x MEASURED -> N x bins logits."""
        logits: Tensor = self.seen(seen) + self.measured(spread_out(measured))
        return logits


class QualityBranch(nn.Module):
    """Looks at the edited region at native resolution, beside its source.

    It has an encoder of its own: what faults look like is learnt without moving what grounding rests on.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        width, widths = config.quality_width, config.widths
        narrow = width // 3
        self.encoder = Encoder(config)
        self.squeeze = nn.ModuleList(_conv(2 * w, narrow, kernel=1) for w in widths)
        self.join = _conv(len(widths) * narrow + 1, width)
        self.tower = nn.Sequential(Residual(width), Residual(width))
        seen, summed = 5 * width, 2 * pooled_size(config) + 1
        self.harmony = LevelHead(seen, config.bins)
        self.naturalness = LevelHead(seen, config.bins)
        self.preservation = _head(summed, config.bins, 256)
        self.evidence = Residual(width)
        self.artefact = nn.Conv2d(width, 1, 1)
        self.faults = _head(seen, len(FAULTS), 96, dropout=0.6)
        self.measured_faults = _head(3 * MEASURED, len(FAULTS), 128, dropout=0.2)

    def explaining(self) -> list[nn.Module]:
        """The parts that name faults and place them; they read the scores' features and move none of them."""
        return [self.evidence, self.artefact, self.faults, self.measured_faults]

    def _look(self, source: list[Tensor], edited: list[Tensor], mask: Tensor) -> Tensor:
        """Both pictures' maps at stride 8, fine ones averaged after the non-linearity so that texture survives."""
        size = mask.shape[-2], mask.shape[-1]
        views = []
        for squeeze, a, b in zip(self.squeeze, source, edited, strict=True):
            y = squeeze(torch.cat([b, b - a], 1))
            fine = y.shape[-1] > size[1]
            views.append(F.adaptive_avg_pool2d(y, size) if fine else F.interpolate(y, size=size, mode="bilinear"))
        joined: Tensor = self.tower(self.join(side_by_side([*views, mask])))
        return joined

    def look(self, source: Tensor, edited: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The tower's map of the crop, N x C x S/8 x S/8, and the mask at its size."""
        n = source.shape[0]
        features = self.encoder(torch.cat([source, edited]))
        small = F.adaptive_avg_pool2d(mask, (source.shape[-2] // 8, source.shape[-1] // 8))
        return self._look([f[:n] for f in features], [f[n:] for f in features], small), small

    def levels(self, seen: Tensor, summed: Tensor, measured: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of harmony, naturalness and preservation.

        From pooled features N x 5C, what changed N x (6C' + 31), and measurements N x MEASURED.
        """
        harmony, naturalness = (head(seen, measured) for head in (self.harmony, self.naturalness))
        return harmony, naturalness, self.preservation(summed)

    def name(self, evidence: Tensor, mask: Tensor, measured: Tensor) -> Tensor:
        """Logits of the faults, from the map of `evidence` and its mask, and from the measurements."""
        logits: Tensor = self.faults(zone_features(evidence, mask)) + self.measured_faults(spread_out(measured))
        return logits

    def forward(
        self, source: Tensor, edited: Tensor, mask: Tensor, area: Tensor, measured: Tensor,
        inside: Tensor, outside: Tensor,
    ) -> Judged:  # fmt: skip
        """Judges crops of both images.

        Pictures N x 3 x S x S in 0..1, their mask N x 1 x S x S in 0..1, its area in the whole picture N x 1 in
        0..1; `measured` is what `crop_numbers` gives, N x MEASURED; `inside` and `outside` are what `summarise` pooled
        over the whole picture, N x (3C + 15) each.
        """
        seen, small = self.look(source, edited, mask)
        harmony, naturalness, preservation = self.levels(
            zone_features(seen, small), torch.cat([inside, outside, area], 1), measured
        )
        evidence = self.evidence(seen)
        return Judged(
            harmony=harmony,
            naturalness=naturalness,
            preservation=preservation,
            faults=self.name(evidence, small, measured),
            artefacts=self.artefact(evidence),
        )


def zone_features(seen: Tensor, mask: Tensor) -> Tensor:
    """Zone means and the region's strongest responses: N x C x h x w -> N x 5C."""
    return torch.cat([pool(seen, zones(mask)), (seen * (mask > 0.25)).amax((2, 3))], 1)


def pooled_size(config: CompactConfig) -> int:
    """How many numbers `summarise` gives of each side."""
    return 3 * config.decoder_widths[2] + 15


def summarise(grounded: Grounded, evidence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What changed within the region and outside it, each N x (3C + 15): `change` features, then pixel evidence.

    `mask`: N x 1 x H/2 x W/2 in 0..1. Of every channel mean, spread and maximum; of the evidence's last three
    (over the file's floor) no maximum.
    """
    coarse, blocks = F.max_pool2d(mask, 4), F.avg_pool2d(evidence, 4)
    return (
        _moments(grounded, blocks, coarse),
        _moments(grounded, blocks, 1 - F.max_pool2d(coarse, 3, 1, 1)),  # one cell of margin around the region
    )


def _moments(grounded: Grounded, blocks: Tensor, weight: Tensor) -> Tensor:
    parts = []
    for x, tops in ((grounded.change, grounded.change), (blocks, blocks[:, :3])):
        mean, square = pool(x, weight), pool(x * x, weight)
        spread = (square - mean * mean).clamp_min(0).add(1e-6).sqrt()
        parts += [mean, spread, (tops * (weight > 0.5)).amax((2, 3))]
    return torch.cat(parts, 1)


class CompactModel(PreTrainedModel):
    """The whole network as a transformers model: `ground` first, then `judge` on a crop of what was found."""

    config_class = CompactConfig
    main_input_name = "source"

    def __init__(self, config: CompactConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = ChangeDecoder(config)
        self.quality = QualityBranch(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation stands."""

    def ground(self, source: Tensor, edited: Tensor) -> tuple[Grounded, Tensor]:
        """Both N x 3 x H x W in 0..1, aligned, H and W multiples of 32. Gives also the pixel evidence."""
        features = self.encoder(torch.cat([source, edited]))
        n = source.shape[0]
        evidence = pixel_evidence(source, edited)
        return self.decoder([f[:n] for f in features], [f[n:] for f in features], evidence), evidence

    def judge(
        self, source: Tensor, edited: Tensor, mask: Tensor, area: Tensor, measured: Tensor,
        summary: tuple[Tensor, Tensor],
    ) -> Judged:  # fmt: skip
        """Crops N x 3 x S x S in 0..1, mask N x 1 x S x S, area N x 1, `crop_numbers` N x MEASURED, `summarise`."""
        judged: Judged = self.quality(source, edited, mask, area, measured, *summary)
        return judged

    def forward(self, source: Tensor, edited: Tensor) -> Grounded:
        """Grounding alone; see `ground`."""
        return self.ground(source, edited)[0]
