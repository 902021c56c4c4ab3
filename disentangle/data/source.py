"""What a data set is to :func:`~disentangle.data.registry.open_data`: a record at the foot of the file that reads it.

A data set of your own is added with :func:`register`::

    disentangle.data.register(DataSource(
        name="mine", title="Mine", kind="images", factors="none", image_shape="3 x R x R", source="our laboratory",
        licence="not stated", open=lambda asked: asked.build(MyImages, asked.first(), asked.needed_resolution()),
        files=("mine.bin",),
    ))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from disentangle.data.arrays import ArrayHeader
from disentangle.data.images import ImageSource
from disentangle.data.places import ENVIRONMENT_VARIABLE, PathLike, listed, reads_files, search_places
from disentangle.errors import ArgumentError, DataError, unknown_name

__all__ = ["DataInfo", "DataSource", "Request", "build", "needed_resolution"]

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class DataInfo:
    """One line of the list of data sets.

    Attributes:
        name: for :func:`~disentangle.data.registry.open_data`.
        kind: ``"factors"`` (a grid of known factors) or ``"images"``.
        factors: the factors with their sizes, or the classes; text.
        image_shape: channels x height x width; text.
        source: who made it and where it is had.
        licence: as its makers state it.
        available: whether it can be opened on this machine now.
        note: where it was found, or what to do to have it.
    """

    name: str
    kind: str
    factors: str
    image_shape: str
    source: str
    licence: str
    available: bool
    note: str


@dataclass(frozen=True)
class DataSource:
    """A data set that has a name.

    Attributes:
        name: for ``open_data``: small letters, digits and hyphens.
        title: as its makers write it.
        kind: ``"factors"`` or ``"images"``.
        factors: the factors with their sizes, or the classes; text.
        image_shape: channels x height x width; text.
        source: who made it and where it is had.
        licence: as its makers state it.
        open: makes the image source of a :class:`Request`.
        aliases: other names, each with the options it stands for.
        splits: the parts it has by name.
        divided: whether ``open`` takes care of the split; otherwise any but ``"train"`` is refused before.
        files: the names of the files looked for, or of the folders, for messages.
        folders: sub-folders they may lie in; "" is the place itself.
        matches: whether a folder holds the data set, for sets of several files.
        find: everything of it in one place, where ``files``, ``folders`` and ``matches`` do not say it.
        locate: the same in all places, from ``data_dir``, for sets that have places of their own.
        recognise: whether a folder that a user names holds it.
        holds: whether an array file that a user names, with these headers, is it.
        arrays: what such a file has, for messages.
        needs_files: False for what is drawn.
        downloads: whether ``open`` can fetch it, where a download is allowed.
        remedy: what to do to have it; by default where to put its first file.
    """

    name: str
    title: str
    kind: str
    factors: str
    image_shape: str
    source: str
    licence: str
    open: Callable[[Request], ImageSource]
    aliases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train",)
    divided: bool = False
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ("",)
    matches: Callable[[Path], bool] | None = None
    find: Callable[[Path], list[Path]] | None = None
    locate: Callable[[PathLike | None], list[Path]] | None = None
    recognise: Callable[[Path], bool] | None = None
    arrays: Callable[[], str] | None = None
    holds: Callable[[Mapping[str, ArrayHeader]], bool] | None = None
    needs_files: bool = True
    downloads: bool = False
    remedy: str = ""

    def find_in(self, place: Path, files: tuple[str, ...] | None = None) -> list[Path]:
        """Every file or folder of it in one place and its usual sub-folders.

        Args:
            place: a folder, which need not exist; a file is taken as it is.
            files: the file names to look for instead of the source's.
        """
        if place.is_file():
            return [place]
        if self.find is not None:
            return self.find(place)
        folders = [place / folder for folder in self.folders]
        if self.matches is not None:
            return [folder for folder in folders if self.matches(folder)]
        return [folder / file for folder in folders for file in files or self.files if (folder / file).is_file()]

    def find_all(self, data_dir: PathLike | None = None) -> list[Path]:
        """The same for all the places that are searched, the first place first.

        Raises:
            DataError: ``data_dir`` is given and does not exist.
        """
        if self.locate is not None:
            return self.locate(data_dir)
        return list(dict.fromkeys(path for place in search_places(data_dir) for path in self.find_in(place)))

    def not_found(self, data_dir: PathLike | None = None, files: Iterable[str] | None = None) -> DataError:
        """The error for a data set that lies in none of the places searched."""
        folders = [folder for folder in self.folders if folder]
        below = f" (also in the sub-folders {listed(folders, 'and')})" if folders else ""
        return DataError(
            f"{self.title} was not found: looked for {listed(files or self.files)} in "
            f"{listed(search_places(data_dir), 'and')}{below}; get it from its source ({self.source}) and name its "
            f"folder with data_dir= (--data-dir) or the environment variable {ENVIRONMENT_VARIABLE}."
        )

    @reads_files
    def info(self, data_dir: PathLike | None = None) -> DataInfo:
        """Its line of the list; no file is opened."""
        found = self.find_all(data_dir) if self.needs_files else []
        if not self.needs_files:
            note = "needs no file"
        elif found:
            note = f"found in {listed(found, 'and')}"
        else:
            note = self.remedy or f"put {self.files[0]} into {search_places(data_dir)[0]}"
        available = bool(found) or not self.needs_files
        return DataInfo(
            self.name, self.kind, self.factors, self.image_shape, self.source, self.licence, available, note
        )


@dataclass(frozen=True)
class Request:
    """What was asked of ``open_data``, for the ``open`` of a :class:`DataSource`.

    Attributes:
        of: the data set.
        path: the folder or file that the user named and that holds it; None if it was asked for by name.
        resolution: in pixels; None for the data set's own.
        split: the part.
        data_dir: where to look first.
        download: whether a download is allowed.
        options: further arguments.
    """

    of: DataSource
    path: Path | None = None
    resolution: int | None = None
    split: str = "train"
    data_dir: PathLike | None = None
    download: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> PathLike | None:
        """The first place to look in."""
        return self.data_dir if self.path is None else self.path

    def first(self) -> Path:
        """The path that was named, or the first found.

        Raises:
            DataError: it is nowhere.
        """
        if self.path is not None:
            return self.path
        found = self.of.find_all(self.data_dir)
        if not found:
            raise self.of.not_found(self.data_dir)
        return found[0]

    def build(self, reader: Callable[..., ImageSource], *arguments: Any, **fixed: Any) -> ImageSource:
        """Call a reader with the options, after checking that it has them."""
        return build(self.of.title, reader, *arguments, options=self.options, fixed=fixed)

    def build_first(self, reader: Callable[..., ImageSource], side: int) -> ImageSource:
        """Call a reader of the path that was named or found, for sets with pictures of one size only.

        Raises:
            InputError: another resolution was asked for.
            DataError: it is nowhere.
        """
        path = self.first()
        self.check_side(side)
        return self.build(reader, path)

    def needed_resolution(self) -> int:
        """The resolution, for sets that have none of their own.

        Raises:
            InputError: none was given.
        """
        return needed_resolution(self.of.title, self.resolution)

    def check_side(self, side: int) -> None:
        """Refuse another resolution than the only one that there is.

        Raises:
            InputError: the two differ.
        """
        if self.resolution is not None and self.resolution != side:
            raise ArgumentError(
                f"resolution is {self.resolution}, but {self.of.title} has pictures of {side}x{side} only; leave the "
                f"resolution out or give {side}."
            )


def needed_resolution(what: str, resolution: int | None) -> int:
    """The resolution.

    Raises:
        InputError: none was given.
    """
    if resolution is None:
        raise ArgumentError(
            f"{what} has no resolution of its own; give one in pixels, such as resolution=64 (--resolution 64)."
        )
    return resolution


def build(
    title: str,
    reader: Callable[..., ImageSource],
    *arguments: Any,
    options: Mapping[str, Any],
    fixed: Mapping[str, Any] = _NO_OPTIONS,
) -> ImageSource:
    """Call a reader, after checking that it has the options.

    Raises:
        InputError: it has not.
    """
    keywords = [p.name for p in inspect.signature(reader).parameters.values() if p.kind is p.KEYWORD_ONLY]
    allowed = sorted(set(keywords) - set(fixed))
    for option in options:
        if option not in allowed and allowed:
            raise unknown_name(f"option of {title}", option, allowed)
        if option not in allowed:
            raise ArgumentError(f"{title} has no option {option!r}; it has none at all.")
    return reader(*arguments, **fixed, **options)
