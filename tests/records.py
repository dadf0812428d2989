"""Records built by hand: one ordinary, one with everything that breaks a naive writer, two failures."""

from __future__ import annotations

from fakes import FAKE_MODEL, IDENTITY
from piqa_cli.schema import (
    Assessment,
    CrossCheck,
    Dimension,
    Edit,
    ErrorInfo,
    Failure,
    Finding,
    Heat,
    ImageInfo,
    Kind,
    Outcome,
    Pair,
    PairInfo,
    Region,
    Reliability,
    RunLengthMask,
    Scores,
    fault,
    score,
)

ORDINARY = Assessment(
    id="street_1",
    pair=PairInfo(
        source=ImageInfo(path="in/source/street.jpg", width=640, height=480, format="JPEG"),
        edited=ImageInfo(path="in/edited/street_1.png", width=640, height=480, format="PNG", notes=("alpha",)),
        prompt="remove the red car",
    ),
    model=FAKE_MODEL,
    edit=Edit(edited=True, probability=0.984, kind=Kind.LOCAL, area_fraction=0.125, identical=False),
    alignment=IDENTITY,
    regions=(
        Region(
            box=(40, 60, 240, 220),
            area_fraction=0.1,
            confidence=0.93,
            mask=RunLengthMask(size=(480, 640), counts="a0"),
        ),
        Region(
            box=(500, 400, 560, 470),
            area_fraction=0.025,
            confidence=0.71,
            mask=RunLengthMask(size=(480, 640), counts="b0"),
        ),
    ),
    scores=Scores(
        overall=score(Dimension.OVERALL, 3.62, 0.71),
        prompt_completion=score(Dimension.COMPLETION, 2.8, 0.5),
        harmony=score(Dimension.HARMONY, 3.25, 0.62),
        local_naturalness=score(Dimension.NATURALNESS, 2.1, 0.55),
        preservation=score(Dimension.PRESERVATION, 4.9, 0.2),
    ),
    fusion="completion, harmony, naturalness",
    findings=(
        Finding(
            kind="seam",
            severity="severe",
            box=(40, 60, 240, 220),
            value=3.21,
            unit="times the texture around it",
            text="A visible seam runs along the left edge of the region.",
        ),
        Finding(
            kind="colour", severity="slight", box=None, value=1.5, unit="dE", text="The region is a little warmer."
        ),
    ),
    faults=(fault("seam", 0.812), fault("smear", 0.4), fault("colour", 0.22)),
    artefacts=Heat(box=(-40, 20, 200, 260), size=(2, 3), values="AECA/wB/"),
    explanation="The car in the upper left is gone. A seam shows where it stood.",
    warnings=("edited: alpha was composited on white",),
    seconds=0.25,
)

HOSTILE = Assessment(
    id="=cmd|' /C calc'!A0",
    pair=PairInfo(
        source=ImageInfo(path="-rf \x1b[31mred\x1b[0m.png", width=32, height=33, format="PNG"),
        edited=ImageInfo(path="caf\udce9 [bold]x[/bold]\n.png", width=32, height=33, format="PNG"),
        prompt='+say "hi", now\r\nand \u202eback, :smile: [link=x]y[/link]',
    ),
    model=FAKE_MODEL,
    edit=Edit(edited=False, probability=0.02, kind=Kind.NONE, area_fraction=0.0, identical=True),
    alignment=IDENTITY,
    regions=(),
    scores=Scores(
        overall=score(Dimension.OVERALL, None, reason="nothing was edited", code="N_NO_EDIT"),
        prompt_completion=score(Dimension.COMPLETION, 1.0, 0.1),
        harmony=score(Dimension.HARMONY, None, reason="@nothing was edited", code="N_NO_EDIT"),
        local_naturalness=score(Dimension.NATURALNESS, None, reason="nothing was edited", code="N_NO_EDIT"),
        preservation=score(Dimension.PRESERVATION, 5.0, 0.1),
    ),
    fusion="not fused: nothing was edited",
    findings=(
        Finding(kind="drift", severity="slight", box=None, value=float("nan"), unit="-dB", text="A [red]drift[/red]."),
    ),
    faults=(fault("=[bold]odd[/bold]\x1b", 0.7),),
    explanation=None,
    warnings=(),
    seconds=0.0,
)

_TOLD = ORDINARY.scores.harmony.model_copy(
    update={"distribution": (0.05, 0.2, 0.25, 0.4, 0.1), "reliability": Reliability(off_scale=0.02, entropy=0.86)}
)

CHECKED = ORDINARY.model_copy(
    update={
        "id": "street_2",
        "model": FAKE_MODEL.model_copy(
            update={"name": "owner/large", "version": "a1b2c3 (prompts 1, grounding auto)", "precision": "bf16"}
        ),
        "scores": ORDINARY.scores.model_copy(update={"harmony": _TOLD}),
        "cross_check": CrossCheck(
            model=FAKE_MODEL,
            kind=Kind.GLOBAL,
            scores=ORDINARY.scores.model_copy(update={"harmony": score(Dimension.HARMONY, 1.4, 0.3)}),
            disagreements=(Dimension.HARMONY,),
        ),
        "warnings": ("cross-check: harmony is 3.25 by owner/large, 1.4 by fake of 5, beyond both spreads",),
    }
)

UNREADABLE = Failure(
    id="broken",
    pair=Pair(id="broken", source="in/source/broken.jpg", edited="in/edited/broken.png", prompt="make it blue"),
    error=ErrorInfo(
        code="E_DECODE",
        message="the image is truncated",
        file="in/edited/broken.png",
        expected="a complete PNG",
        found="1,024 bytes",
        hint="fetch the file again",
    ),
)

UNPAIRED = Failure(
    id="-x\udcff",
    pair=Pair(id="-x\udcff", source="", edited="-x\udcff"),
    error=ErrorInfo(code="E_UNPAIRED", message="no source for -x\udcff", file="-x\udcff"),
)

RECORDS: tuple[Outcome, ...] = (ORDINARY, UNREADABLE, HOSTILE, UNPAIRED)
