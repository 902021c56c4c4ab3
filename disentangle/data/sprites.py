"""Sprites: grey pictures of one flat shape, with the factors and the factor order of dSprites.

Three shapes (square, ellipse, heart), six sizes, forty orientations and a grid of positions, drawn by formula, so that
no file is needed. Sizes and proportions are this module's own: the pictures are not those of the published file.

Two ways lead to the same picture. The direct way evaluates a signed distance at every pixel. The atlas draws each
shape, size and orientation once and cuts the positions out as shifted windows, which costs no more than a copy.

What the factors can show: the square repeats after 90 degrees and the ellipse after 180, as in dSprites, so with
``orientation="full"`` no code can tell all forty orientations from the picture, and scores of that factor have a
ceiling. ``"quarter"`` removes the ambiguity, ``"none"`` the factor.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from disentangle.data.factors import FactorDataset
from disentangle.errors import InputError, unknown_name

__all__ = ["SHAPES", "Sprites", "draw", "ellipse_distance", "heart_distance", "square_distance"]

METHODS = ("atlas", "direct")
ORIENTATION_RANGES = {"full": 2 * math.pi, "quarter": math.pi / 2, "none": 0.0}
SCALES, ORIENTATIONS, POSITIONS = 6, 40, 32
SMALLEST_SCALE = 0.5
ELLIPSE_MINOR = 0.6
LOWEST_RESOLUTION, HIGHEST_RESOLUTION = 16, 256  # below, shapes blur into dots; above, the atlas passes 100 MB

_CHUNK = 64  # pictures made at a time; larger pieces leave the processor's cache
_TINY = 1e-12  # keeps square roots differentiable at zero


# --- shapes: signed distance to the outline, negative inside; the unit is the circumscribed circle's radius


def _box_distance(x: Tensor, y: Tensor, half: float) -> Tensor:
    """Signed distance to the square [-half, half]^2; exact."""
    over_x, over_y = x.abs() - half, y.abs() - half
    outside = (over_x.clamp(min=0) ** 2 + over_y.clamp(min=0) ** 2 + _TINY).sqrt()
    return outside + torch.maximum(over_x, over_y).clamp(max=0)


def square_distance(x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the upright square inscribed in the unit circle; tensors of one shape, exact."""
    return _box_distance(x, y, math.sqrt(0.5))


def ellipse_distance(x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the ellipse with half-axes 1 and 0.6; tensors of one shape, first order at the outline.

    The exact distance is a root of a quartic. The implicit function divided by the length of its gradient agrees with
    it in value and slope on the outline, and only a band one pixel wide is ever looked at.
    """
    norm = (x**2 + (y / ELLIPSE_MINOR) ** 2 + _TINY).sqrt()
    gradient = (x**2 + (y / ELLIPSE_MINOR**2) ** 2 + _TINY).sqrt()
    return norm * (norm - 1) / gradient


def heart_distance(x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the upright heart in the unit circle; tensors of one shape, exact outside and at the outline.

    A square of side 1 on its tip, with a half disc on each of the two upper sides. The smallest circle around both
    touches the tip and the discs; its centre lies 0.1847 above the square's and its radius is 0.8918.
    """
    centre, radius, disc = 0.1847006, 0.8918074, math.sqrt(0.125)
    x, y = x * radius, y * radius + centre
    square = _box_distance((x + y) * math.sqrt(0.5), (y - x) * math.sqrt(0.5), 0.5)
    discs = ((x.abs() - disc) ** 2 + (y - disc) ** 2 + _TINY).sqrt() - 0.5
    return torch.minimum(square, discs) / radius


SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "square": square_distance,
    "ellipse": ellipse_distance,
    "heart": heart_distance,
}


def draw(shape: str, centre: Tensor, radius: Tensor, angle: Tensor, size: int) -> Tensor:
    """Pictures of one shape, differentiable in all three tensors.

    A pixel's grey is 1/2 minus its distance to the outline in pixels, clamped: the covered share of the pixel, exactly
    so for straight edges along the pixel grid.

    Args:
        shape: a name in :data:`SHAPES`.
        centre: (n, 2) column and row in pixels from the upper left corner of the picture.
        radius: (n,) of the circumscribed circle, in pixels.
        angle: (n,) in radians, counter-clockwise as seen.
        size: height and width.

    Returns:
        (n, size, size) in [0, 1], of the dtype of ``centre``.
    """
    middle = torch.arange(size, dtype=centre.dtype, device=centre.device) + 0.5
    right = (middle - centre[:, :1])[:, None, :]
    up = (centre[:, 1:] - middle)[:, :, None]
    radius, angle = radius[:, None, None], angle[:, None, None]
    cos, sin = torch.cos(angle) / radius, torch.sin(angle) / radius
    distance = SHAPES[shape](cos * right + sin * up, cos * up - sin * right)
    return (0.5 - distance * radius).clamp(0, 1)


# --- geometry: where the factors put a sprite


def sprite_radius(scale: Tensor, resolution: int) -> Tensor:
    """Circumscribed radius in pixels at a position on the scale axis (0 to 5): the largest is a quarter of the picture
    less half a pixel, so that the soft edge too is inside, the smallest half of that."""
    largest = resolution / 4 - 0.5
    return largest * (SMALLEST_SCALE + (1 - SMALLEST_SCALE) / (SCALES - 1) * scale)


def position_step(resolution: int, positions: int) -> float:
    """Pixels from one position to the next, a whole number if ``positions`` is at most half the resolution.

    All positions together span less than half the picture and a sprite at most half, so nothing leaves the frame.
    """
    half = resolution // 2
    return half // positions if positions <= half else half / positions


@functools.lru_cache(maxsize=8)
def atlas(resolution: int, orientation: str, positions: int) -> NDArray[np.uint8]:
    """Every picture as a window on a few canvases, (sprites, rows, columns, resolution, resolution) in [0, 255].

    Sprites are in row-major order of shape, scale and orientation; each is stored once, in the middle of an empty
    canvas, and the second and third axes are views of it. Built once in a process for the same arguments.
    """
    step = int(position_step(resolution, positions))
    size = resolution + (positions - 1) * step
    orientations = 1 if orientation == "none" else ORIENTATIONS
    scale, turn = torch.meshgrid(
        torch.arange(SCALES, dtype=torch.float32), torch.arange(orientations, dtype=torch.float32), indexing="ij"
    )
    radius = sprite_radius(scale.flatten(), resolution)
    angle = turn.flatten() * (ORIENTATION_RANGES[orientation] / orientations)
    empty = size // 2 - resolution // 4 - 1  # rows and columns on each side that no sprite reaches
    middle = size - 2 * empty
    centre = torch.full((len(angle), 2), middle / 2, dtype=torch.float32)
    sprites = [
        (draw(shape, *piece, middle) * 255).round().to(torch.uint8)
        for shape in SHAPES
        for piece in zip(centre.split(_CHUNK), radius.split(_CHUNK), angle.split(_CHUNK), strict=True)
    ]
    canvases = pad(torch.cat(sprites), (empty, empty, empty, empty)).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(canvases, (resolution, resolution), (1, 2))
    # a window that starts further right shows the sprite further left
    return windows[:, ::step, ::step][:, ::-1, ::-1]


class Sprites(FactorDataset):
    """Grey pictures of a square, ellipse or heart: the grid of dSprites, drawn when asked for.

    Factors, with the meaning of their values:

    * ``shape`` 3: square, ellipse, heart;
    * ``scale`` 6: evenly from half the largest size to the largest (see :func:`sprite_radius`);
    * ``orientation`` 40: evenly over the range below, its end excluded, counter-clockwise as seen;
    * ``pos_x`` and ``pos_y`` 32: columns from the left and rows from the top, :func:`position_step` pixels apart.

    That is 737,280 pictures at a resolution of 64 or more. At a lower one whole pixels give only half as many positions
    as pixels (16 at 32x32) without cutting sprites off at the frame; ``positions=32, method="direct"`` brings all 32
    back, in fractions of a pixel.

    Args:
        resolution: height and width R in pixels, 16 to 256; ``image_shape`` is (1, R, R).
        orientation: ``"full"`` turns through 360 degrees, ``"quarter"`` through 90 (every orientation then looks
            different), ``"none"`` leaves all upright and drops the factor.
        method: ``"atlas"`` copies pictures from a small table (grey in steps of 1/255), ``"direct"`` draws each.
        positions: number of values of ``pos_x`` and ``pos_y``; by default 32, or half the resolution if that is less.

    Raises:
        InputError: on a resolution out of range, an unknown orientation or method, fewer than 2 positions, or more
            than half the resolution with the atlas.
    """

    def __init__(
        self,
        resolution: int = 64,
        *,
        orientation: Literal["full", "quarter", "none"] = "full",
        method: Literal["atlas", "direct"] = "atlas",
        positions: int | None = None,
    ) -> None:
        if not isinstance(resolution, int | np.integer) or not LOWEST_RESOLUTION <= resolution <= HIGHEST_RESOLUTION:
            raise InputError(
                f"resolution is {resolution!r}; expected a whole number of pixels from {LOWEST_RESOLUTION} to "
                f"{HIGHEST_RESOLUTION}."
            )
        if orientation not in ORIENTATION_RANGES:
            raise unknown_name("orientation", str(orientation), ORIENTATION_RANGES)
        if method not in METHODS:
            raise unknown_name("method", str(method), METHODS)
        if positions is None:
            positions = min(POSITIONS, resolution // 2)
        if not isinstance(positions, int | np.integer) or positions < 2:
            raise InputError(f"positions is {positions!r}; expected a whole number of at least 2.")
        if method == "atlas" and positions > resolution // 2:
            raise InputError(
                f"positions is {positions}, but a {resolution}x{resolution} atlas has room for {resolution // 2} "
                f"whole-pixel positions; take at most that many, or method='direct'."
            )
        self.resolution, self.positions = int(resolution), int(positions)
        self.orientation, self.method = orientation, method
        sizes = {
            "shape": len(SHAPES),
            "scale": SCALES,
            "orientation": ORIENTATIONS,
            "pos_x": self.positions,
            "pos_y": self.positions,
        }
        if orientation == "none":
            del sizes["orientation"]
        self.factor_names, self.factor_sizes = tuple(sizes), tuple(sizes.values())
        self.image_shape = (1, self.resolution, self.resolution)

    def render(self, factors: Tensor) -> Tensor:
        """Pictures of the given factors, made on the processor.

        Args:
            factors: (n, 5) integers (4 with ``orientation="none"``), column ``j`` in ``range(factor_sizes[j])``.

        Returns:
            (n, 1, R, R) float32 in [0, 1]; 1 is the sprite, 0 the background.

        Raises:
            InputError: on a wrong number of columns or a value out of range.
        """
        factors = self.check_factors(factors).cpu()
        if self.method == "direct":
            with torch.no_grad():
                return self._draw(factors.to(torch.float32))
        sprite = torch.zeros(len(factors), dtype=torch.int64)
        for column, size in enumerate(self.factor_sizes[:-2]):
            sprite = sprite * size + factors[:, column]
        table = atlas(self.resolution, self.orientation, self.positions)
        index = sprite.numpy(), factors[:, -1].numpy(), factors[:, -2].numpy()
        pictures = torch.empty((len(factors), *self.image_shape), dtype=torch.float32)
        for start in range(0, len(factors), _CHUNK):
            part = slice(start, start + _CHUNK)
            grey = torch.from_numpy(table[index[0][part], index[1][part], index[2][part]])
            torch.div(grey[:, None], 255, out=pictures[part])
        return pictures

    def render_continuous(self, values: Tensor) -> Tensor:
        """Pictures of any point between the grid's, differentiable in every factor but the shape.

        Args:
            values: (n, k) floating point, the factors' columns on the same axes: 2.5 lies half-way between the grid's
                values 2 and 3. Orientation takes any number, the rest stays in [0, size - 1]; the shape is whole.

        Returns:
            (n, 1, R, R) in [0, 1], of the dtype and on the device of ``values``; at whole numbers the same as
            :meth:`render` by the direct way.

        Raises:
            InputError: on a wrong shape or dtype, a value that is not finite or out of range, or a fractional shape.
        """
        values = torch.as_tensor(values)
        if values.ndim != 2 or values.shape[1] != len(self.factor_sizes) or not values.is_floating_point():
            raise InputError(
                f"values have shape {tuple(values.shape)} and dtype {values.dtype}; expected (n, "
                f"{len(self.factor_sizes)}) floating-point numbers for {', '.join(self.factor_names)}."
            )
        for column, (name, size) in enumerate(zip(self.factor_names, self.factor_sizes, strict=True)):
            axis = values[:, column].detach()
            fits = axis.isfinite() if name == "orientation" else (axis >= 0) & (axis <= size - 1)
            if name == "shape":
                fits &= axis == axis.round()
            if not bool(fits.all()):
                wanted = {"orientation": "finite numbers", "shape": "whole numbers 0, 1 or 2"}
                raise InputError(
                    f"factor {name!r} has the value {float(axis[~fits][0])}; expected "
                    f"{wanted.get(name, f'numbers from 0 to {size - 1}')}."
                )
        return self._draw(values)

    def _draw(self, values: Tensor) -> Tensor:
        shape, scale, *turn, column, row = values.unbind(1)
        step = position_step(self.resolution, self.positions)
        first = (self.resolution - (self.positions - 1) * step) / 2
        centre = torch.stack([column, row], dim=1) * step + first
        radius = sprite_radius(scale, self.resolution)
        if turn:
            angle = turn[0] * (ORIENTATION_RANGES[self.orientation] / ORIENTATIONS)
        else:
            angle = torch.zeros_like(scale)
        pictures = values.new_zeros((len(values), *self.image_shape))
        for number, name in enumerate(SHAPES):
            for part in (shape == number).nonzero().flatten().split(_CHUNK):
                pictures[part, 0] = draw(name, centre[part], radius[part], angle[part], self.resolution)
        return pictures
