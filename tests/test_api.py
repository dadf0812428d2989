from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import piqa_cli
from fakes import FakeAssessor
from piqa_cli import Assessment, Failure, InputError, ModelError, Pair, UsageError, api, assess, assess_pairs


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(5).integers(0, 200, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "source.png")
    Image.fromarray(pixels + np.uint8(20)).save(tmp_path / "edited.png")
    Image.new("L", (48, 40), 255).save(tmp_path / "mask.png")
    return tmp_path


def test_one_call_gives_the_record_of_a_pair(pictures: Path) -> None:
    result = assess(
        pictures / "source.png", str(pictures / "edited.png"), "brighten it", pictures / "mask.png",
        assessor=FakeAssessor(),
    )  # fmt: skip
    assert isinstance(result, Assessment)
    assert result.id == str(pictures / "edited.png")
    assert result.pair.prompt == "brighten it"
    assert result.pair.mask is not None
    assert result.scores.overall.value == pytest.approx(5 - 20 / 16)
    assert result.explanation


def test_without_explanation_there_is_none(pictures: Path) -> None:
    result = assess(pictures / "source.png", pictures / "edited.png", assessor=FakeAssessor(), explain=False)
    assert result.explanation is None


def test_bytes_paths_are_taken_as_the_file_system_has_them(pictures: Path) -> None:
    try:
        os.rename(pictures / "edited.png", os.fsencode(pictures) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("the file system takes no names that are not UTF-8")
    result = assess(pictures / "source.png", os.fsencode(pictures) + b"/caf\xe9.png", assessor=FakeAssessor())
    assert result.id.endswith("caf\udce9.png")


def test_a_dash_is_a_file_name_not_standard_input(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    os.rename("edited.png", "-")
    assert assess("source.png", "-", assessor=FakeAssessor()).pair.edited.path == os.path.join(".", "-")


def test_what_cannot_be_read_is_raised(pictures: Path) -> None:
    with pytest.raises(InputError) as caught:
        assess(pictures / "source.png", pictures / "nowhere.png", assessor=FakeAssessor())
    assert caught.value.file == str(pictures / "nowhere.png")


def test_something_that_is_no_path_is_refused(pictures: Path) -> None:
    with pytest.raises(UsageError, match="the edited image must be a path"):
        assess(pictures / "source.png", 3, assessor=FakeAssessor())  # type: ignore[arg-type]


def test_many_pairs_come_out_in_order_with_failures(pictures: Path) -> None:
    good = Pair(id="good", source=str(pictures / "source.png"), edited=str(pictures / "edited.png"))
    bad = good.model_copy(update={"id": "bad", "edited": str(pictures / "nowhere.png")})
    outcomes = list(assess_pairs([bad, good], FakeAssessor(), workers=1, batch_size=2))
    assert [outcome.id for outcome in outcomes] == ["bad", "good"]
    assert isinstance(outcomes[0], Failure)
    assert isinstance(outcomes[1], Assessment)


def test_the_named_model_is_opened_when_no_assessor_is_given(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def opened(model: str, *, device: str) -> FakeAssessor:
        asked.append((model, device))
        return FakeAssessor()

    monkeypatch.setattr(api, "open_assessor", opened)
    assess(pictures / "source.png", pictures / "edited.png", device="cpu")
    pair = Pair(id="x", source=str(pictures / "source.png"), edited=str(pictures / "edited.png"))
    assert next(assess_pairs([pair], model="other")).id == "x"
    assert asked == [("compact", "cpu"), ("other", "auto")]


def test_a_model_that_does_not_exist_is_a_model_error(pictures: Path) -> None:
    with pytest.raises(ModelError):
        assess(pictures / "source.png", pictures / "edited.png", model="no such model")


@pytest.mark.parametrize("name", piqa_cli.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(piqa_cli, name) is not None
    assert name in dir(piqa_cli)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'asess'"):
        _ = piqa_cli.asess  # type: ignore[attr-defined]


def test_the_version_is_the_installed_packages() -> None:
    assert piqa_cli.__version__ == importlib.metadata.version("piqa-cli")


def test_importing_and_listing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, piqa_cli; dir(piqa_cli); piqa_cli.__version__;"
        "print({'numpy', 'torch', 'PIL', 'pydantic', 'rich', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(piqa_cli.__file__).parent / "py.typed").is_file()
