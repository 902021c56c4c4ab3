"""Grids, animations, previews, figures, the report."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from disentangle.data import Sprites
from disentangle.errors import InputError
from disentangle.evaluations import Score, evaluate
from disentangle.viz import animation_frames, image_grid, save_animation, save_grid, to_pil
from disentangle.viz.figures import logarithmic, save_training_panels
from disentangle.viz.matrices import save_score_matrices, save_score_panels, score_matrix
from disentangle.viz.preview import preview_rows
from disentangle.viz.report import Picture, Section, Table, save_report
from disentangle.viz.score_page import score_section
from disentangle.viz.scores import explanations, score_table, settings_table
from tests.full_disk import full_disk


def test_to_pil_maps_the_range_and_repeats_grey():
    image = torch.tensor([[[-1.0, 1.0], [0.0, 5.0]]])
    picture = to_pil(image)
    assert picture.mode == "RGB"
    assert [picture.getpixel(p)[0] for p in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 255, 128, 255]
    assert to_pil(image, scale=3).size == (6, 6)


def test_grid_places_pictures_and_makes_room_for_labels():
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0, -1.0)]).reshape(2, 2, 1, 8, 8)
    grid = image_grid(images, scale=1, gap=2)
    assert grid.size == (18, 18)
    assert [grid.getpixel(p)[0] for p in ((4, 4), (14, 4), (4, 14), (14, 14))] == [0, 128, 255, 0]
    labelled = image_grid(images, scale=1, row_labels=["first", "second"], column_labels=["-1", "+1"])
    assert labelled.width > grid.width
    assert labelled.height > grid.height
    ink = min(labelled.getpixel((x, labelled.height - 5))[0] for x in range(labelled.width - 20))
    assert ink < 128, "the row label is drawn"


def test_a_title_and_the_frame_of_the_start():
    black = torch.full((2, 3, 1, 8, 8), -1.0)
    plain = image_grid(black, scale=4, gap=4)
    framed = image_grid(black, scale=4, gap=4, marked=[1, None])
    assert framed.size == plain.size
    around = [framed.getpixel(p) for p in ((34, 10), (69, 10), (50, 33), (34, 40), (5, 33))]
    assert [pixel != (255, 255, 255) for pixel in around] == [True, True, True, False, False]
    assert framed.getpixel((50, 16)) == (0, 0, 0), "the picture itself is as it was"
    titled = image_grid(black, scale=4, gap=4, title="a model, seed 0 " * 20)
    assert titled.width == plain.width, "a long title is cut"
    assert titled.height > plain.height
    for marked in ([3, None], [1]):
        with pytest.raises(InputError, match="marked has"):
            image_grid(black, marked=marked)


def test_small_pictures_are_enlarged():
    assert image_grid(torch.zeros(1, 1, 1, 16, 16)).size == (64, 64)
    assert image_grid(torch.zeros(1, 1, 3, 128, 128)).size == (128, 128)


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animation_goes_there_and_back(tmp_path, ending):
    walks = torch.linspace(-1, 1, 4).reshape(1, 1, 4, 1, 1, 1).expand(2, 3, 4, 3, 16, 16)
    frames = animation_frames(walks, row_labels=["a", "b", "c"], column_labels=["seed 0", "seed 1"])
    assert len(frames) == 6
    assert {frame.size for frame in frames} == {frames[0].size}
    path = tmp_path / f"walk.{ending}"
    save_animation(frames, path, fps=10)
    with Image.open(path) as animation:
        read = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
        assert len(read) == 6
        levels = [frame.getpixel((20, frame.height - 20))[0] for frame in read]
    assert levels[:4] == sorted(levels[:4])
    assert levels[4] > levels[5]
    assert abs(levels[1] - levels[5]) < 12


@pytest.mark.parametrize(("seeds", "directions", "side"), [(1, 10, 64), (3, 6, 64), (1, 1, 256), (1, 30, 64)])
def test_frames_are_about_square(seeds: int, directions: int, side: int):
    walks = torch.zeros(seeds, directions, 2, 1, side, side)
    frame = animation_frames(walks, row_labels=[f"direction {i}" for i in range(directions)])[0]
    assert 0.6 < frame.width / frame.height < 1.8
    assert frame.width >= 250


@pytest.mark.parametrize(("frames", "seconds"), [(6, 2.0), (16, 2.0), (40, 40 / 12)])
def test_an_animation_takes_two_seconds_or_more(tmp_path, frames: int, seconds: float):
    pictures = [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(frames)]
    save_animation(pictures, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(animation)) / 1000 == pytest.approx(
            seconds, rel=0.05
        )


def test_pictures_are_written_atomically(tmp_path):
    save_grid(torch.zeros(1, 1, 1, 8, 8), tmp_path / "sub" / "grid.png")
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["grid.png"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: save_grid(torch.zeros(1, 1, 1, 8, 8), p / "grid.xyz"), "no known picture ending"),
        (lambda p: save_grid(torch.zeros(1, 1, 8, 8), p / "grid.png"), r"\(rows, columns, C, H, W\)"),
        (lambda p: save_grid(torch.zeros(1, 1, 5, 8, 8), p / "grid.png"), r"\(1, H, W\) or \(3, H, W\)"),
        (lambda p: save_grid(torch.zeros(2, 1, 1, 8, 8), p / "grid.png", row_labels=["a"]), "row_labels has 1"),
        (lambda p: save_animation([], p / "a.gif"), "0 frames"),
        (lambda p: save_animation([Image.new("RGB", (2, 2))], p / "a.mkv"), "cannot hold an animation"),
        (lambda p: animation_frames(torch.zeros(1, 1, 3, 8, 8)), "seeds, directions, steps"),
    ],
)
def test_bad_input(tmp_path, call, message):
    with pytest.raises(InputError, match=message):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_preview_walks_each_factor_of_a_grid():
    rows, labels = preview_rows(Sprites(32), columns=5)
    assert labels == ("shape", "scale", "orientation", "pos_x", "pos_y")
    assert rows.shape == (5, 5, 1, 32, 32)
    assert not torch.equal(rows[3, 0], rows[3, 4])


def test_preview_has_a_row_a_class():
    class Source:
        labels = torch.tensor([0, 1, 0, 1])
        class_names = ("black", "white")

        def __len__(self) -> int:
            return 4

        def images(self, indices: torch.Tensor) -> torch.Tensor:
            return self.labels[indices].float().reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    rows, labels = preview_rows(Source(), columns=3)
    assert labels == ("black", "white")
    assert float(rows[0].max()) == 0
    assert float(rows[1].min()) == 1


def line(step: int, loss: float | None) -> dict[str, object]:
    row = {"orthogonality_error": 1.0 * step, "condition_number": 2.0, "olr_acceptance": None}
    return {"step": step, "losses": {} if loss is None else {"generator": loss}, "projections": {"first": row}}


def test_ticks_of_a_logarithmic_axis_are_plain_numbers():
    axes = Figure().subplots(1, 2)
    for axis, values in zip(axes, ([3.5, 3.6, 3.9], [1e-4, 1e5]), strict=True):
        axis.plot(values)
        logarithmic(axis)
        axis.figure.draw_without_rendering()
        labels = [tick.get_text() for tick in axis.get_yticklabels() + axis.get_yticklabels(minor=True)]
        assert any(labels)
        assert all(re.fullmatch(r"[-+e.0-9]*", label) for label in labels)


def test_training_curves(tmp_path):
    runs = {"a": [line(0, None), line(10, 1.0), line(20, 0.5)], "b": [line(10, 2.0)]}
    drawn = dict(save_training_panels(runs, tmp_path))
    assert list(drawn) == ["loss: generator", "orthogonality error", "condition number of the projections"]
    for path in drawn.values():
        with Image.open(path) as picture:
            assert 300 < picture.width < 390, "as wide as a telephone"
    with pytest.raises(InputError, match="No run has logged a step"):
        save_training_panels({"a": [line(0, None)]}, tmp_path)
    with pytest.raises(InputError, match="Nothing was logged twice"):
        save_training_panels({"a": [{"step": 5, "losses": {"loss": 1.0}}]}, tmp_path)


def test_more_lines_than_can_be_told_apart_are_their_largest(tmp_path):
    rows = {f"block {i}": {"orthogonality_error": float(i)} for i in range(14)}
    lines = [{"step": step, "projections": rows} for step in (1, 2)]
    assert [title for title, _ in save_training_panels({"a": lines}, tmp_path)] == [
        "orthogonality error, largest of 14"
    ]


def test_report_is_self_contained_and_escaped(tmp_path):
    save_grid(torch.zeros(1, 1, 1, 8, 8), tmp_path / "grid.png")
    section = Section(
        "Section <one>",
        paragraphs=["a & b", "a `b <c>` & d` e"],
        details=[("all of it", "{}")],
        command="disentangle traverse x --out y.png",
        tables=[Table(["score", "value"], [["mig", "0.5"]])],
        pictures=[Picture(tmp_path / "grid.png", "a grid")],
    )
    save_report(tmp_path / "r.html", "Report", [section], lead="lead")
    page = (tmp_path / "r.html").read_text()
    assert "Section &lt;one&gt;" in page
    assert "<p>a <code>b &lt;c&gt;</code> &amp; d` e</p>" in page
    assert "<details><summary>all of it</summary>\n<pre>{}</pre>" in page.replace("\n\n", "\n")
    assert "a &amp; b" in page
    assert "data:image/png;base64," in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)


def test_score_table_leaves_a_gap_for_a_constant_factor(tmp_path):
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 3, 300), np.zeros(300, int), rng.integers(0, 4, 300)], axis=1)
    codes = factors + 0.01 * rng.normal(size=factors.shape)
    scores = evaluate(codes, factors, ["mig", "dci"], bootstrap=20)
    header, rows = score_table(scores, ["a", "b", "c"])
    assert header == ["score", "value", "chance", "ceiling", "95 %", "a", "b", "c"]
    assert [row[0].split()[-1] for row in rows] == ["mig", "disentanglement", "completeness", "informativeness"]
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0][6] == ""
    assert float(rows[0][5]) > 0.8
    assert float(rows[0][2]) < 0.2 < float(rows[0][3])
    assert float(rows[0][4].split()[0]) < float(rows[0][1]) < float(rows[0][4].split()[-1])
    assert float(rows[3][7]) > 0.9
    assert [text.split(",")[0].split(":")[0] for text in explanations(scores)] == ["MIG", "DCI"]

    plain = evaluate(codes, factors, ["mig"], baselines=False)
    assert score_table(plain)[0] == ["score", "value", "factor 0", "factor 1", "factor 2"]


def test_a_score_says_which_way_is_better_and_what_guessing_gives():
    scores = {
        "infoc": Score(
            "infoc", 0.694, chance=0.727, settings={"protocol": "infomec-2023", "n_train": 10000, "seed": 0}
        ),
        "fd": Score("fd", 3.2, chance=3.0, higher_is_better=False),
        "mig": Score("mig", 0.5, chance=0.1),
        "sap": Score("sap", 0.1, chance=0.1000001),
    }
    rows = score_table(scores)[1]
    assert [row[:2] for row in rows] == [
        ["infoc", "0.694 (below chance)"], ["fd ↓", "3.200 (above chance)"], ["mig", "0.500"], ["sap", "0.100"],
    ]  # fmt: skip
    assert settings_table(scores)[1][0] == ["infoc", "infomec-2023", "10,000", "0"]


def test_the_page_of_scores_has_numbers_first_and_settings_beside_them(tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (200, 2))
    scores = evaluate(factors + 0.1 * rng.normal(size=factors.shape), factors, ["mig", "total-correlation"])
    section = score_section(scores, ["shape", "hue"], "title", folder=tmp_path)
    assert section.tables[0].header == ["score", "value", "chance", "ceiling", "protocol", "points", "held out", "seed"]
    assert section.tables[0].rows[0][4:] == ["dlib-2018", "133", "67", "0"]
    assert section.tables[1].header == ["score", "shape", "hue"]
    assert [row[0] for row in section.tables[0].rows] == ["mig", "total-correlation ↓"]
    assert section.paragraphs == ["↓: less is better."]
    ((_, settings),) = section.details
    listed = " ".join(cell for row in settings.rows for cell in row)
    assert all(name in listed for score in scores.values() for name in score.settings)


def test_rows_of_a_matrix_are_called_what_they_are(tmp_path, monkeypatch):
    parts = {"loss": np.ones((3, 2)), "capacities": np.array([1, 2, 64]), "factors": np.arange(2)}
    drawn: list[Figure] = []
    monkeypatch.setattr("disentangle.viz.matrices.save_figure", lambda figure, path, **options: drawn.append(figure))
    accuracy = {"accuracy": np.ones((2, 2)), "sizes": np.array([100, 10000]), "factors": np.arange(2)}
    codes = {"importance": np.ones((3, 2)), "factors": np.arange(2)}
    scores = {"a": Score("dci-es/mlp", 1.0, parts=parts), "b": Score("downstream/logistic", 1.0, parts=accuracy),
              "c": Score("dci/lasso", 1.0, parts=codes | {"importance": np.eye(3, 2)})}  # fmt: skip
    assert len(save_score_panels(scores, ["x", "y"], tmp_path)) == 3
    axes = [figure.axes[0] for figure in drawn]
    titles = ["dci-es/mlp: loss", "downstream/logistic:\naccuracy", "dci/lasso: importance"]  # a long one in two lines
    assert [axis.get_title() for axis in axes] == titles
    assert [axis.get_ylabel() for axis in axes] == ["capacity of the model", "points learnt from", "code"]
    ticks = [[tick.get_text() for tick in axis.get_yticklabels()] for axis in axes]
    assert ticks == [["1", "2", "64"], ["100", "10,000"], ["0", "1", "2"]]


def test_matrices_are_drawn_once_each(tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (300, 2))
    codes = np.concatenate([factors + 0.1 * rng.normal(size=factors.shape), rng.normal(size=(300, 60))], axis=1)
    scores = evaluate(codes, factors, ["mig", "sap"], baselines=False)
    save_score_matrices(scores, ["shape", "hue"], tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as image:
        assert image.width > 300
    name, matrix = score_matrix(scores["mig"])
    assert name == "mutual_information"
    assert matrix.shape == (62, 2)
    without = {"mig": replace(scores["mig"], parts={})}
    with pytest.raises(InputError, match="None of mig has a matrix"):
        save_score_matrices(without, ["shape", "hue"], tmp_path / "n.png")


@pytest.mark.faults
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_a_picture_is_written_whole_or_not_at_all(tmp_path, ending):
    """Pillow's own writers of files leave a part, without a word, where the disk becomes full in between."""
    from disentangle.errors import OutputError
    from disentangle.viz.grid import save_picture

    picture = Image.effect_noise((300, 300), 90).convert("RGB")
    with full_disk(tmp_path / "disk", size="400k") as disk:
        (disk / "filling").write_bytes(bytes(380 << 10))
        with pytest.raises(OutputError, match="No space left"):
            save_picture(picture, disk / f"a.{ending}")
        assert [path.name for path in disk.iterdir()] == ["filling"]
