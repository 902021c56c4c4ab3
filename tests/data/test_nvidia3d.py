"""Falcor3D and Isaac3D, from folders as they are published, with a smaller grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import Falcor3D, Isaac3D, Rooms, list_data, nvidia3d, open_data
from disentangle.errors import DataError
from disentangle.evaluations import evaluate_encoder

GRID = (2, 3, 2)


class Small(nvidia3d.Isaac3D):
    grid = GRID
    factor_names = ("a", "b", "c")
    factor_kinds = ("discrete", "continuous", "discrete")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Picture i is of the grey 20 i; labels evenly from 0 to 1, as published."""
    made = tmp_path / "Isaac3D_down128"
    (made / "images").mkdir(parents=True)
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i,) * 3).save(made / "images" / f"{i:06}.png")
    axes = np.meshgrid(*(np.linspace(0, 1, size) for size in GRID), indexing="ij")
    np.save(made / "labels.npy", np.stack(axes, axis=-1).reshape(12, 3))
    return made


def test_pictures_follow_the_grid(folder: Path):
    data = Small(folder, 4)
    factors = torch.tensor([[0, 0, 0], [0, 2, 1], [1, 1, 0]])  # the last fastest: 0, 5 and 8
    pictures = data.render(factors)
    assert pictures.shape == (3, 3, 4, 4)
    torch.testing.assert_close(pictures[:, 0, 0, 0] * 255, torch.tensor([0.0, 100.0, 160.0]))
    assert len(data) == 12


def test_what_is_missing_or_in_another_order(folder: Path):
    (folder / "images/000007.png").rename(folder / "images/000012.png")
    with pytest.raises(DataError, match=r"no picture 000007\.png of its own"):
        Small(folder)
    (folder / "images/000012.png").unlink()
    with pytest.raises(DataError, match="holds 11 pictures; expected 12, those of Isaac3D"):
        Small(folder)
    Image.new("RGB", (8, 8)).save(folder / "images/000007.png")
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[::-1].copy() ** 2)
    Small(folder)  # the other way round, which is an order of the values too
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[[1, 0, *range(2, 12)]])
    with pytest.raises(DataError, match="in another order"):
        Small(folder)


def test_they_are_found_by_name_and_known_by_their_last_picture(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Isaac3D, "grid", GRID)
    monkeypatch.setattr(Isaac3D, "factor_names", ("a", "b", "c"))
    assert open_data("isaac3d", data_dir=folder.parent, resolution=4).image_shape == (3, 4, 4)
    assert isinstance(open_data(folder), Isaac3D)
    assert {"isaac3d", "falcor3d"} <= {info.name for info in list_data()}
    with pytest.raises(DataError, match="Falcor3D was not found"):
        open_data("falcor3d", data_dir=folder.parent)


def test_published_grids():
    assert np.prod(Falcor3D.grid) == 233_280
    assert np.prod(Isaac3D.grid) == 737_280
    for reader in (Falcor3D, Isaac3D):
        assert len(reader.grid) == len(reader.factor_names) == len(reader.factor_kinds)
    # the published formula of an index: 46656, 7776, 1296, 216, 36, 6, 1
    steps = [int(np.prod(Falcor3D.grid[k + 1 :])) for k in range(7)]
    assert steps == [46656, 7776, 1296, 216, 36, 6, 1]


def test_the_kinds_that_a_data_set_states_are_used_where_asked_for(folder: Path):
    def encode(images: torch.Tensor) -> torch.Tensor:
        return images[:, :2].mean((2, 3))

    data = Small(folder, 4)
    plain = evaluate_encoder(encode, data, ["mig"], n=60)["mig"]
    told = evaluate_encoder(encode, data, ["mig"], n=60, factor_kinds="dataset")["mig"]
    assert plain.settings["factor_kinds"] == ["discrete"] * 3
    assert told.settings["factor_kinds"] == ["discrete", "continuous", "discrete"]
    assert Rooms(16).factor_kinds[0] == "periodic:10"
