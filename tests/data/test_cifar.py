"""CIFAR's binary version, from small files written here, and the pickled one, which is never opened."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disentangle.data import CIFAR10, CIFAR100, LabelledImageSource, list_data, open_data
from disentangle.errors import DataError, InputError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any data."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DISENTANGLE_DATA", raising=False)


def write_ten(folder: Path, each: int = 3, seed: int = 0) -> np.ndarray:
    """All six files; returns the training records (n, 3073)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (each, 3073), np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / name)
        written.append(records)
    return np.concatenate(written[:5])


def write_hundred(folder: Path, n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("test.bin", "train.bin"):
        records = rng.integers(0, 256, (n, 3074), np.uint8)
        records[:, 0] %= 20
        records[:, 1] %= 100
        records.tofile(folder / name)
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)) + "\n\n")
    return records


def test_pictures_and_labels_are_the_files(tmp_path: Path) -> None:
    records = write_ten(tmp_path / "cifar-10-batches-bin")
    data = CIFAR10(data_dir=tmp_path)
    assert isinstance(data, LabelledImageSource)
    assert len(data) == 15
    assert data.labels.tolist() == records[:, 0].tolist()
    images = data.images(torch.tensor([14, 0]))
    # byte 1 + 1024 channel + 32 row + column of a record is that pixel
    assert round(float(images[0, 2, 5, 9]) * 255) == records[14, 1 + 2 * 1024 + 5 * 32 + 9]
    assert torch.equal((images[1] * 255).round().to(torch.uint8).flatten(), torch.from_numpy(records[0, 1:]))
    assert data.class_names[8] == "ship"
    assert len(CIFAR10("test", data_dir=tmp_path / "cifar-10-batches-bin")) == 3
    (tmp_path / "cifar-10-batches-bin" / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert CIFAR10(data_dir=tmp_path).class_names == tuple("abcdefghij")


def test_fine_and_coarse_classes(tmp_path: Path) -> None:
    records = write_hundred(tmp_path / "cifar-100-binary")
    fine, coarse = CIFAR100(data_dir=tmp_path), CIFAR100(data_dir=tmp_path, classes="coarse")
    assert fine.labels.tolist() == records[:, 1].tolist()
    assert coarse.labels.tolist() == records[:, 0].tolist()
    assert (len(fine.class_names), len(coarse.class_names)) == (100, 20)
    picture = fine.images(torch.tensor([2]))
    assert round(float(picture[0, 1, 31, 0]) * 255) == records[2, 2 + 1024 + 31 * 32]


def test_larger_pictures_are_resized(tmp_path: Path) -> None:
    write_ten(tmp_path)
    data = open_data("cifar10", resolution=48, data_dir=tmp_path)
    assert data.image_shape == (3, 48, 48)
    small = CIFAR10(data_dir=tmp_path).images(torch.tensor([1]))
    expected = F.interpolate(small, (48, 48), mode="bilinear", antialias=True).clamp(0, 1)
    assert torch.equal(data.images(torch.tensor([1])), expected)
    with pytest.raises(InputError, match="resolution is 28; CIFAR-10 has pictures of 32x32"):
        CIFAR10(resolution=28, data_dir=tmp_path)


def test_by_name_by_folder_and_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ten(tmp_path / "cifar-10-batches-bin")
    write_hundred(tmp_path / "cifar-100-binary")
    monkeypatch.setenv("DISENTANGLE_DATA", str(tmp_path))
    assert isinstance(open_data("cifar-10"), CIFAR10)
    assert isinstance(open_data("CIFAR100", split="test", classes="coarse"), CIFAR100)
    assert isinstance(open_data(tmp_path / "cifar-100-binary"), CIFAR100)
    assert len(open_data(tmp_path / "cifar-10-batches-bin", split="test")) == 3
    info = {entry.name: entry for entry in list_data()}
    assert info["cifar10"].available
    assert str(tmp_path / "cifar-100-binary") in info["cifar100"].note


class Bomb:
    opened = False

    def __reduce__(self):
        return (setattr, (Bomb, "opened", True))


@pytest.mark.parametrize("given", ["around", "itself", "as a path"])
def test_pickles_are_never_opened(tmp_path: Path, given: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    message = "is the pickled version of CIFAR-10, which can run code .* binary version cifar-10-binary.tar.gz"
    name, place = {"around": ("cifar10", tmp_path), "itself": ("cifar10", folder), "as a path": (folder, None)}[given]
    with pytest.raises(DataError, match=message):
        open_data(name, data_dir=place)
    assert not Bomb.opened
    hundred = tmp_path / "cifar-100-python"
    hundred.mkdir()
    (hundred / "train").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="is the pickled version of CIFAR-100"):
        open_data(hundred)
    assert not Bomb.opened


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CIFAR-10 was not found: looked for data_batch_1.bin in .* \(--data-dir\)"):
        CIFAR10()
    write_ten(tmp_path)
    with pytest.raises(InputError, match="split of CIFAR-10 'validation'"):
        CIFAR10("validation", data_dir=tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(b"x" * 3000)
    with pytest.raises(DataError, match=r"data_batch_3.bin holds 3000 bytes; expected records of 3073"):
        CIFAR10(data_dir=tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match="lacks data_batch_3.bin"):
        CIFAR10(data_dir=tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes([11]) + b"\0" * 3072)
    with pytest.raises(DataError, match="holds the label 11; expected labels from 0 to 9"):
        CIFAR10("test", data_dir=tmp_path)
    write_hundred(tmp_path / "hundred")
    (tmp_path / "hundred" / "fine_label_names.txt").unlink()
    with pytest.raises(DataError, match="fine_label_names.txt holds 0 names; expected 100"):
        CIFAR100(data_dir=tmp_path / "hundred")
    with pytest.raises(InputError, match="value of classes 'corse'; did you mean 'coarse'"):
        CIFAR100(data_dir=tmp_path / "hundred", classes="corse")
