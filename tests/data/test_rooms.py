"""Rooms: the solids are where their equations say, and each factor changes what it should and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from disentangle.data import open_data, rooms
from disentangle.data.rooms import SHAPES, Rooms, Scenes, compose, palette, ray_cast, scenes
from disentangle.errors import InputError

FLOOR, WALL, OBJECT, HIGHLIGHT = range(4)
SCALE, SHAPE, ORIENTATION = 3, 4, 5

# Rooms(16) at (1, 6, 8, 7, 3, 11): red, green and blue in steps of 1/255, three rows a line.
GOLDEN = """
    12121211111111111010101218181818 121212111111688c7849101217181818 12121111116ed0b8997b381217171818
    121111113bc6ddb58b6f5a2517171718 1111111138adad93775e552417171717 11111111339689766051514f17171717
    11111143649384705b5050abc76f1717 adacdedcca9283705b5050aeccb4b35a e6e4e3e1cc90826f5a50508173737373
    eae8e7e5e39b7b6c584f4d7373737373 edebe9e8e6c1544f4a48687373737373 efedebe9e8e6c86767737373738c8ba3
    f0eeedebe9e7e5e3e1c4c2c1d9d7d5d3 f1efedebe9e8e6e4e2e0dedcdad8d6d5 f1efedeceae8e6e4e2e0dfdddbd9d7d6
    f1efedeceae8e6e4e3e1dfdddcdad8d7 535251504f4e4d4d4c4b4a526c6d6e6f 535251504f4e3324212d4a516b6c6d6e
    5251504f4e36462d140f2a516b6c6c6d 51504f4e40319646130e0b496a6b6c6c 504f4f4e3f1d381e0f0b0a48696a6b6b
    4f4f4e4d3e12120f0c0a0a4e68696a6a 4f4e4d5c4d12100e0b0a0a6380746969 807f8e8d6e12100e0b0a0a6583737267
    939291907012100e0b0a0a4849494949 9695949291300f0d0b0a094949494949 9897959493700a0a0909394949494949
    99989795949380393949494949595968 9a99979695949291907d7c7b8b8a8887 9a99989795949392908f8e8d8c8a8988
    9a9998979694939291908e8d8c8b8a89 9a9998979695939291908f8e8d8b8a89 b5b3b1afadaba8a6a4a3a1b2ebeeeff1
    b4b2afadaba9c9cfb7a0a0b1e9eceeef b2b0aeacaacff2dbbb968ab0e8eaeced b0aeacaab7ecefd0aa876db3e6e8eaeb
    aeadaba9b2d1cab0917267b1e3e6e8e9 acaba9a7acb7a7907563627ce1e4e6e7 aba9a88286b4a1896f626228147be4e5
    3b3b16163eb29f886f6262281412127a 171717173db09e876e6262230b0b0b0b 17171717177d96846b615e0b0b0b0b0b
    18181717172c67605a581f0b0b0b0b0b 181818171717141d1d0b0b0b0b0e0e10 18181817171717171614131316161515
    18181818171717171716161616161515 18181818171717171716161616161615 18181818171717171716161616161615
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Many small operations: more threads only wait for each other, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def grid(resolution: int) -> Tensor:
    """The maps as (scale, shape, orientation, map, row, column), full precision."""
    return scenes(resolution).maps.float().view(8, 4, 15, 4, resolution, resolution)


def vector(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(n, 3) as the three tensors the ray caster works on."""
    return points[:, 0], points[:, 1], points[:, 2]


def signed_distance(shape: str, p: Tensor) -> Tensor:
    """Distance of points (n, 3) to a solid at scale 1, negative inside: an independent description of it."""
    x, y, z = p.unbind(-1)

    def corner(*over: Tensor) -> Tensor:
        stacked = torch.stack(over, dim=-1)
        return stacked.clamp(min=0).norm(dim=-1) + stacked.amax(-1).clamp(max=0)

    if shape == "cube":
        half = rooms.CUBE_HALF
        return corner(x.abs() - half, y.abs() - half, (z - half).abs() - half)
    if shape == "cylinder":
        half = rooms.CYLINDER_HEIGHT / 2
        return corner(torch.hypot(x, y) - rooms.CYLINDER_RADIUS, (z - half).abs() - half)
    if shape == "sphere":
        radius, length = rooms.SPHERE_RADIUS, 0.0
    else:
        radius, length = rooms.CAPSULE_RADIUS, rooms.CAPSULE_HEIGHT - 2 * rooms.CAPSULE_RADIUS
    return torch.stack([x, y, z - z.clamp(radius, radius + length)], dim=-1).norm(dim=-1) - radius


@pytest.mark.parametrize("shape", SHAPES)
def test_rays_enter_solids_at_the_surface(shape: str) -> None:
    generator = torch.Generator().manual_seed(0)
    origin = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    origin = 4 * origin / origin.norm(dim=1, keepdim=True)
    origin[:, 2] = origin[:, 2].abs()  # from above the floor: nothing ever looks at a solid from below
    goal = torch.rand(4000, 3, generator=generator, dtype=torch.float64) * 2.4 - torch.tensor([1.2, 1.2, 0.4])
    direction = 0.7 * (goal - origin)
    enter, normal_at = SHAPES[shape]
    reach = enter(vector(origin), vector(direction))
    hit = reach.isfinite()
    assert 500 < int(hit.sum()) < 3500

    steps = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None, None]
    end = torch.where(hit, reach, 3.0)[:, None]
    along = signed_distance(shape, origin + direction * end * steps)
    assert float(along[:-1].min()) > -1e-9  # outside all the way, and for the rays that miss, for ever

    point = (origin + direction * reach[:, None])[hit]
    assert float(signed_distance(shape, point).abs().max()) < 1e-9
    normal = torch.stack(normal_at(vector(point)), dim=1)
    # just outside, where the distance has a slope; that of a flat-sided solid is not its normal across an edge
    outside = (point + 1e-4 * normal).requires_grad_()
    (slope,) = torch.autograd.grad(signed_distance(shape, outside).sum(), outside)
    torch.testing.assert_close(slope, normal, rtol=0, atol=1e-6)


def test_the_grid_of_3d_shapes() -> None:
    data = Rooms()
    assert data.factor_names == ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert data.factor_sizes == (10, 10, 10, 8, 4, 15)
    assert len(data) == 480_000
    assert data.image_shape == (3, 64, 64)
    assert list(SHAPES) == ["cube", "cylinder", "sphere", "capsule"]


def test_index_round_trip() -> None:
    data = Rooms(16)
    indices = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:1000]
    factors = data.index_to_factors(indices)
    assert torch.equal(data.factors_to_index(factors), indices)
    assert torch.equal(data.images(indices[:50]), data.render(factors[:50]))


@pytest.mark.parametrize(("hue", "surfaces"), [(0, (FLOOR,)), (1, (WALL,)), (2, (OBJECT,))])
def test_a_hue_changes_its_surface_only(hue: int, surfaces: tuple[int, ...]) -> None:
    data = Rooms(32)
    factors = data.sample(200, torch.Generator().manual_seed(1))
    other = factors.clone()
    other[:, hue] = (other[:, hue] + 3) % 10
    changed = (data.render(factors) - data.render(other)).abs().amax(1) > 1e-6
    maps = grid(32)[tuple(factors[:, 3:].unbind(1))]
    assert torch.equal(changed, maps[:, surfaces[0]] > 0)
    # where a pixel belongs to another surface alone, nothing changes
    alone = (maps[:, [k for k in (FLOOR, WALL, OBJECT) if k not in surfaces]] > 0).any(1) & (maps[:, surfaces[0]] == 0)
    assert not bool((changed & alone).any())
    assert bool(changed.flatten(1).any(1).all())


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_the_object_covers_a_fair_part_and_is_never_cut_off(resolution: int) -> None:
    coverage = scenes(resolution).coverage.view(8, 4, 15)
    assert float(coverage.min()) > 0.10
    assert float(coverage.max()) < 0.25
    assert 0.15 < float(coverage.mean()) < 0.18
    assert bool((coverage[1:] > coverage[:-1]).all())  # a larger scale covers more
    seen = grid(resolution)[:, :, :, OBJECT:].sum(3)
    assert float(torch.cat([seen[..., 0, :], seen[..., -1, :], seen[..., 0], seen[..., -1]]).max()) == 0


def test_coverage_is_what_the_maps_show() -> None:
    maps = grid(64)
    shown = maps[:, :, :, OBJECT] > 0
    whole = shown & (maps[:, :, :, FLOOR] + maps[:, :, :, WALL] == 0)
    coverage = scenes(64).coverage.view(8, 4, 15)
    assert bool((whole.float().mean((3, 4)) <= coverage).all())
    assert bool((shown.float().mean((3, 4)) >= coverage).all())


def test_orientation_moves_the_room_and_not_a_round_object() -> None:
    maps = grid(64)
    seen = maps[:, 1:, :, OBJECT] > 0  # cylinder, sphere, capsule
    moved = (seen != seen[:, :, :1]).float().mean((3, 4))
    assert float(moved.max()) < 0.002
    cube = maps[:, 0, :, OBJECT] > 0
    assert float((cube[:, 1:] != cube[:, :-1]).float().mean((2, 3)).min()) > 0.001
    # the corner between the walls is the darkest-to-brightest jump of the top row, and goes from left to right
    top = maps[0, 2, :, WALL, 0]
    corner = (top[:, 1:] - top[:, :-1]).abs().argmax(1)
    assert bool((corner[1:] > corner[:-1]).all())
    assert 0 < int(corner[0]) < 16
    assert 47 < int(corner[-1]) < 62
    assert abs(int(corner[7]) - 31) <= 1


def test_every_factor_can_be_seen() -> None:
    data = Rooms(32)
    for column, size in enumerate(data.factor_sizes):
        factors = torch.tensor([[1, 4, 7, 2, 1, 3]]).repeat(size, 1)
        factors[:, column] = torch.arange(size)
        assert float(torch.pdist(data.render(factors).flatten(1)).min()) > 0.5, data.factor_names[column]


def test_light_shadow_and_highlight() -> None:
    maps = grid(64)
    floor = maps[:, :, :, FLOOR]
    whole = maps[:, :, :, WALL:].sum(3) == 0
    ambient = torch.where(whole, floor, 1).amin((3, 4))
    torch.testing.assert_close(ambient, torch.full((8, 4, 15), rooms.FLOOR_AMBIENT), rtol=0, atol=1e-3)
    shadow = (whole & (floor < rooms.FLOOR_AMBIENT + 1e-3)).float().mean((3, 4))
    assert float(shadow.min()) > 0.005
    assert float(torch.where(whole, floor, 0).amax((3, 4)).min()) > 0.85
    shine = maps[:, 2:, :, HIGHLIGHT].amax((3, 4))  # sphere and capsule
    assert float(shine.min()) > 0.6
    assert float(maps.sum(3).max()) <= 1


@pytest.mark.parametrize("resolution", [16, 33])
def test_range_type_and_repeatability(resolution: int) -> None:
    data = Rooms(resolution)
    factors = data.sample(300, torch.Generator().manual_seed(2))
    pictures = data.render(factors)
    assert pictures.shape == (300, 3, resolution, resolution)
    assert pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0
    assert 0.9 < float(pictures.max()) <= 1
    assert torch.equal(pictures, Rooms(resolution).render(factors.to(torch.int32)))
    assert data.render(factors[:0]).shape == (0, 3, resolution, resolution)
    again = ray_cast(resolution)
    assert torch.equal(again.maps, scenes(resolution).maps)
    assert torch.equal(again.coverage, scenes(resolution).coverage)


def test_a_batch_is_its_pictures_one_by_one() -> None:
    data = Rooms(64)
    factors = data.sample(40, torch.Generator().manual_seed(4))
    one_by_one = torch.cat([data.render(row[None]) for row in factors])
    torch.testing.assert_close(data.render(factors), one_by_one, rtol=0, atol=1e-6)


def test_low_resolution_is_the_high_one_seen_from_afar() -> None:
    factors = Rooms().sample(100, torch.Generator().manual_seed(5))
    small, large = Rooms(32).render(factors), Rooms(64).render(factors)
    apart = (torch.nn.functional.avg_pool2d(large, 2) - small).abs()
    assert float(apart.mean()) < 0.01
    assert float(apart.flatten(1).mean(1).max()) < 0.02


def test_golden() -> None:
    expected = torch.tensor(list(bytes.fromhex(GOLDEN))).view(3, 16, 16) / 255
    picture = Rooms(16).render(torch.tensor([[1, 6, 8, 7, 3, 11]]))[0]
    torch.testing.assert_close(picture, expected, rtol=0, atol=1 / 255)


def test_compose_takes_any_colour_and_is_differentiable() -> None:
    maps = scenes(16).maps[:3]
    colours = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pictures = compose(maps, colours)
    by_hand = torch.einsum("nsc,nsp->ncp", colours, maps[:, :3].float()) + maps[:, 3:].float()
    torch.testing.assert_close(pictures, by_hand)
    (slope,) = torch.autograd.grad(pictures.sum(), colours)
    torch.testing.assert_close(slope, maps[:, :3].float().sum(2)[:, :, None].expand(3, 3, 3))


def test_palette_goes_round_the_colour_circle() -> None:
    colours = palette()
    assert colours.shape == (10, 3)
    assert colours[0].argmax() == 0
    torch.testing.assert_close(colours.amax(1), torch.ones(10))
    assert float(torch.pdist(colours).min()) > 0.3


def test_the_geometry_waits_for_the_first_picture_and_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(resolution: int, scale_range: tuple[float, float]) -> Scenes:
        calls.append(resolution)
        return ray_cast(resolution, scale_range)

    monkeypatch.setattr(rooms, "ray_cast", counted)
    first, second = Rooms(17), Rooms(17)
    assert calls == []
    factors = first.sample(2)
    pictures = first.render(factors)
    assert torch.equal(pictures, second.render(factors))
    assert torch.equal(pictures, pickle.loads(pickle.dumps(first)).render(factors))
    assert calls == [17]
    assert len(pickle.dumps(first)) < 2000


def test_first_picture_under_inference_mode() -> None:
    with torch.inference_mode():
        Rooms(18).render(torch.zeros(1, 6, dtype=torch.int64))
    weight = torch.ones((), requires_grad=True)
    (Rooms(18).render(torch.zeros(1, 6, dtype=torch.int64)) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("resolution", [15, 257, 0, -64, 64.0, "64"])
def test_wrong_resolution(resolution: Any) -> None:
    with pytest.raises(InputError, match="resolution is .*; expected a whole number"):
        Rooms(resolution)


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        (torch.tensor([[0, 0, 10, 0, 0, 0]]), "factor 'object_hue' has values from 10 to 10; expected 0 to 9"),
        (torch.tensor([[0, 0, 0, 0, 0, -1]]), "factor 'orientation'"),
        (torch.tensor([[0, 0, 0, 0, 0]]), "expected \\(n, 6\\)"),
        (torch.zeros(1, 6), "expected integers"),
    ],
)
def test_wrong_factors(factors: Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Rooms(16).render(factors)


def test_hues_on_an_arc_have_two_ends() -> None:
    colours, circle = palette("arc"), palette()
    assert torch.equal(colours[0], circle[0])
    # 270 degrees: halfway between blue and magenta, its red as far from 0.1 as from 1
    torch.testing.assert_close(colours[-1], torch.tensor([0.55, 0.1, 1.0]))
    ends = float((colours[0] - colours[-1]).norm())
    assert ends > 2 * float((colours[1:] - colours[:-1]).norm(dim=1).max())
    assert Rooms(16, hues="arc").factor_kinds[0] == "continuous"
    assert Rooms(16).factor_kinds == (*["periodic:10"] * 3, "continuous", "discrete", "continuous")
    with pytest.raises(InputError, match="hues"):
        Rooms(16, hues="line")


def test_a_wider_range_of_scales() -> None:
    wide, usual = scenes(16, (0.5, 1.18)).coverage.view(8, 4, 15), scenes(16).coverage.view(8, 4, 15)
    torch.testing.assert_close(wide[-1], usual[-1])
    share = (wide[0] / usual[0]).mean()  # areas go with the square, but for perspective
    assert 0.8 < float(share / (0.5 / 0.82) ** 2) < 1.2
    factors = torch.tensor([[0, 3, 6, 0, 1, 7]])
    assert not torch.equal(Rooms(16, scale_range=(0.5, 1.18)).render(factors), Rooms(16).render(factors))
    for odd in ((0.5,), (0.1, 1.0), (1.0, 0.9), (0.5, 1.3), "ab", (0.5, float("nan"))):
        with pytest.raises(InputError, match="scale_range"):
            Rooms(16, scale_range=odd)
    assert torch.equal(
        open_data("rooms-arc-wide", resolution=16).images(torch.tensor([5])),
        Rooms(16, hues="arc", scale_range=(0.5, 1.18)).images(torch.tensor([5])),
    )
