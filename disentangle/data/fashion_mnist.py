"""Fashion-MNIST: 60,000 + 10,000 grey pictures of clothes in ten classes (Xiao, Rasul and Vollgraf 2017).

The files are the four idx files of the original; Debian's package ``dataset-fashion-mnist`` and torchvision's folder
hold the same ones.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.data.idx import read_idx
from disentangle.data.images import ImageSource
from disentangle.data.indices import check_indices
from disentangle.data.places import ENVIRONMENT_VARIABLE, PathLike, cache_folder, listed, reads_files, search_places
from disentangle.data.source import DataSource, Request
from disentangle.errors import DataError, InputError, reason, unknown_name

__all__ = ["CLASSES", "DEBIAN_FOLDER", "SOURCE", "FashionMNIST", "find_fashion_mnist"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE = 28
PADDED = 32

_PREFIX = {"train": "train", "test": "t10k"}
_TORCHVISION_FOLDER = Path("FashionMNIST") / "raw"


class FashionMNIST:
    """Grey pictures of clothes, with labels, from local files.

    The files are looked for in ``data_dir``, in the folder named by the environment variable ``DISENTANGLE_DATA``, in
    ``/usr/share/datasets/fashion-mnist`` (Debian's package), then as ``fashion-mnist/*`` and in torchvision's layout
    (``FashionMNIST/raw/*``) under the first two and under ``~/.cache/disentangle/data``.

    At 28 the pictures are the file's. At 32 they are padded with two black pixels on each side, so that every pixel
    stays as it was. At more than 32 they are padded to 32 and then resized bilinearly with antialiasing.

    Args:
        split: ``"train"`` (60,000) or ``"test"`` (10,000).
        resolution: height and width in pixels: 28, or 32 and more.
        data_dir: a folder to look in first.
        download: where the files are found nowhere, fetch them with torchvision (which checks their checksums) into
            ``~/.cache/disentangle/data``.

    Attributes:
        image_shape: (1, resolution, resolution).
        labels: (n,) int64 in 0 to 9.
        class_names: the ten names.
        split: as given.
        folder: where the files were found.

    Raises:
        InputError: an unknown split or a resolution that is not offered.
        DataError: the files are not found, damaged, or hold something else.
    """

    class_names: tuple[str, ...] = CLASSES

    def __init__(
        self,
        split: str = "train",
        *,
        resolution: int = SIDE,
        data_dir: PathLike | None = None,
        download: bool = False,
    ) -> None:
        if split not in _PREFIX:
            raise unknown_name("split of Fashion-MNIST", split, _PREFIX)
        if resolution != SIDE and resolution < PADDED:
            raise InputError(
                f"resolution is {resolution}; Fashion-MNIST has {SIDE}x{SIDE} pictures and is offered at {SIDE}, "
                f"at {PADDED} (padded) and above (resized)."
            )
        self.folder = find_fashion_mnist(split, data_dir) or _missing(split, data_dir, download)
        self.split = split
        self.image_shape = (1, resolution, resolution)
        self._pictures, self.labels = _read(self.folder, _PREFIX[split])

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Pictures by position.

        Args:
            indices: (n,) integers in ``range(len(self))``.

        Returns:
            (n, 1, resolution, resolution) float32 in [0, 1].

        Raises:
            InputError: another shape or dtype, or a position out of range.
        """
        pictures = self._pictures[check_indices(indices, len(self))].unsqueeze(1).to(torch.float32) / 255
        resolution = self.image_shape[1]
        if resolution == SIDE:
            return pictures
        margin = (PADDED - SIDE) // 2
        pictures = F.pad(pictures, (margin, margin, margin, margin))
        if resolution > PADDED:
            size = (resolution, resolution)
            pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
        return pictures


@reads_files
def find_fashion_mnist(split: str = "train", data_dir: PathLike | None = None) -> Path | None:
    """The folder that holds the files of a split, or None; nothing is opened."""
    prefix = _PREFIX[split]
    for folder in _folders(data_dir):
        if _file(folder, f"{prefix}-images-idx3-ubyte") or _file(folder, f"{prefix}-labels-idx1-ubyte"):
            return folder
    return None


def _folders(data_dir: PathLike | None) -> list[Path]:
    roots = search_places(data_dir)
    given = [root for root in roots if root != cache_folder()]
    nested = [root / name for root in roots for name in ("fashion-mnist", _TORCHVISION_FOLDER)]
    return [*given, DEBIAN_FOLDER, *nested]


def _file(folder: Path, name: str) -> Path | None:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    return None


@reads_files
def _read(folder: Path, prefix: str) -> tuple[Tensor, Tensor]:
    """(n, 28, 28) uint8 pictures and (n,) int64 labels."""
    paths = []
    for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        path = _file(folder, name)
        if path is None:
            raise DataError(f"{folder} lacks {name}.gz; expected the four idx files of Fashion-MNIST side by side.")
        paths.append(path)
    pictures = read_idx(paths[0], 3, f"pictures of {SIDE}x{SIDE} bytes")
    labels = read_idx(paths[1], 1, "a label from 0 to 9 for each picture")
    if pictures.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"{paths[0]} holds pictures of {pictures.shape[1]}x{pictures.shape[2]}; expected {SIDE}x{SIDE}: "
            "is it Fashion-MNIST's file?"
        )
    if not len(pictures):
        raise DataError(f"{paths[0]} holds no pictures; fetch the file again.")
    if len(labels) != len(pictures):
        raise DataError(
            f"{paths[1]} holds {len(labels)} labels; expected {len(pictures)}, one for each picture in {paths[0].name}."
        )
    if int(labels.max()) >= len(CLASSES):
        raise DataError(f"{paths[1]} holds the label {int(labels.max())}; expected labels from 0 to 9.")
    return pictures, labels.to(torch.int64)


def _missing(split: str, data_dir: PathLike | None, download: bool) -> Path:
    if not download:
        roots = search_places(data_dir)
        direct = listed([root for root in roots if root != cache_folder()] + [DEBIAN_FOLDER], "and")
        raise DataError(
            f"Fashion-MNIST was not found: looked for {_PREFIX[split]}-images-idx3-ubyte.gz in {direct}, and in the "
            f"sub-folders fashion-mnist and {_TORCHVISION_FOLDER} of {listed(roots, 'and')}; install Debian's package "
            "with 'apt-get install dataset-fashion-mnist', name the folder of the files with data_dir= (--data-dir) or "
            f"the environment variable {ENVIRONMENT_VARIABLE}, or allow a download with download=True (--download)."
        )
    from torchvision.datasets import FashionMNIST as Downloader

    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        Downloader(str(root), download=True)
    except Exception as error:  # URLError, http.client's errors, a checksum that differs, a full disk
        raise DataError(
            f"Fashion-MNIST could not be downloaded into {root} ({reason(error)}); fetch it by hand, or install "
            "Debian's package with 'apt-get install dataset-fashion-mnist'."
        ) from error
    return root / _TORCHVISION_FOLDER


def _open(asked: Request) -> ImageSource:
    size = SIDE if asked.resolution is None else asked.resolution
    return asked.build(FashionMNIST, asked.split, resolution=size, data_dir=asked.place, download=asked.download)


def _located(data_dir: PathLike | None) -> list[Path]:
    folder = find_fashion_mnist("train", data_dir)
    return [] if folder is None else [folder]


SOURCE = DataSource(
    name="fashion-mnist",
    title="Fashion-MNIST",
    kind="images",
    factors="10 classes; 60,000 train, 10,000 test",
    image_shape="1 x R x R, R = 28, or 32 and more",
    source="Xiao, Rasul and Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    open=_open,
    aliases={"fashionmnist": {}},
    splits=("train", "test"),
    divided=True,
    locate=_located,
    downloads=True,
    recognise=lambda folder: _file(folder, "train-images-idx3-ubyte") is not None,
    remedy="'apt-get install dataset-fashion-mnist', or download=True (--download)",
)
