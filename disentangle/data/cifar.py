"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour pictures of 32x32 in ten or a hundred classes (Krizhevsky 2009).

Read from the *binary version*, plain bytes: a record is one label (CIFAR-100: the coarse one, then the fine one) and
3 x 32 x 32 bytes, red, green, blue, each in rows. The *python version* is pickled; a pickle runs whatever it contains,
so it is never opened.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from disentangle.data.indices import check_indices
from disentangle.data.places import ENVIRONMENT_VARIABLE, PathLike, listed, reads_files, search_places
from disentangle.errors import DataError, InputError, unknown_name

__all__ = ["CIFAR10", "CIFAR100", "SIDE", "find_cifar", "holds_cifar"]

SIDE = 32
_PICTURE = 3 * SIDE * SIDE
_FILES: dict[int, dict[str, tuple[str, ...]]] = {
    10: {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    100: {"train": ("train.bin",), "test": ("test.bin",)},
}
_FOLDERS = {10: ("cifar-10-batches-bin", "cifar-10-binary"), 100: ("cifar-100-binary",)}
_PICKLED = {
    10: ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"),
    100: ("cifar-100-python", "cifar-100-python.tar.gz"),
}
_ARCHIVE = {10: "cifar-10-binary.tar.gz", 100: "cifar-100-binary.tar.gz"}
_CLASSES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class _Cifar:
    """What the two sets share; see :class:`CIFAR10`."""

    image_shape: tuple[int, int, int]
    labels: Tensor
    class_names: tuple[str, ...]

    def __init__(self, classes: int, split: str, resolution: int, data_dir: PathLike | None) -> None:
        if split not in _FILES[classes]:
            raise unknown_name(f"split of CIFAR-{classes}", split, _FILES[classes])
        if resolution < SIDE:
            raise InputError(
                f"resolution is {resolution}; CIFAR-{classes} has pictures of {SIDE}x{SIDE} and is offered at {SIDE} "
                "and above (resized)."
            )
        found = find_cifar(classes, split, data_dir)
        if found is None:
            raise _missing(classes, split, data_dir)
        self.folder = found
        self.split = split
        self.image_shape = (3, resolution, resolution)

    @reads_files
    def _read(self, classes: int, label_bytes: int) -> Tensor:
        """Keeps the pictures, returns the (n, label_bytes) uint8 labels."""
        records = []
        for name in _FILES[classes][self.split]:
            path = self.folder / name
            if not path.is_file():
                raise DataError(
                    f"{self.folder} lacks {name}; expected the files of CIFAR-{classes}'s binary version side by side."
                )
            size = path.stat().st_size
            if not size or size % (label_bytes + _PICTURE):
                raise DataError(
                    f"{path} holds {size} bytes; expected records of {label_bytes + _PICTURE} "
                    f"({label_bytes} for labels, {_PICTURE} for a picture): fetch CIFAR-{classes}'s binary version "
                    "again."
                )
            records.append(np.fromfile(path, np.uint8).reshape(-1, label_bytes + _PICTURE))
        bytes_ = np.concatenate(records)
        pictures = np.ascontiguousarray(bytes_[:, label_bytes:]).reshape(-1, 3, SIDE, SIDE)
        self._pictures = torch.from_numpy(pictures)
        return torch.from_numpy(np.ascontiguousarray(bytes_[:, :label_bytes]))

    def _take_labels(self, labels: Tensor) -> None:
        count = len(self.class_names)
        if int(labels.max()) >= count:
            raise DataError(
                f"{self.folder} holds the label {int(labels.max())}; expected labels from 0 to {count - 1}."
            )
        self.labels = labels.to(torch.int64)

    def __len__(self) -> int:
        return len(self._pictures)

    def images(self, indices: Tensor) -> Tensor:
        """Pictures by position: (n,) integers to (n, 3, resolution, resolution) float32 in [0, 1].

        Raises:
            InputError: another shape or dtype, or a position out of range.
        """
        pictures = self._pictures[check_indices(indices, len(self))].to(torch.float32) / 255
        side = self.image_shape[1]
        if side > SIDE:
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False, antialias=True)
            pictures = pictures.clamp(0, 1)
        return pictures


class CIFAR10(_Cifar):
    """CIFAR-10 from the local files of its binary version.

    The folder of the files (``cifar-10-batches-bin`` as the archive has it) is looked for in ``data_dir``, in the
    folder named by the environment variable ``DISENTANGLE_DATA`` and in ``~/.cache/disentangle/data``.

    Args:
        split: ``"train"`` (50,000) or ``"test"`` (10,000).
        resolution: 32, or more: resized bilinearly.
        data_dir: a folder to look in first; the one with the files, or the one around it.

    Attributes:
        image_shape: (3, resolution, resolution).
        labels: (n,) int64.
        class_names: from ``batches.meta.txt`` where it lies beside the files.
        split, folder: as given, where found.

    Raises:
        InputError: an unknown split, or a resolution below 32.
        DataError: the files are not found (only the pickled version is, perhaps), are damaged, or hold something else.
    """

    def __init__(self, split: str = "train", *, resolution: int = SIDE, data_dir: PathLike | None = None) -> None:
        super().__init__(10, split, resolution, data_dir)
        names = _names(self.folder / "batches.meta.txt")
        self.class_names = names if len(names) == 10 else _CLASSES_10
        self._take_labels(self._read(10, 1)[:, 0])


class CIFAR100(_Cifar):
    """CIFAR-100 from the local files of its binary version; arguments as :class:`CIFAR10`, folder
    ``cifar-100-binary``.

    Args:
        classes: ``"fine"`` for the 100 classes, ``"coarse"`` for the 20 groups of five.

    The names come from ``fine_label_names.txt`` or ``coarse_label_names.txt``, which the archive has beside the files.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        resolution: int = SIDE,
        data_dir: PathLike | None = None,
        classes: str = "fine",
    ) -> None:
        if classes not in ("fine", "coarse"):
            raise unknown_name("value of classes", classes, ("fine", "coarse"))
        super().__init__(100, split, resolution, data_dir)
        count = 100 if classes == "fine" else 20
        path = self.folder / f"{classes}_label_names.txt"
        self.class_names = _names(path)
        if len(self.class_names) != count:
            raise DataError(
                f"{path} holds {len(self.class_names)} names; expected {count}, one a line, as the archive "
                f"{_ARCHIVE[100]} has it."
            )
        self._take_labels(self._read(100, 2)[:, 1 if classes == "fine" else 0])


@reads_files
def find_cifar(classes: int, split: str = "train", data_dir: PathLike | None = None) -> Path | None:
    """The folder with the binary files of a split of CIFAR-10 or CIFAR-100, or None; nothing is opened."""
    for place in search_places(data_dir):
        for folder in (place, *(place / name for name in _FOLDERS[classes])):
            if (folder / _FILES[classes][split][0]).is_file():
                return folder
    return None


@reads_files
def holds_cifar(folder: Path) -> int | None:
    """10 or 100 if the folder itself holds binary or pickled files of that set, else None."""
    for classes, files in _FILES.items():
        if any((folder / name).is_file() for name in (*files["train"][:1], *files["test"])):
            return classes
    # the names of CIFAR-100's pickled files say nothing by themselves
    return 10 if (folder / "data_batch_1").is_file() else 100 if folder.name == "cifar-100-python" else None


@reads_files
def _names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(
        line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    )


def _missing(classes: int, split: str, data_dir: PathLike | None) -> DataError:
    places = search_places(data_dir)
    pickled = [place / name for place in places for name in _PICKLED[classes] if (place / name).exists()]
    pickled += [place for place in places if place.name in _PICKLED[classes] and place.is_dir()]
    if pickled:
        return DataError(
            f"{pickled[0]} is the pickled version of CIFAR-{classes}, which can run code when it is opened and is not "
            f"read; fetch the binary version {_ARCHIVE[classes]} from the same page and unpack it."
        )
    return DataError(
        f"CIFAR-{classes} was not found: looked for {_FILES[classes][split][0]} in {listed(places, 'and')} and their "
        f"sub-folder {listed(_FOLDERS[classes])}; unpack the binary version {_ARCHIVE[classes]} and name its folder "
        f"with data_dir= (--data-dir) or the environment variable {ENVIRONMENT_VARIABLE}."
    )
