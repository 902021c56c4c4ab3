"""Labelled pictures for training and testing a classifier: checks, parts, and whether two parts share pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from disentangle.data.images import ImageSource, LabelledImageSource
from disentangle.data.indices import check_indices
from disentangle.errors import DataError, InputError
from disentangle.signatures import checks_arguments

__all__ = ["Subset", "check_classes", "hold_out", "overlap", "with_classes"]

_BLOCK = 256  # pictures hashed at a time


class Subset:
    """Some pictures of a labelled source, in a given order.

    Args:
        source: where the pictures are.
        indices: (n,) positions in it.
        labels: (n,) int64, instead of the source's.
        class_names: instead of the source's.

    Raises:
        InputError: a position out of range.
    """

    def __init__(
        self,
        source: LabelledImageSource,
        indices: Tensor,
        *,
        labels: Tensor | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.source = source
        self.indices = check_indices(indices, len(source))
        self.image_shape = source.image_shape
        self.labels = source.labels[self.indices] if labels is None else labels
        self.class_names = source.class_names if class_names is None else class_names

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, indices: Tensor) -> Tensor:
        """Pictures by position in this part."""
        return self.source.images(self.indices[check_indices(indices, len(self))])


@checks_arguments
def check_classes(source: ImageSource, what: str, *, training: bool = True) -> LabelledImageSource:
    """``source`` as it is, if a classifier can learn from it (or, without ``training``, be scored on it).

    Args:
        source: any source of pictures.
        what: what to call it in a message.
        training: ask for two classes, and two pictures in each.

    Raises:
        DataError: no labels; a label outside ``class_names``; one class only; a class with fewer than two pictures.
    """
    labels: Tensor | None = getattr(source, "labels", None)
    names: tuple[str, ...] = getattr(source, "class_names", ())
    if labels is None:
        raise DataError(
            f"{what} has no classes to learn; expected a folder with one sub-folder of pictures for each class, or a "
            "labelled data set such as fashion-mnist or cifar10."
        )
    if not len(labels):
        raise DataError(f"{what} holds no pictures; expected some of each class.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        raise DataError(f"{what} has labels from {low} to {high}; expected 0 to {len(names) - 1}, one a class name.")
    if training:
        if len(names) < 2:
            raise DataError(f"{what} has a single class, {names[0]!r}; expected two or more to tell apart.")
        counts = torch.bincount(labels, minlength=len(names))
        rare = [f"{names[i]!r} ({int(counts[i])})" for i in (counts < 2).nonzero()[:, 0].tolist()]
        if rare:
            shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            raise DataError(
                f"{what} has classes with fewer than two pictures: {shown}; add pictures to them or remove them."
            )
    return source  # type: ignore[return-value]


@checks_arguments
def hold_out(source: LabelledImageSource, count: int) -> tuple[Subset, Subset]:
    """Two parts: what remains for training, and ``count`` pictures for validation, each class in proportion.

    Which ones depends on the labels alone, not on a seed, so runs with different seeds validate on the same pictures.
    At least one picture of each class remains; both parts keep the source's order.

    Raises:
        InputError: if so many pictures cannot be held out.
    """
    labels = source.labels
    classes = len(labels.unique())
    if not 0 < count <= len(labels) - classes:
        raise InputError(
            f"validation is {count}; expected 1 to {len(labels) - classes}, so that of {len(labels)} pictures each of "
            f"the {classes} classes keeps one to learn from."
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    sizes = torch.bincount(labels)
    quantile = torch.empty(len(labels), dtype=torch.float64)  # of each picture's place in its class, in (0, 1]
    for label in labels.unique().tolist():
        members = order[labels[order] == label]
        quantile[members] = torch.arange(1, len(members) + 1, dtype=torch.float64) / int(sizes[label])
    quantile[quantile == 1] = 2  # the last of each class stays
    first = order[quantile[order].argsort(stable=True)][:count]
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[first] = True
    return Subset(source, (~held).nonzero()[:, 0]), Subset(source, held.nonzero()[:, 0])


@checks_arguments
def with_classes(source: LabelledImageSource, class_names: Sequence[str], what: str) -> LabelledImageSource:
    """``source`` with its labels counted in ``class_names``, matched by name; not all of them need occur.

    Raises:
        DataError: if it has a class that is not among them.
    """
    names = tuple(class_names)
    if source.class_names == names:
        return source
    strange = [name for name in source.class_names if name not in names]
    if strange:
        shown = ", ".join(map(repr, strange[:5])) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
        raise DataError(
            f"{what} has classes that the model does not know: {shown}; expected some of its {len(names)}: "
            f"{', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''}."
        )
    position = torch.tensor([names.index(name) for name in source.class_names], dtype=torch.int64)
    return Subset(source, torch.arange(len(source)), labels=position[source.labels], class_names=names)


@checks_arguments
def overlap(train: ImageSource, test: ImageSource, *, progress: Callable[[int, int], None] | None = None) -> list[int]:
    """Positions in ``test`` whose picture, byte by byte once decoded, is in ``train`` too.

    Args:
        train, test: pictures of the same size.
        progress: called with (pictures read, pictures in all).
    """
    total = len(train) + len(test)
    seen: set[bytes] = set()
    found = []
    for source in (train, test):
        done = 0 if source is train else len(train)
        for start in range(0, len(source), _BLOCK):
            indices = torch.arange(start, min(start + _BLOCK, len(source)))
            pictures = (source.images(indices) * 255).round().to(torch.uint8).contiguous().numpy()
            digests = [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
            if source is train:
                seen.update(digests)
            else:
                found += [start + i for i, digest in enumerate(digests) if digest in seen]
            if progress is not None:
                progress(done + start + len(indices), total)
    return found
