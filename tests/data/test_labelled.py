"""Parts of labelled sets: which pictures are held out, matching classes by name, finding shared pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle.data import ImageFolder, Subset, check_classes, hold_out, open_data, overlap, with_classes
from disentangle.errors import DataError, InputError


class Source:
    """Pictures of random numbers."""

    def __init__(self, labels: list[int], names: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> None:
        self.labels, self.class_names = torch.tensor(labels), names
        self.pictures = torch.rand(len(labels), 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        self.image_shape = (1, 4, 4)

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        return self.pictures[indices]


def write(folder: Path, classes: dict[str, int], seed: int = 0) -> Path:
    """A folder of 8x8 colour pictures, so many for each class."""
    rng = np.random.default_rng(seed)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name / f"{index}.png")
    return folder


def test_hold_out_divides_each_class_in_proportion():
    source = Source([0] * 50 + [1] * 30 + [2] * 20)
    kept, held = hold_out(source, 10)
    assert sorted([*kept.indices.tolist(), *held.indices.tolist()]) == list(range(100))
    assert torch.bincount(held.labels).tolist() == [5, 3, 2]
    assert held.labels.tolist() == source.labels[held.indices].tolist()
    assert torch.equal(held.images(torch.tensor([3])), source.pictures[held.indices[3:4]])
    again = hold_out(Source([0] * 50 + [1] * 30 + [2] * 20, seed=9), 10)[1]
    assert torch.equal(again.indices, held.indices)  # a function of the labels alone


def test_hold_out_leaves_each_class_one():
    source = Source([0, 0, 1, 1, 1, 2])
    kept, held = hold_out(source, 3)
    assert set(kept.labels.tolist()) == {0, 1, 2}
    assert len(held) == 3
    for count in (0, 4, -1):
        with pytest.raises(InputError, match=rf"validation is {count}; expected 1 to 3"):
            hold_out(source, count)


def test_classes_are_matched_by_name():
    source = Source([0, 1, 2, 1], names=("dog", "cat", "emu"))
    matched = with_classes(source, ("ant", "cat", "dog", "emu"), "the test set")
    assert matched.labels.tolist() == [2, 1, 3, 1]
    assert matched.class_names == ("ant", "cat", "dog", "emu")
    assert torch.equal(matched.images(torch.tensor([2])), source.pictures[2:3])
    assert with_classes(source, ("dog", "cat", "emu"), "x") is source
    with pytest.raises(DataError, match="the test set has classes that the model does not know: 'emu'"):
        with_classes(source, ("cat", "dog"), "the test set")


def test_overlap_is_found_by_content():
    train, test = Source([0, 1, 2, 0]), Source([0, 1, 2], seed=1)
    assert overlap(train, test) == []
    test.pictures[2] = train.pictures[1]
    test.pictures[0] = train.pictures[3]
    seen: list[tuple[int, int]] = []
    assert overlap(train, test, progress=lambda done, total: seen.append((done, total))) == [0, 2]
    assert seen == [(4, 7), (7, 7)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source([0, 0, 1, 1, 2], ("a", "b", "c")), r"fewer than two pictures: 'c' \(1\); add pictures"),
        (Source([0, 0, 1, 1], ("a", "b", "c")), r"fewer than two pictures: 'c' \(0\)"),
        (Source([0, 0, 3, 3]), "labels from 0 to 3; expected 0 to 2"),
        (Source([0, -1]), "labels from -1 to 0"),
        (Source([0, 0], ("a",)), "a single class, 'a'"),
        (Source([]), "holds no pictures"),
        (open_data("rooms", resolution=32), "has no classes to learn"),
    ],
)
def test_what_a_classifier_cannot_learn_from(source, message: str):
    with pytest.raises(DataError, match=f"the set .*{message}"):
        check_classes(source, "the set")


def test_a_rare_class_may_be_tested():
    source = Source([0, 0, 1])
    assert check_classes(source, "the set", training=False) is source


def test_parts_of_a_folder(tmp_path: Path):
    root = tmp_path / "pets"
    write(root / "train", {"cat": 3, "dog": 2})
    write(root / "val", {"cat": 1, "dog": 1}, seed=1)
    train = open_data(root, resolution=8)
    assert isinstance(train, ImageFolder)
    assert train.class_names == ("cat", "dog")
    assert len(train) == 5
    for name in ("val", "validation"):
        assert len(open_data(root, resolution=8, split=name)) == 2
    with pytest.raises(InputError, match="has no split 'test'; its parts are 'train' and 'validation'"):
        open_data(root, resolution=8, split="test")
    # a folder called train beside other classes is a class
    classes = write(tmp_path / "vehicles", {"train": 2, "tram": 2})
    assert open_data(classes, resolution=8).class_names == ("train", "tram")


def test_subset_checks_positions():
    with pytest.raises(InputError, match="positions 0 to 1"):
        Subset(Source([0, 1]), torch.tensor([2]))
