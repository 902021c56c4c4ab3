"""Sprites: each factor changes what it should and nothing else, whichever way the picture is made."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from disentangle.data.sprites import SHAPES, Sprites, atlas, draw
from disentangle.errors import InputError

# Sprites(16) at shape heart, scale 5, orientation 0, pos_x 2, pos_y 5; grey in steps of 1/255, three rows a line.
GOLDEN = """
    00000000000000000000000000000000 00000000000000000000000000000000 00000000000000000000000000000000
    00000000000000000000000000000000 00000000000000000000000000000000 00000000000000000000000000000000
    000000000c1800180c00000000000000 0000005efdff89fffd5e000000000000 000000d0ffffffffffd0000000000000
    000000b7ffffffffffb7000000000000 00000025daffffffda25000000000000 0000000025daffda2500000000000000
    000000000025da250000000000000000 00000000000000000000000000000000 00000000000000000000000000000000
    00000000000000000000000000000000
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Many small operations: more threads only wait for each other, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def around(data: Sprites, factors: list[int], name: str) -> Tensor:
    """Pictures along one factor's axis, the others as given; (size, R, R)."""
    column = data.factor_names.index(name)
    rows = torch.tensor(factors).repeat(data.factor_sizes[column], 1)
    rows[:, column] = torch.arange(len(rows))
    return data.render(rows)[:, 0]


def inside(shape: str, x: Tensor, y: Tensor) -> Tensor:
    """The shapes by their inequalities, without any distance."""
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) < math.sqrt(0.5)
    if shape == "ellipse":
        return x**2 + (y / 0.6) ** 2 < 1
    # a square of side 1 on its tip, from -sqrt(1/2) to sqrt(1/2), and discs about the middles of its upper sides;
    # the circle through the tip around both has its centre at height h with h + sqrt(1/2) = |disc's centre - h| + 1/2
    side, disc = math.sqrt(0.5), math.sqrt(0.125)
    low, high = 0.0, 0.5
    for _ in range(60):
        h = (low + high) / 2
        low, high = (h, high) if h + side < math.hypot(disc, disc - h) + 0.5 else (low, h)
    radius = low + side
    x, y = x * radius, y * radius + low
    return (x.abs() + y.abs() < side) | ((x.abs() - disc) ** 2 + (y - disc) ** 2 < 0.25)


def test_the_grid_of_dsprites() -> None:
    data = Sprites()
    assert data.factor_names == ("shape", "scale", "orientation", "pos_x", "pos_y")
    assert data.factor_sizes == (3, 6, 40, 32, 32)
    assert len(data) == 737_280
    assert data.image_shape == (1, 64, 64)
    assert Sprites(32).factor_sizes == (3, 6, 40, 16, 16)
    assert Sprites(128).factor_sizes == (3, 6, 40, 32, 32)
    assert Sprites(32, method="direct", positions=32).factor_sizes == (3, 6, 40, 32, 32)


def test_no_orientation_drops_the_factor() -> None:
    data = Sprites(32, orientation="none")
    assert data.factor_names == ("shape", "scale", "pos_x", "pos_y")
    assert data.factor_sizes == (3, 6, 16, 16)
    upright = data.index_to_factors(torch.arange(0, len(data), 7))
    turned = torch.cat([upright[:, :2], torch.zeros(len(upright), 1, dtype=torch.int64), upright[:, 2:]], dim=1)
    assert torch.equal(data.render(upright), Sprites(32).render(turned))


@pytest.mark.parametrize("orientation", ["full", "quarter", "none"])
def test_index_round_trip(orientation: Any) -> None:
    data = Sprites(32, orientation=orientation)
    indices = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:1000]
    factors = data.index_to_factors(indices)
    assert torch.equal(data.factors_to_index(factors), indices)
    assert torch.equal(data.images(indices), data.render(factors))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [0.0, 17.0, 45.0, 250.0])
def test_drawing_agrees_with_counting_points(shape: str, degrees: float) -> None:
    size, fine = 32, 16
    column, row, radius, angle = 15.3, 17.8, 11.7, math.radians(degrees)
    grey = draw(shape, torch.tensor([[column, row]]), torch.tensor([radius]), torch.tensor([angle]), size)[0]
    points = (torch.arange(size * fine, dtype=torch.float64) + 0.5) / fine
    right, up = (points[None, :] - column) / radius, (row - points[:, None]) / radius
    x, y = math.cos(angle) * right + math.sin(angle) * up, math.cos(angle) * up - math.sin(angle) * right
    counted = inside(shape, x, y).float().unflatten(1, (size, fine)).unflatten(0, (size, fine)).mean(dim=(1, 3))
    assert float((grey - counted).abs().max()) < 0.2  # a corner inside one pixel
    assert float((grey - counted).abs().mean()) < 0.004
    assert float(grey.sum()) == pytest.approx(float(counted.sum()), rel=0.005)


@pytest.mark.parametrize("resolution", [16, 32, 50, 64, 100])
@pytest.mark.parametrize("orientation", ["full", "quarter", "none"])
def test_atlas_agrees_with_direct(resolution: int, orientation: Any) -> None:
    copied, drawn = (Sprites(resolution, orientation=orientation, method=way) for way in ("atlas", "direct"))
    factors = copied.sample(200, torch.Generator().manual_seed(1))
    assert float((copied.render(factors) - drawn.render(factors)).abs().max()) < 0.6 / 255


@pytest.mark.parametrize("arguments", [{}, {"method": "direct", "positions": 32}])
@pytest.mark.parametrize("resolution", [16, 32, 33, 64])
def test_every_sprite_stays_in_the_frame(resolution: int, arguments: dict[str, Any]) -> None:
    data = Sprites(resolution, **arguments)
    last = data.positions - 1
    turned = torch.cartesian_prod(torch.arange(3), torch.tensor([5]), torch.arange(40))
    middle, first, second = (
        data.render(torch.cat([turned, torch.tensor([[x, y]]).expand(len(turned), 2)], dim=1))[:, 0]
        for x, y in [(last // 2, last // 2), (0, 0), (last, last)]
    )
    for corner in (first, second):  # a sprite that is cut off loses area
        torch.testing.assert_close(corner.sum((1, 2)), middle.sum((1, 2)), rtol=0.02, atol=0)
        if data.method == "atlas":  # with half-pixel steps a sprite covers a part of the outermost pixels
            assert float(torch.cat([corner[:, 0], corner[:, -1], corner[:, :, 0], corner[:, :, -1]]).max()) == 0


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_position_shifts_the_picture(resolution: int) -> None:
    data = Sprites(resolution)
    step = resolution // 2 // data.positions
    right = around(data, [2, 3, 7, 0, 4], "pos_x")
    down = around(data, [2, 3, 7, 4, 0], "pos_y")
    assert torch.equal(right[1:, :, step:], right[:-1, :, :-step])
    assert torch.equal(down[1:, step:], down[:-1, :-step])
    assert not torch.equal(right[0], right[1])


@pytest.mark.parametrize("method", ["atlas", "direct"])
def test_scale_grows_and_leaves_the_place(method: Any) -> None:
    data = Sprites(64, method=method)
    for shape in range(3):
        pictures = around(data, [shape, 0, 11, 9, 21], "scale")
        area = pictures.sum((1, 2))
        expected = area[-1] * torch.linspace(0.5, 1, 6) ** 2
        torch.testing.assert_close(area, expected, rtol=0.01, atol=0)
        assert bool((pictures[1:] >= pictures[:-1]).all())  # star-shaped about the place: larger covers smaller


def test_orientation_keeps_the_area_and_its_symmetries() -> None:
    data = Sprites(64)
    square, ellipse, heart = (around(data, [shape, 5, 0, 15, 15], "orientation") for shape in range(3))
    for pictures in (square, ellipse, heart):
        torch.testing.assert_close(pictures.sum((1, 2)), pictures[0].sum().expand(40), rtol=0.01, atol=0)
    assert torch.equal(square[:30], square[10:])
    assert torch.equal(ellipse[:20], ellipse[20:])
    different = torch.cdist(heart.flatten(1), heart.flatten(1)) + 100 * torch.eye(40)
    assert float(different.min()) > 1
    # a quarter turn counter-clockwise, about the window around the sprite's own middle (column and row 31.5)
    torch.testing.assert_close(torch.rot90(heart[3, :63, :63]), heart[13, :63, :63], rtol=0, atol=1.1 / 255)


def test_quarter_has_no_repeats() -> None:
    data = Sprites(64, orientation="quarter")
    for shape in range(3):
        turned = around(data, [shape, 5, 0, 15, 15], "orientation").flatten(1)
        assert float((torch.cdist(turned, turned) + 100 * torch.eye(40)).min()) > 0.5


def test_shapes_fill_a_fair_part_and_differ() -> None:
    pictures = around(Sprites(64), [0, 5, 0, 15, 15], "shape")
    assert bool((pictures.mean((1, 2)) > 0.1).all())
    assert float(torch.pdist(pictures.flatten(1)).min()) > 5


@pytest.mark.parametrize("method", ["atlas", "direct"])
def test_range_type_and_repeatability(method: Any) -> None:
    data = Sprites(32, method=method)
    factors = data.sample(300, torch.Generator().manual_seed(2))
    pictures = data.render(factors)
    assert pictures.shape == (300, 1, 32, 32)
    assert pictures.dtype == torch.float32
    assert float(pictures.min()) == 0
    assert float(pictures.max()) == 1
    assert torch.equal(pictures, data.render(factors))
    assert torch.equal(pictures, Sprites(32, method=method).render(factors.to(torch.int32)))
    assert data.render(factors[:0]).shape == (0, 1, 32, 32)
    pictures.zero_()  # a copy, not a view of the atlas
    assert float(data.render(factors).max()) == 1


def test_golden() -> None:
    rows = torch.tensor(list(bytes.fromhex(GOLDEN))).view(16, 16) / 255
    picture = Sprites(16, method="direct").render(torch.tensor([[2, 5, 0, 2, 5]]))[0, 0]
    torch.testing.assert_close(picture, rows, rtol=0, atol=1 / 255)


@pytest.mark.parametrize("orientation", ["full", "none"])
def test_continuous_values_meet_the_grid(orientation: Any) -> None:
    data = Sprites(32, orientation=orientation, method="direct")
    factors = data.sample(50, torch.Generator().manual_seed(3))
    torch.testing.assert_close(data.render_continuous(factors.float()), data.render(factors))
    assert data.render_continuous(factors.double()).dtype == torch.float64


def test_orientation_wraps_and_half_steps_lie_between() -> None:
    data = Sprites(64, method="direct")
    here, round_once = torch.tensor([[2.0, 3, -5, 8.5, 4]]), torch.tensor([[2.0, 3, 35, 8.5, 4]])
    torch.testing.assert_close(data.render_continuous(here), data.render_continuous(round_once), rtol=0, atol=1e-4)
    columns = torch.arange(64) + 0.5
    places = [8.0, 8.5, 9.0]
    values = torch.tensor([[1.0, 5, 0, place, 4] for place in places])
    pictures = data.render_continuous(values)[:, 0]
    middles = (pictures.sum(1) * columns).sum(1) / pictures.sum((1, 2))
    torch.testing.assert_close(middles, torch.tensor(places) + 16.5, rtol=0, atol=0.01)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_derivative_by_a_factor(factor: int) -> None:
    data = Sprites(16, method="direct")
    values = torch.tensor([[s, 2.3, 4.6, 3.2, 2.9] for s in range(3)], dtype=torch.float64)
    along = torch.zeros_like(values)
    along[:, factor] = 1
    _, slope = torch.autograd.functional.jvp(data.render_continuous, values, along)
    step = 1e-6
    numeric = (data.render_continuous(values + step * along) - data.render_continuous(values - step * along)) / step / 2
    assert float(slope.abs().max()) > 0.01
    torch.testing.assert_close(slope, numeric, rtol=1e-4, atol=1e-5)


def test_instances_share_one_atlas_and_pickle_small() -> None:
    data, again = Sprites(32), Sprites(32)
    factors = torch.zeros(1, 5, dtype=torch.int64)
    data.render(factors)
    misses = atlas.cache_info().misses
    assert torch.equal(again.render(factors), pickle.loads(pickle.dumps(data)).render(factors))
    assert atlas.cache_info().misses == misses
    assert len(pickle.dumps(data)) < 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"resolution": 15}, "resolution is 15; expected a whole number of pixels from 16 to 256"),
        ({"resolution": 257}, "resolution is 257"),
        ({"resolution": 64.0}, r"resolution is 64\.0"),
        ({"orientation": "half"}, "Unknown orientation 'half'"),
        ({"method": "alas"}, "did you mean 'atlas'"),
        ({"positions": 1}, "positions is 1; expected a whole number of at least 2"),
        ({"resolution": 32, "positions": 17}, "at most that many, or method='direct'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Sprites(**arguments)


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        (torch.tensor([[3, 0, 0, 0, 0]]), "factor 'shape' has values from 3 to 3; expected 0 to 2"),
        (torch.tensor([[0, 0, 0, 0, -1]]), "factor 'pos_y'"),
        (torch.tensor([[0, 0, 0, 0]]), "expected \\(n, 5\\)"),
        (torch.zeros(1, 5), "expected integers"),
    ],
)
def test_wrong_factors(factors: Tensor, says: str) -> None:
    for method in ("atlas", "direct"):
        with pytest.raises(InputError, match=says):
            Sprites(method=method).render(factors)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[0.5, 0, 0, 0, 0]], "factor 'shape' has the value 0.5; expected whole numbers 0, 1 or 2"),
        ([[3.0, 0, 0, 0, 0]], "whole numbers"),
        ([[0.0, 5.1, 0, 0, 0]], "expected numbers from 0 to 5"),
        ([[0.0, 0, math.inf, 0, 0]], "finite"),
        ([[0.0, 0, 0, math.nan, 0]], "factor 'pos_x' has the value nan"),
        ([[0.0, 0, 0, 0]], "expected \\(n, 5\\)"),
        ([[0, 0, 0, 0, 0]], "floating-point"),
    ],
)
def test_wrong_values(values: list[list[float]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Sprites().render_continuous(torch.tensor(values))
