"""Results: made from finished cells alone, the same from the same."""

from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from tests.trainer.experiments.samples import ENVIRONMENT, NAME, all_finished, made_up
from trainer.experiments.engine.results import read_result, write_results


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_numbers_and_figures_are_written_and_read_again(tmp_path: Path) -> None:
    result = write_results(made_up(), all_finished(), folder=tmp_path, scale="full")
    assert sorted(files(tmp_path)) == [
        f"figures/{NAME}-shares.png",
        f"figures/{NAME}-shares.svg",
        f"{NAME}.json",
    ]
    assert read_result(tmp_path, NAME) == result
    assert (result.seeds, result.cells) == ((0, 1, 2), 6)
    assert (result.seconds, result.peak_mib) == (367, 300)
    assert result.environments == (ENVIRONMENT,)
    assert result.pictures[0].caption == "error, % by share, %"


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_results(made_up(), all_finished(), folder=folder, scale="full")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_other_cells_have_another_digest(tmp_path: Path) -> None:
    first, fewer = (
        write_results(made_up(), all_finished(it), folder=tmp_path, scale="full")
        for it in (3, 2)
    )
    assert first.cells_sha256 != fewer.cells_sha256


def test_smoke_numbers_never_take_the_place_of_full_ones(tmp_path: Path) -> None:
    write_results(made_up(), all_finished(), folder=tmp_path, scale="full")
    before = files(tmp_path)
    write_results(made_up(), all_finished(1), folder=tmp_path, scale="quick")
    assert files(tmp_path).items() >= before.items()
    quick = read_result(tmp_path, NAME, scale="quick")
    assert quick is not None
    assert quick.pictures[0].path == f"figures/{NAME}-quick-shares.svg"


@pytest.mark.parametrize("text", ["", "{}", '{"experiment": 1}'])
def test_a_damaged_result_is_named_with_what_to_do(text: str, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.json").write_text(text)
    with pytest.raises(LocalError, match=f"{NAME}.json: .*zoo experiment {NAME}"):
        read_result(tmp_path, NAME)


def test_nothing_run_is_no_result(tmp_path: Path) -> None:
    assert read_result(tmp_path, NAME) is None
