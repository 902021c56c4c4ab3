"""The published data sets with known factors, read from local files: dSprites, 3D Shapes and MPI3D.

Nothing in a file is ever unpickled: dSprites' ``metadata`` entry, a pickle, is not opened, and the factors' sizes are
constants here, checked against the arrays. Each class has its published grid as an attribute (``grid``); a subclass
with another one reads a smaller file of the same layout.

A compressed .npz file allows no access to single pictures. Where its size in memory is too much, unpack it once
(``unzip`` does: an .npz file is an archive of .npy files) and give the .npy file, which is mapped instead of loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from disentangle.data.arrays import ArrayHeader, array_headers, open_rows
from disentangle.data.images import ImageSource
from disentangle.data.places import PathLike, expanded, listed, pick_file, search_places
from disentangle.data.source import DataSource, Request
from disentangle.data.stored import StoredFactors, check_labels, find_pictures
from disentangle.errors import DataError, InputError, unknown_name

__all__ = ["MPI3D", "SOURCES", "DSprites", "Shapes3D"]

DSPRITES_FILES = (
    "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5",
    "dsprites.npz",
)
SHAPES3D_FILES = (
    "3dshapes.h5",
    "3dshapes.npz",
    "look-at-object-room_floor-hueXwall-hueXobj-hueXobj-sizeXobj-shapeXview-azi.npz",
)
MPI3D_FILES = {
    "toy": ("mpi3d_toy.npz", "sim_toy_64x_ordered_without_heldout_factors.npz"),
    "realistic": ("mpi3d_realistic.npz", "sim_realistic_64x_ordered_without_heldout_factors.npz"),
    "real": ("mpi3d_real.npz",),
    "complex": ("mpi3d_real_complex.npz", "real3d_complicated_shapes_ordered.npz"),
}


class DSprites(StoredFactors):
    """dSprites: a white square, ellipse or heart, 737,280 pictures of 64x64 (Matthey et al. 2017).

    The pictures of the official .npz file take 3 GB of memory; its pickled entry ``metadata`` is not opened. The
    official HDF5 file, an .npz file written without compression and an .npy file are read picture by picture.

    Args:
        path: ``dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`` (or ``.hdf5``), its unpacked ``imgs.npy``, or the
            folder that holds one of the first two.
        in_memory: load every picture even where single ones could be read.

    Raises:
        DataError: no such file, another array, or labels (``latents_classes``, where present) that do not follow the
            grid.
    """

    factor_names: tuple[str, ...] = ("shape", "scale", "orientation", "pos_x", "pos_y")
    # the first and the last of the 40 orientations are the same
    factor_kinds: tuple[str, ...] = ("discrete", "continuous", "periodic:39", "continuous", "continuous")
    grid: tuple[int, ...] = (3, 6, 40, 32, 32)

    def __init__(self, path: PathLike, *, in_memory: bool = False) -> None:
        path = pick_file(path, DSPRITES_FILES, "dSprites")
        headers = array_headers(path)
        name, header = find_pictures(headers, "imgs", path, self.grid, 2)
        for labels in ("latents_classes", "latents/classes"):
            # The file counts the colour, which is always white, as a first factor.
            check_labels(headers, labels, path, (1, *self.grid))
        super().__init__(open_rows(path, name, header, in_memory=in_memory), self.grid, white=1, source=path)


class Shapes3D(StoredFactors):
    """3D Shapes: a solid in a coloured room, 480,000 colour pictures of 64x64 (Burgess and Kim 2018).

    The official HDF5 file is read picture by picture. Where its chunks hold parts of many pictures (``h5ls -v`` shows
    them), a random batch opens many chunks and is slow; ``in_memory=True`` reads everything once and takes 5.9 GB. A
    compressed .npz file is always loaded whole.

    Args:
        path: ``3dshapes.h5``, its .npz variant (array ``images``, flat or with one axis a factor), or the folder that
            holds one of them.
        in_memory: load every picture at the start.

    Raises:
        DataError: no such file, another array, labels that do not follow the grid, or ``h5py`` is not installed.
    """

    factor_names: tuple[str, ...] = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    factor_kinds: tuple[str, ...] = (*("periodic:10",) * 3, "continuous", "discrete", "continuous")
    grid: tuple[int, ...] = (10, 10, 10, 8, 4, 15)

    def __init__(self, path: PathLike, *, in_memory: bool = False) -> None:
        path = pick_file(path, SHAPES3D_FILES, "3D Shapes")
        headers = array_headers(path)
        name, header = find_pictures(headers, "images", path, self.grid, 3)
        check_labels(headers, "labels", path, self.grid)
        super().__init__(open_rows(path, name, header, in_memory=in_memory), self.grid, source=path)


class MPI3D(StoredFactors):
    """MPI3D: a robot arm that carries an object, colour pictures of 64x64 (Gondal et al. 2019).

    The number of pictures tells the grid: 1,036,800 have six colours and six shapes (``toy``, ``realistic``, ``real``),
    460,800 have four and four (``real_complex``; also the first releases of ``toy`` and ``realistic``). A compressed
    .npz file is loaded whole, which takes 12.7 or 5.7 GB of memory; an uncompressed one and an .npy file are mapped.

    Args:
        path: ``mpi3d_toy.npz``, ``mpi3d_realistic.npz``, ``mpi3d_real.npz``,
            ``real3d_complicated_shapes_ordered.npz``, an unpacked ``images.npy``, or a folder that holds one of the
            .npz files.
        in_memory: load every picture even where single ones could be read.

    Raises:
        DataError: no such file, several in the folder, or another array.
    """

    factor_names: tuple[str, ...] = (
        "object_color",
        "object_shape",
        "object_size",
        "camera_height",
        "background_color",
        "horizontal_axis",
        "vertical_axis",
    )
    factor_kinds: tuple[str, ...] = (
        *("discrete", "discrete", "continuous", "continuous", "discrete"),
        *("continuous", "continuous"),
    )
    grids: tuple[tuple[int, ...], ...] = ((6, 6, 2, 3, 3, 40, 40), (4, 4, 2, 3, 3, 40, 40))

    def __init__(self, path: PathLike, *, in_memory: bool = False) -> None:
        usual = [name for names in MPI3D_FILES.values() for name in names]
        path = expanded(path)
        several = [name for name in usual if (path / name).is_file()]
        if len(several) > 1:
            raise DataError(f"{path} holds {listed(several, 'and')}; give the path of the one to read.")
        path = pick_file(path, usual, "MPI3D")
        headers = array_headers(path)
        by_length = {math.prod(grid): grid for grid in self.grids}
        stored = headers.get("images") or headers.get("")
        length = math.prod(stored.shape[:-3]) if stored else 0
        if stored and length not in by_length:
            raise DataError(
                f"{path}: its pictures have the shape {stored.shape}; expected {listed(by_length)} pictures of MPI3D."
            )
        grid = by_length.get(length, self.grids[0])
        name, header = find_pictures(headers, "images", path, grid, 3)
        super().__init__(open_rows(path, name, header, in_memory=in_memory), grid, source=path)


def _opens(reader: type[StoredFactors], pictures: str) -> Callable[[Request], ImageSource]:
    def opened(asked: Request) -> ImageSource:
        return _stored(asked, asked.first(), reader, pictures)

    return opened


def _stored(asked: Request, path: Path, reader: type[StoredFactors], pictures: str) -> ImageSource:
    if asked.resolution is not None and path.is_file():
        headers = array_headers(path)  # no picture is loaded before the resolution is known to fit
        stored = headers.get(pictures) or headers.get("")
        if stored is not None and len(stored.shape) >= 3:
            asked.check_side(stored.shape[-2])
    return asked.build(reader, path)


def _open_mpi3d(asked: Request) -> ImageSource:
    options = dict(asked.options)
    variant = options.pop("variant", None) if asked.path is None else None
    asked = replace(asked, options=options)
    return _stored(asked, asked.path or _one_mpi3d(asked.data_dir, variant), MPI3D, "images")


def _one_mpi3d(data_dir: PathLike | None, variant: str | None) -> Path:
    if variant is not None and variant not in MPI3D_FILES:
        raise unknown_name("variant of MPI3D", variant, MPI3D_FILES)
    files = MPI3D_FILES[variant] if variant is not None else None
    for place in search_places(data_dir):
        found = _MPI3D.find_in(place, files)
        held = {name for name, usual in MPI3D_FILES.items() for path in found if path.name in usual}
        if len(held) > 1:
            raise InputError(
                f"MPI3D is here in several variants ({listed(found, 'and')}); say which with variant= or by the name, "
                f"such as 'mpi3d-{sorted(held)[0]}'."
            )
        if found:
            return found[0]
    raise _MPI3D.not_found(data_dir, files)


def _shape(headers: Mapping[str, ArrayHeader]) -> tuple[int, ...]:
    """Of the array ``images``, or of the only one; () for another file."""
    stored = headers.get("images") or headers.get("")
    return () if stored is None else stored.shape


_DSPRITES = DataSource(
    name="dsprites",
    title="dSprites",
    kind="factors",
    factors="shape 3, scale 6, orientation 40, pos_x 32, pos_y 32",
    image_shape="1 x 64 x 64",
    source="Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset",
    licence="Apache-2.0",
    open=_opens(DSprites, "imgs"),
    files=DSPRITES_FILES,
    folders=("", "dsprites"),
    arrays=lambda: "'imgs' (dSprites)",
    holds=lambda headers: "imgs" in headers or _shape(headers)[:-2] == (math.prod(DSprites.grid),),
)
_SHAPES3D = DataSource(
    name="shapes3d",
    title="3D Shapes",
    kind="factors",
    factors="floor_hue 10, wall_hue 10, object_hue 10, scale 8, shape 4, orientation 15",
    image_shape="3 x 64 x 64",
    source="Burgess and Kim 2018, https://github.com/google-deepmind/3d-shapes",
    licence="Apache-2.0",
    open=_opens(Shapes3D, "images"),
    aliases={"3dshapes": {}, "3d-shapes": {}},
    files=SHAPES3D_FILES,
    folders=("", "shapes3d", "3dshapes"),
    arrays=lambda: f"'images' with {math.prod(Shapes3D.grid)} pictures (3D Shapes)",
    holds=lambda headers: math.prod(_shape(headers)[:-3]) == math.prod(Shapes3D.grid),
)
_MPI3D = DataSource(
    name="mpi3d",
    title="MPI3D",
    kind="factors",
    factors=(
        "object_color 6 or 4, object_shape 6 or 4, object_size 2, camera_height 3, background_color 3, "
        "horizontal_axis 40, vertical_axis 40"
    ),
    image_shape="3 x 64 x 64",
    source="Gondal et al. 2019, https://github.com/rr-learning/disentanglement_dataset",
    licence="CC BY 4.0",
    open=_open_mpi3d,
    aliases={f"mpi3d-{variant}": {"variant": variant} for variant in MPI3D_FILES},
    files=tuple(name for names in MPI3D_FILES.values() for name in names),
    folders=("", "mpi3d", "mpi3d_toy", "mpi3d_realistic", "mpi3d_real"),
    arrays=lambda: f"'images' with {listed(map(math.prod, MPI3D.grids))} pictures (MPI3D)",
    holds=lambda headers: math.prod(_shape(headers)[:-3]) in map(math.prod, MPI3D.grids),
)
SOURCES = (_DSPRITES, _SHAPES3D, _MPI3D)
