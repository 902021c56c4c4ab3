"""Rooms: colour pictures of one object in the corner of a room, with the factors and the factor order of 3D Shapes.

Six factors: the hues of floor, wall and object, the object's scale and shape, and how far the camera has gone round it.
The pictures are ray-cast by this module; they are not those of the published file.

Hues never change geometry. So only the 480 scenes of scale, shape and orientation are ray-cast, once in a process, and
each is kept as four maps: the shaded share of floor, of wall, of object, and the white highlight. A picture is then a
small matrix product, ``rgb[3, pixels] = colours[3, 4] @ maps[4, pixels]``.

The world: a floor at height 0, two walls across the x and the y axis, and the object standing at the origin, flat sides
parallel to the walls. In the middle of its range the camera looks along the diagonal into the corner. The sphere, the
cylinder and the capsule look the same from every side; the corner, the walls and the cast shadow show the orientation.
"""

from __future__ import annotations

import colorsys
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disentangle.checks import check_name, check_number
from disentangle.data.factors import FactorDataset
from disentangle.data.source import DataSource
from disentangle.errors import InputError
from disentangle.text import shown

__all__ = ["SHAPES", "SOURCE", "Rooms", "Scenes", "compose", "palette", "ray_cast", "scenes"]

HUES, SCALES, ORIENTATIONS = 10, 8, 15
SCALE_RANGE = (0.82, 1.18)
WIDE_SCALE_RANGE = (0.5, 1.18)
SMALLEST, LARGEST = 0.3, 1.25  # below, shapes blur; above, an object may touch the frame
ARC = 0.75  # of the colour circle, from red to violet
WIDEST_TURN = math.radians(30)
LOWEST_RESOLUTION, HIGHEST_RESOLUTION = 16, 256  # below, shapes blur; above, the maps pass 250 MB

# The room and its light. Lengths are in units of about one object.
WALL = 2.6
LIGHT = (-3.9, 0.2, 4.8)  # to the left of the camera's whole range, so that no object ever hides its own shadow
TARGET_HEIGHT = 0.66
CAMERA_DISTANCE = 6.0
CAMERA_ELEVATION = math.radians(24)
HALF_FIELD = 0.26  # tangent of half the field of view

# Sizes at scale 1, such that the four shapes cover about the same share of the picture.
CUBE_HALF = 0.5
CYLINDER_RADIUS, CYLINDER_HEIGHT = 0.56, 1.15
SPHERE_RADIUS = 0.69
CAPSULE_RADIUS, CAPSULE_HEIGHT = 0.52, 1.68

SATURATION = 0.9
FLOOR_AMBIENT, WALL_AMBIENT, OBJECT_AMBIENT = 0.45, 0.45, 0.48
SHININESS, HIGHLIGHT = 25.0, 0.7

# Four rays a pixel, 2 x 2 on a turned grid: no two share a row or column, so upright edges get all levels of grey too.
_RAYS = ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375))
_CHUNK_PIXELS = 1 << 16  # composed at a time, 16 pictures at 64x64; larger pieces leave the processor's cache
_BAND = 4096  # pixels ray-cast at a time, for the same reason

Vector = tuple[Tensor, Tensor, Tensor]


# --- vectors: triples of tensors that broadcast against each other


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _times(a: Vector, factor: Tensor | float) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def _dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(a: Vector) -> Vector:
    return _times(a, _dot(a, a).rsqrt())


def _towards_light(point: Vector) -> Vector:
    return LIGHT[0] - point[0], LIGHT[1] - point[1], LIGHT[2] - point[2]


# --- solids at scale 1: where a ray o + t d enters (infinite if it misses), and the outward normal at a surface point


def _slab(o: Tensor, d: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Where a ray passes between two planes across one axis: entry and exit."""
    inverse = 1 / torch.where(d.abs() < 1e-9, 1e-9, d)
    first, second = (low - o) * inverse, (high - o) * inverse
    return torch.minimum(first, second), torch.maximum(first, second)


def _quadratic(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Where a t^2 + 2 b t + c is negative: entry and exit, NaN if nowhere."""
    root = (b * b - a * c).sqrt()
    return (-b - root) / a, (-b + root) / a


def _first(entry: Tensor, leave: Tensor) -> Tensor:
    """The entry where an interval is not empty and in front of the ray's origin, else infinity (for NaN too)."""
    return torch.where((entry < leave) & (entry > 0), entry, math.inf)


def _enter_tube(o: Vector, d: Vector, radius: float, low: float, high: float) -> Tensor:
    """An upright cylinder with flat ends: the side and the slab between its ends."""
    a = (d[0] * d[0] + d[1] * d[1]).clamp(min=1e-9)
    side = _quadratic(a, o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - radius**2)
    ends = _slab(o[2], d[2], low, high)
    return _first(torch.maximum(side[0], ends[0]), torch.minimum(side[1], ends[1]))


def _enter_ball(o: Vector, d: Vector, radius: float, height: float) -> Tensor:
    o = o[0], o[1], o[2] - height
    return _first(*_quadratic(_dot(d, d), _dot(o, d), _dot(o, o) - radius**2))


def _enter_cube(o: Vector, d: Vector) -> Tensor:
    x, y = _slab(o[0], d[0], -CUBE_HALF, CUBE_HALF), _slab(o[1], d[1], -CUBE_HALF, CUBE_HALF)
    z = _slab(o[2], d[2], 0.0, 2 * CUBE_HALF)
    entry = torch.maximum(torch.maximum(x[0], y[0]), z[0])
    return _first(entry, torch.minimum(torch.minimum(x[1], y[1]), z[1]))


def _cube_normal(p: Vector) -> Vector:
    p = p[0], p[1], p[2] - CUBE_HALF
    x, y, z = (axis.abs() for axis in p)
    on_x = (x > y) & (x > z)
    on_y = ~on_x & (y > z)
    return p[0].sign() * on_x, p[1].sign() * on_y, p[2].sign() * ~(on_x | on_y)


def _enter_cylinder(o: Vector, d: Vector) -> Tensor:
    return _enter_tube(o, d, CYLINDER_RADIUS, 0.0, CYLINDER_HEIGHT)


def _cylinder_normal(p: Vector) -> Vector:
    on_side = p[2] < CYLINDER_HEIGHT - 1e-4
    return p[0] / CYLINDER_RADIUS * on_side, p[1] / CYLINDER_RADIUS * on_side, (~on_side).to(p[2].dtype)


def _enter_sphere(o: Vector, d: Vector) -> Tensor:
    return _enter_ball(o, d, SPHERE_RADIUS, SPHERE_RADIUS)


def _sphere_normal(p: Vector) -> Vector:
    return _times((p[0], p[1], p[2] - SPHERE_RADIUS), 1 / SPHERE_RADIUS)


def _enter_capsule(o: Vector, d: Vector) -> Tensor:
    low, high = CAPSULE_RADIUS, CAPSULE_HEIGHT - CAPSULE_RADIUS
    ends = torch.minimum(_enter_ball(o, d, CAPSULE_RADIUS, low), _enter_ball(o, d, CAPSULE_RADIUS, high))
    return torch.minimum(ends, _enter_tube(o, d, CAPSULE_RADIUS, low, high))


def _capsule_normal(p: Vector) -> Vector:
    axis = p[2].clamp(CAPSULE_RADIUS, CAPSULE_HEIGHT - CAPSULE_RADIUS)
    return _times((p[0], p[1], p[2] - axis), 1 / CAPSULE_RADIUS)


SHAPES: dict[str, tuple[Callable[[Vector, Vector], Tensor], Callable[[Vector], Vector]]] = {
    "cube": (_enter_cube, _cube_normal),
    "cylinder": (_enter_cylinder, _cylinder_normal),
    "sphere": (_enter_sphere, _sphere_normal),
    "capsule": (_enter_capsule, _capsule_normal),
}


# --- scenes


class Scenes(NamedTuple):
    """The ray-cast geometry, scenes in row-major order of scale, shape and orientation (480).

    Attributes:
        maps: (480, 4, R * R) float16 in [0, 1], of sum at most 1: floor, wall and object (each its share of the pixel
            times its brightness), and white highlight.
        coverage: (480,) float32, the object's share of the picture.
    """

    maps: Tensor
    coverage: Tensor


def _camera(turn: float, resolution: int) -> tuple[Vector, Vector]:
    """Origin (three numbers) and directions (each (4, R * R): rays of a pixel, pixels) of the rays."""
    heading = math.pi / 4 + turn
    cos, sin = math.cos(heading), math.sin(heading)
    level, drop = math.cos(CAMERA_ELEVATION), math.sin(CAMERA_ELEVATION)
    ahead, right, up = (cos * level, sin * level, -drop), (sin, -cos, 0.0), (cos * drop, sin * drop, level)
    offsets = torch.tensor(_RAYS, dtype=torch.float32)[:, :, None]
    middle = (torch.arange(resolution, dtype=torch.float32) + 0.5 + offsets) * (2 / resolution) - 1
    across = (middle[:, 0] * HALF_FIELD)[:, None, :].expand(-1, resolution, -1).flatten(1)
    above = (middle[:, 1] * -HALF_FIELD)[:, :, None].expand(-1, -1, resolution).flatten(1)
    x, y, z = (ahead[k] + right[k] * across + up[k] * above for k in range(3))
    start = (-CAMERA_DISTANCE * ahead[0], -CAMERA_DISTANCE * ahead[1], TARGET_HEIGHT - CAMERA_DISTANCE * ahead[2])
    origin = tuple(torch.tensor(value, dtype=torch.float32) for value in start)
    return (origin[0], origin[1], origin[2]), (x, y, z)


def _empty_room(o: Vector, d: Vector) -> tuple[Tensor, Vector, Tensor, Tensor]:
    """The room without the object: hit distance, point, whether it is the floor, and the Lambert term of the light."""
    reach = torch.stack([-o[2] / d[2], (WALL - o[0]) / d[0], (WALL - o[1]) / d[1]])
    distance, surface = torch.where(reach > 0, reach, math.inf).min(dim=0)
    point = _plus(o, _times(d, distance))
    light = _unit(_towards_light(point))
    cosine = torch.where(surface == 0, light[2], torch.where(surface == 1, -light[0], -light[1]))
    return distance, point, surface == 0, cosine.clamp(min=0)


def _object_light(point: Vector, normal: Vector, ray: Vector) -> tuple[Tensor, Tensor]:
    """Lambert brightness and Blinn highlight; a convex object's own shadow is where the Lambert term vanishes."""
    light = _unit(_towards_light(point))
    halfway = _unit(_plus(light, _times(_unit(ray), -1.0)))
    cosine = _dot(normal, light).clamp(min=0)
    # light from the sky: what faces up is a little brighter, so that unlit sides are told apart
    ambient = OBJECT_AMBIENT * (0.8 + 0.2 * normal[2])
    highlight = HIGHLIGHT * _dot(normal, halfway).clamp(min=0) ** SHININESS * (cosine > 0)
    return ambient + (1 - OBJECT_AMBIENT) * cosine, highlight


def ray_cast(resolution: int, scale_range: tuple[float, float] = SCALE_RANGE) -> Scenes:
    """All 480 scenes at R x R pixels, four rays a pixel, with scales evenly over a range."""
    pixels = resolution**2
    maps = torch.empty((SCALES, len(SHAPES), ORIENTATIONS, 4, pixels), dtype=torch.float16)
    hits = torch.zeros((SCALES, len(SHAPES), ORIENTATIONS), dtype=torch.int64)
    for number in range(ORIENTATIONS):
        origin, directions = _camera(WIDEST_TURN * (2 * number / (ORIENTATIONS - 1) - 1), resolution)
        for band in (slice(start, start + _BAND) for start in range(0, pixels, _BAND)):
            x, y, z = (axis[:, band] for axis in directions)
            for shape, (parts, hit) in enumerate(_shade(origin, (x, y, z), scale_range)):
                for k, part in enumerate(parts):
                    maps[:, shape, number, k, band] = part.mean(dim=1)
                hits[:, shape, number] += hit.sum(dim=(1, 2))
    return Scenes(maps.flatten(0, 2), hits.flatten() / (len(_RAYS) * pixels))


def _shade(
    o: Vector, d: Vector, scale_range: tuple[float, float]
) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]]:
    """For each shape, all scales at once: the four maps' values and whether the object is hit, (scales, 4, pixels)."""
    scale = torch.linspace(*scale_range, SCALES, dtype=torch.float32)[:, None, None]
    far, ground, floor, cosine = _empty_room(o, d)
    ambient = torch.where(floor, FLOOR_AMBIENT, WALL_AMBIENT)
    lamp = (1 - ambient) * cosine
    # a ray from o meets an object of scale s where the parallel one from o / s meets the object of scale 1
    seen_from, shaded_from, lightwards = _times(o, 1 / scale), _times(ground, 1 / scale), _towards_light(ground)
    for enter, normal_at in SHAPES.values():
        distance = enter(seen_from, d)
        hit = distance * scale < far
        lit = enter(shaded_from, lightwards) == math.inf
        room = (ambient + lamp * lit) * ~hit
        near = _plus(seen_from, _times(d, torch.where(hit, distance, 1.0)))
        brightness, highlight = (
            torch.where(hit, value, 0.0) for value in _object_light(_times(near, scale), normal_at(near), d)
        )
        # the highlight covers the colour beneath it, so the four values of a ray never add up to more than 1
        yield (room * floor, room * ~floor, brightness * (1 - highlight), highlight), hit


def scenes(resolution: int, scale_range: tuple[float, float] = SCALE_RANGE) -> Scenes:
    """:func:`ray_cast`, once in a process for each resolution and range. Shared: not to be written to."""
    return _scenes(resolution, scale_range)


@functools.lru_cache(maxsize=4)
def _scenes(resolution: int, scale_range: tuple[float, float]) -> Scenes:
    return ray_cast(resolution, scale_range)


def palette(hues: str = "circle") -> Tensor:
    """The colours of the ten hues; (10, 3) RGB in [0, 1].

    Args:
        hues: ``"circle"``, evenly round the colour circle from red; ``"arc"``, evenly over three quarters of it, from
            red to violet, both included, so that the last is not beside the first.

    Raises:
        InputError: another name.
    """
    check_name("hues", hues, ("circle", "arc"))
    step = 1 / HUES if hues == "circle" else ARC / (HUES - 1)
    rows = [colorsys.hsv_to_rgb(hue * step, SATURATION, 1.0) for hue in range(HUES)]
    return torch.tensor(rows, dtype=torch.float32)


def compose(maps: Tensor, colours: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Pictures from maps and the colours of floor, wall and object.

    Args:
        maps: (n, 4, pixels), scenes of :attr:`Scenes.maps`.
        colours: (n, 3, 3) RGB in [0, 1], a row each for floor, wall and object; any colours, not only the palette's.
        out: (n, 3, pixels) float32 to write to.

    Returns:
        (n, 3, pixels) float32 in [0, 1]; differentiable in the colours where ``out`` is not given.
    """
    white = torch.ones_like(colours[:, :1])
    return torch.bmm(torch.cat([colours, white], dim=1).transpose(1, 2), maps.float(), out=out)


class Rooms(FactorDataset):
    """Colour pictures of an object in the corner of a room: the grid of 3D Shapes, 480,000 pictures.

    Factors, with the meaning of their values:

    * ``floor_hue``, ``wall_hue``, ``object_hue`` 10: evenly round the colour circle from red (:func:`palette`);
    * ``scale`` 8: evenly from 0.82 to 1.18 times the object's middle size;
    * ``shape`` 4: cube, cylinder, sphere, capsule;
    * ``orientation`` 15: the camera goes round by -30 to 30 degrees, both ends included.

    The object covers 10 to 25 % of the picture and never touches the frame. The geometry is ray-cast when the first
    picture is asked for, about a second at 64x64, and shared by all instances of a resolution in the process (15 MiB
    at 64x64, in proportion to the number of pixels).

    Args:
        resolution: height and width R in pixels, 16 to 256; ``image_shape`` is (3, R, R).
        hues: ``"arc"`` takes the hues from three quarters of the colour circle (:func:`palette`), where hue is a line
            and not a circle.
        scale_range: the smallest and the largest scale, within 0.3 and 1.25; (0.5, 1.18) is called ``rooms-wide``.

    Raises:
        InputError: on a resolution or scales out of range, or another name of hues.
    """

    factor_names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    factor_sizes = (HUES, HUES, HUES, SCALES, len(SHAPES), ORIENTATIONS)

    def __init__(
        self, resolution: int = 64, *, hues: str = "circle", scale_range: Sequence[float] = SCALE_RANGE
    ) -> None:
        if not isinstance(resolution, int | np.integer) or not LOWEST_RESOLUTION <= resolution <= HIGHEST_RESOLUTION:
            raise InputError(
                f"resolution is {resolution!r}; expected a whole number of pixels from {LOWEST_RESOLUTION} to "
                f"{HIGHEST_RESOLUTION}."
            )
        self.resolution = int(resolution)
        self.image_shape = (3, self.resolution, self.resolution)
        self._palette = palette(hues)
        self._scales = _range(scale_range)
        hue = "periodic:10" if hues == "circle" else "continuous"
        self.factor_kinds = (hue, hue, hue, "continuous", "discrete", "continuous")

    def render(self, factors: Tensor) -> Tensor:
        """Pictures of the given factors, made on the processor.

        Args:
            factors: (n, 6) integers, column ``j`` in ``range(factor_sizes[j])``.

        Returns:
            (n, 3, R, R) float32 in [0, 1].

        Raises:
            InputError: on a wrong number of columns or a value out of range.
        """
        factors = self.check_factors(factors).cpu()
        scene = (factors[:, 3] * len(SHAPES) + factors[:, 4]) * ORIENTATIONS + factors[:, 5]
        colours = self._palette[factors[:, :3]]
        maps = scenes(self.resolution, self._scales).maps
        pictures = torch.empty((len(factors), *self.image_shape), dtype=torch.float32)
        pixels = pictures.flatten(2)
        chunk = max(1, _CHUNK_PIXELS // self.resolution**2)
        for start in range(0, len(factors), chunk):
            part = slice(start, start + chunk)
            # index_select copies whole scenes at once, several times faster than maps[...] does
            compose(maps.index_select(0, scene[part]), colours[part], out=pixels[part])
        return pictures


def _range(given: Sequence[float]) -> tuple[float, float]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise InputError(f"scale_range is {shown(given)}; expected two numbers, the smallest and the largest scale.")
    low = check_number("scale_range[0]", given[0], least=SMALLEST, most=LARGEST)
    return low, check_number("scale_range[1]", given[1], above=low, most=LARGEST)


SOURCE = DataSource(
    name="rooms",
    title="Rooms",
    kind="factors",
    factors="floor_hue 10, wall_hue 10, object_hue 10, scale 8, shape 4, orientation 15",
    image_shape="3 x R x R, R = 16 to 256",
    source="drawn by this package",
    licence="Apache-2.0",
    open=lambda asked: asked.build(Rooms, *(() if asked.resolution is None else (asked.resolution,))),
    needs_files=False,
    aliases={
        "rooms-arc": {"hues": "arc"},
        "rooms-wide": {"scale_range": WIDE_SCALE_RANGE},
        "rooms-arc-wide": {"hues": "arc", "scale_range": WIDE_SCALE_RANGE},
    },
)
