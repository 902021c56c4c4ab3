"""A user's own pictures with their own factors."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import FactorArrays, FactorFolder, ImageFolder, open_data, open_factors
from disentangle.errors import DataError, InputError
from disentangle.evaluations import encode_dataset, evaluate_encoder

SHAPES = ("square", "circle", "star")
HEADER = "file,shape,size,angle"


def rows(count: int = 24) -> list[str]:
    """Every combination of three shapes and four sizes, twice, at an angle of its own."""
    return [f"p/{i:02}.png,{SHAPES[i % 3]},{(i // 3) % 4},{0.1 + i * 0.37}" for i in range(count)]


def pictures(folder: Path, count: int = 24) -> Path:
    (folder / "p").mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (10 * i, 80 * (i % 3), 60 * ((i // 3) % 4))).save(folder / "p" / f"{i:02}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = pictures(tmp_path / "data")
    write(made, HEADER, *reversed(rows()))  # in another order than the files
    return made


def write(folder: Path, *lines: str, name: str = "factors.csv") -> None:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def encode(images):
    return torch.stack([images[:, 0, 0, 0], images[:, 1, 0, 0], images[:, 2, 0, 0]], dim=1)


def test_pictures_and_factors_belong_together(folder):
    found = open_factors(folder, resolution=8)
    assert isinstance(found, FactorFolder)
    assert found.factor_names == ("shape", "size", "angle")
    assert found.factor_kinds == ("discrete", "discrete", "continuous")
    assert found.columns[0].categories == ("circle", "square", "star")
    indices, factors, kinds = found.draw(1000, seed=0)
    assert len(indices) == 24  # each once
    assert kinds == ["discrete", "discrete", "continuous"]
    codes = (255 * encode(found.images(indices))).round().int()
    place = {"circle": 0, "square": 1, "star": 2}
    for (red, green, blue), (shape, size, angle) in zip(codes.tolist(), factors.tolist(), strict=True):
        assert shape == place[SHAPES[green // 80]]
        assert size == blue // 60
        assert angle == pytest.approx(0.1 + red / 10 * 0.37)
    assert "24 pictures with factors" in found.description
    assert (
        "shape: 3 values (circle, square, star), discrete; size: 4 values, discrete; angle: 24 values, continuous"
        in (found.description)
    )


def test_a_draw_is_of_different_pictures_and_of_the_seed(folder):
    found = open_factors(folder, resolution=8)
    first, again, other = (found.draw(9, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert len(first.unique()) == 9
    assert not torch.equal(first, other)
    _, values, _ = found.draw(24, seed=0, factor_kinds="discrete")
    assert values.dtype == np.int64
    assert sorted(values[:, 2]) == list(range(24))
    with pytest.raises(InputError, match="'shape' holds texts, which are discrete, not continuous"):
        found.draw(2, seed=0, factor_kinds="continuous")
    with pytest.raises(InputError, match="has 2 entries, but there are 3 factors"):
        found.draw(2, seed=0, factor_kinds=["discrete", "discrete"])


def test_zip_tabs_semicolons_names_alone_and_another_file(folder, tmp_path):
    plain = open_factors(folder, resolution=8)
    (folder / "factors.csv").unlink()
    lines = [line.removeprefix("p/") for line in rows()]
    write(tmp_path, HEADER, *lines, name="elsewhere.csv")
    write(folder, *(line.replace(",", "\t") for line in (HEADER, *lines)), name="factors.tsv")
    others = [
        open_factors(folder, resolution=8),
        open_factors(folder, resolution=8, factors_file=tmp_path / "elsewhere.csv"),
    ]
    (folder / "factors.tsv").unlink()
    write(folder, *(";".join([*line.split(",")[1:], line.split(",")[0]]) for line in ("\ufeff" + HEADER, *lines)))
    others.append(open_factors(folder, resolution=8))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, Path("around") / path.relative_to(folder))
    others.append(open_factors(tmp_path / "d.zip", resolution=8))
    for other in others:
        assert other.factor_kinds == plain.factor_kinds
        assert all(np.array_equal(a.values, b.values) for a, b in zip(other.columns, plain.columns, strict=True))


def test_pictures_that_the_table_leaves_out_are_said_and_bad_ones_skipped(folder, caplog):
    write(folder, HEADER, *rows()[4:])
    with caplog.at_level(logging.WARNING):
        assert len(open_factors(folder, resolution=8)) == 20
    assert "says nothing of 4 of the 24 pictures" in caplog.text
    assert "p/00.png is the first" in caplog.text
    (folder / "p" / "05.png").write_bytes(b"no picture")
    found = open_factors(folder, resolution=8, on_bad_image="skip")
    assert len(found) == len(found.columns[2].values) == 19
    assert 0.1 + 5 * 0.37 not in found.columns[2].values.tolist()
    assert len(open_data(folder, resolution=8)) == 24  # a training learns from all of them, as before
    assert isinstance(open_data(folder, resolution=8), ImageFolder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({9: "p/08.png,star,two,1.0"}, r"line 10 has 'two' in the column 'size', a text among numbers"),
        ({9: "p/08.png,7,2,1.0"}, r"line 10 has '7' in the column 'shape', a number among texts"),
        ({9: "p/08.png,star,,1.0"}, "line 10 has nothing in the column 'size'"),
        ({9: "p/08.png,star,nan,1.0"}, "line 10 has nan in the column 'size'; expected finite"),
        ({9: "p/08.png,star,2"}, "line 10 has 3 cells; expected 4"),
        (
            {9: "p/99.png,star,2,1", 3: "q.png,star,2,1"},
            r"2 of 24 rows about pictures that are not in .*line 4 \(q.png\)",
        ),
        ({9: "p/07.png,star,2,1.0"}, r"several rows about p/07.png"),
        ({0: "file,shape,shape,angle"}, "names that all differ"),
        ({0: "file,shape,,angle"}, "names that all differ"),
        ({9: 'p/08.png,"st"ar,2,1'}, "line 10: "),
    ],
)
def test_a_table_that_does_not_fit_names_the_row_and_the_column(folder, change, message):
    lines = [HEADER, *rows()]
    write(folder, *(change.get(i, line) for i, line in enumerate(lines)))
    with pytest.raises(DataError, match=message):
        open_factors(folder, resolution=8)


def test_other_tables_that_are_none(folder, tmp_path):
    for content, message in (
        (b"", "has no rows"),
        (b"file,a\n", "has no rows"),
        (b"file,a\nx.png,1\n", "names no picture in .*its first row is x.png, 1, and the first picture is p/00.png"),
        ("file,ä\n".encode("utf-16"), "no text in UTF-8"),
        (b"file\np/00.png\n", "has the header"),
    ):
        (folder / "factors.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_factors(folder, resolution=8)
    (folder / "factors.csv").unlink()
    with pytest.raises(InputError, match="has no known factors; expected .*factors.csv in it"):
        open_factors(folder, resolution=8)
    with pytest.raises(DataError, match="gone.csv cannot be read"):
        open_factors(folder, resolution=8, factors_file=tmp_path / "gone.csv")
    with pytest.raises(InputError, match="rooms has no use for one"):
        open_factors("rooms", factors_file=tmp_path / "gone.csv")


def test_scores_of_an_encoder_on_them(folder):
    found = open_factors(folder, resolution=8)
    scores = evaluate_encoder(encode, found, ["mig"], factor_kinds="discrete", baselines=False)
    assert scores["mig"].settings["n_train"] + scores["mig"].settings["n_test"] == 24
    codes, factors = encode_dataset(encode, found, n=10)
    assert codes.shape == (10, 3)
    assert factors.shape == (10, 3)
    with pytest.raises(DataError, match=r"no grid: .*3 x 4 x 24.*'angle' is continuous"):
        evaluate_encoder(encode, found, ["factor-vae"])


def test_a_full_grid_serves_metrics_that_intervene(tmp_path):
    made = pictures(tmp_path / "g", 12)
    write(made, "shape,size,file", *(f"{SHAPES[i % 3]},{i // 3},{i:02}.png" for i in reversed(range(12))))
    found = open_factors(made, resolution=8)
    grid = found.grid()
    assert grid.factor_sizes == (3, 4)
    shown = (255 * grid.render(torch.tensor([[0, 2], [2, 1]]))).round().int()  # circle, 2; star, 1
    assert shown[:, 1:, 0, 0].tolist() == [[80, 120], [160, 60]]
    options = {"beta-vae": {"train": 50, "evaluate": 20}}
    assert 0 <= evaluate_encoder(encode, found, ["beta-vae"], options=options)["beta-vae"].value <= 1
    write(made, "shape,size,file", *(f"{SHAPES[i % 3]},{i // 3},{i:02}.png" for i in range(11)))
    with pytest.raises(DataError, match="12 in all, and it has 11"):
        open_factors(made, resolution=8).grid()


@pytest.mark.parametrize("layout", ["nhw", "nhwc", "nchw", "float"])
def test_arrays_of_images_and_factors(tmp_path, layout):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 6, 6, 3), np.uint8)
    stored = {"nhw": images[..., 0], "nhwc": images, "nchw": images.transpose(0, 3, 1, 2), "float": images / 255}[
        layout
    ]
    np.savez(tmp_path / "own.npz", images=stored, shape=np.arange(20) % 4, angle=random.random(20))
    found = open_factors(tmp_path / "own.npz")
    assert isinstance(found, FactorArrays)
    assert dict(zip(found.factor_names, found.factor_kinds, strict=True)) == {
        "shape": "discrete",
        "angle": "continuous",
    }
    expected = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = expected[:, :1] if layout == "nhw" else expected
    assert torch.allclose(found.images(torch.tensor([3, 1])), expected[[3, 1]], atol=1e-6)
    assert len(open_data(tmp_path / "own.npz", resolution=6)) == 20  # to train on
    with pytest.raises(InputError, match="resolution is 8, but the pictures in .* are 6x6"):
        open_factors(tmp_path / "own.npz", resolution=8)


def test_a_matrix_of_factors_and_arrays_that_do_not_fit(tmp_path):
    images = np.zeros((4, 6, 6), np.uint8)
    path = tmp_path / "own.npz"
    np.savez(path, images=images, factors=np.arange(8).reshape(4, 2))
    assert open_factors(path).factor_names == ("factor 0", "factor 1")
    for arrays, message in (
        ({"images": images, "factors": np.zeros((3, 2)), "a": np.arange(4)}, "factors has 3 rows and images 4"),
        ({"images": images, "a": np.array(list("abcd"))}, "only numbers are read from such a file"),
        ({"images": images, "a": np.array([1, 2, np.nan, 3])}, "a holds NaN"),
        ({"images": images.astype(np.int32), "a": np.arange(4)}, "expected unsigned bytes"),
        ({"images": images + 1.5, "a": np.arange(4)}, "values from 1.5 to 1.5"),
        ({"images": np.zeros((4, 6, 6, 5), np.uint8), "a": np.arange(4)}, "1 or 3 channels"),
        ({"images": images}, "none of the data sets"),
        ({"pictures": images, "a": np.arange(4)}, "none of the data sets"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=message):
            open_factors(path)
