"""Fashion-MNIST: small idx files written here, and the real ones where they are installed."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disentangle.data import fashion_mnist
from disentangle.data.fashion_mnist import DEBIAN_FOLDER, FashionMNIST
from disentangle.errors import DataError, InputError

PREFIX = {"train": "train", "test": "t10k"}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, split: str = "train", n: int = 6, *, compress: bool = True, seed: int = 0) -> np.ndarray:
    """The two files of a split; returns the pictures."""
    pictures = np.random.default_rng(seed).integers(0, 256, (n, 28, 28), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3-ubyte", pictures), ("labels-idx1-ubyte", np.arange(n) % 10)):
        data = idx(array)
        name = f"{PREFIX[split]}-{kind}"
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return pictures


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any data: an empty home, no environment variable, no Debian package."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DISENTANGLE_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    return tmp_path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_pictures_and_labels_are_the_files(tmp_path: Path, split: str, compress: bool) -> None:
    pictures = write(tmp_path / "here", split, compress=compress)
    data = FashionMNIST(split, data_dir=tmp_path / "here")
    assert len(data) == 6
    assert data.image_shape == (1, 28, 28)
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.labels.dtype == torch.int64
    assert data.class_names[9] == "Ankle boot"
    images = data.images(torch.tensor([4, 0, 4]))
    assert images.dtype == torch.float32
    assert torch.equal((images * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(pictures[[4, 0, 4]]))


def test_padding_keeps_every_pixel(tmp_path: Path) -> None:
    write(tmp_path / "here")
    every = torch.arange(6)
    plain = FashionMNIST(data_dir=tmp_path / "here").images(every)
    padded = FashionMNIST(resolution=32, data_dir=tmp_path / "here").images(every)
    assert padded.shape == (6, 1, 32, 32)
    assert torch.equal(padded[:, :, 2:-2, 2:-2], plain)
    assert padded.count_nonzero() == plain.count_nonzero()  # the border is black


@pytest.mark.parametrize("resolution", [33, 64, 100])
def test_enlarged_pictures_are_the_padded_ones_resized(tmp_path: Path, resolution: int) -> None:
    write(tmp_path / "here")
    padded = FashionMNIST(resolution=32, data_dir=tmp_path / "here").images(torch.arange(6))
    large = FashionMNIST(resolution=resolution, data_dir=tmp_path / "here").images(torch.arange(6))
    assert large.shape == (6, 1, resolution, resolution)
    assert large.min() >= 0
    assert large.max() <= 1
    expected = F.interpolate(padded, (resolution, resolution), mode="bilinear", antialias=True)
    torch.testing.assert_close(large, expected)


def test_no_indices_give_no_pictures(tmp_path: Path) -> None:
    write(tmp_path / "here")
    assert FashionMNIST(resolution=64, data_dir=tmp_path / "here").images(torch.tensor([])).shape == (0, 1, 64, 64)


def test_the_places_are_searched_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, environment, debian = nowhere / "given", nowhere / "environment", nowhere / "debian"
    layouts = [
        nowhere / "home/.cache/disentangle/data/FashionMNIST/raw",
        nowhere / "home/.cache/disentangle/data/fashion-mnist",
        environment / "FashionMNIST/raw",
        given / "FashionMNIST/raw",
        debian,
        environment,
        given,
    ]
    given.mkdir()
    monkeypatch.setenv("DISENTANGLE_DATA", str(environment))
    for folder in layouts:  # from the last place to the first: each new one must win
        write(folder)
        assert FashionMNIST(data_dir=given).folder == folder


def test_not_found_names_the_places_and_the_remedies(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "given").mkdir()
    monkeypatch.setenv("DISENTANGLE_DATA", str(nowhere / "environment"))
    with pytest.raises(DataError) as caught:
        FashionMNIST(data_dir=nowhere / "given")
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte.gz",
        str(nowhere / "given"),
        str(nowhere / "environment"),
        str(nowhere / "debian"),
        str(nowhere / "home"),
        "apt-get install dataset-fashion-mnist",
        "--data-dir",
        "DISENTANGLE_DATA",
        "download=True",
        "--download",
    ):
        assert part in message
    assert message.count(". ") == 0  # one sentence
    with pytest.raises(DataError, match="t10k-images"):
        FashionMNIST("test")


def test_nothing_is_downloaded_unless_asked(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    calls: list[tuple[str, bool]] = []

    def downloader(root: str, download: bool) -> None:
        calls.append((root, download))
        write(Path(root) / "FashionMNIST/raw")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", downloader)
    with pytest.raises(DataError):
        FashionMNIST()
    assert calls == []
    data = FashionMNIST(download=True)
    assert calls == [(str(nowhere / "home/.cache/disentangle/data"), True)]
    assert len(data) == 6
    FashionMNIST(download=True)  # found now
    assert len(calls) == 1


def test_a_failed_download_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def downloader(root: str, download: bool) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", downloader)
    with pytest.raises(DataError, match=r"could not be downloaded into .*no route to host.*apt-get"):
        FashionMNIST(download=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "training"}, "split of Fashion-MNIST 'training'; did you mean 'train'"),
        ({"resolution": 30}, "resolution is 30; .* 28, at 32"),
        ({"resolution": 16}, "resolution is 16"),
        ({"resolution": 0}, "resolution is 0"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    write(tmp_path / "here")
    with pytest.raises(InputError, match=message):
        FashionMNIST(data_dir=tmp_path / "here", **arguments)


def test_a_data_dir_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*typo.*--data-dir"):
        FashionMNIST(data_dir=tmp_path / "typo")


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 6]), "positions 0 to 5"),
        (torch.tensor([-1]), r"\[-1, -1\]"),
        (torch.tensor([0.0]), "torch.float32"),
        (torch.ones(6, dtype=torch.bool), "torch.bool"),
        (torch.zeros(1, 1, dtype=torch.int64), r"shape \(1, 1\)"),
    ],
)
def test_wrong_indices(tmp_path: Path, indices: torch.Tensor, message: str) -> None:
    write(tmp_path / "here")
    with pytest.raises(InputError, match=message):
        FashionMNIST(data_dir=tmp_path / "here").images(indices)


PICTURES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
RIGHT = np.zeros((6, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (PICTURES, idx(RIGHT)[:-1], "announces 6 x 28 x 28 = 4704 bytes and holds 4703 bytes; .*28x28"),
        (PICTURES, idx(RIGHT) + b"!", "holds more"),
        (PICTURES, idx(RIGHT)[:7], "starts with the bytes"),
        (PICTURES, b"", "starts with the bytes ''"),
        (
            PICTURES,
            b"\x89PNG" + idx(RIGHT),
            "starts with the bytes '89 50 4e 47'; expected an idx file of 3 dimensions",
        ),
        (PICTURES, idx(RIGHT[:, 0]), "expected an idx file of 3 dimensions with pictures of 28x28 bytes"),
        (PICTURES, idx(np.zeros((6, 32, 32))), "pictures of 32x32; expected 28x28"),
        (PICTURES, idx(RIGHT[:0]), "holds no pictures"),
        (PICTURES, struct.pack(">4B3I", 0, 0, 8, 3, 4_000_000_000, 28, 28), "holds 0 bytes"),
        (LABELS, idx(RIGHT), "expected an idx file of 1 dimension with a label from 0 to 9"),
        (LABELS, idx(np.zeros(5)), "holds 5 labels; expected 6"),
        (LABELS, idx(np.full(6, 10)), "holds the label 10; expected labels from 0 to 9"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_wrong_files(tmp_path: Path, name: str, data: bytes, message: str, compress: bool) -> None:
    folder = tmp_path / "here"
    write(folder, compress=compress)
    path = folder / f"{name}.gz" if compress else folder / name
    path.write_bytes(gzip.compress(data) if compress else data)
    with pytest.raises(DataError, match=message) as caught:
        FashionMNIST(data_dir=folder)
    assert str(path) in str(caught.value)


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    write(tmp_path / "here")
    path = tmp_path / "here" / f"{PICTURES}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{PICTURES}.gz cannot be read .*pictures of 28x28 bytes: fetch"):
        FashionMNIST(data_dir=tmp_path / "here")


def test_a_missing_half(tmp_path: Path) -> None:
    write(tmp_path / "here")
    (tmp_path / "here" / f"{LABELS}.gz").unlink()
    with pytest.raises(DataError, match=f"lacks {LABELS}.gz"):
        FashionMNIST(data_dir=tmp_path / "here")


installed = pytest.mark.skipif(
    not (DEBIAN_FOLDER / "t10k-images-idx3-ubyte.gz").exists(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)


@installed
def test_the_real_files_as_torchvision_reads_them(tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST as Reference

    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (raw / f"train-{kind}").touch()  # torchvision wants all four to be there
        with gzip.open(DEBIAN_FOLDER / f"t10k-{kind}.gz") as packed, (raw / f"t10k-{kind}").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    reference = Reference(str(tmp_path), train=False)
    data = FashionMNIST("test", data_dir=DEBIAN_FOLDER)
    assert len(data) == 10_000
    assert torch.equal(data.labels, reference.targets)
    assert torch.equal((data.images(torch.arange(10_000)) * 255).round().to(torch.uint8)[:, 0], reference.data)
    assert data.class_names == tuple(reference.classes)


@installed
def test_the_real_training_set() -> None:
    data = FashionMNIST("train", resolution=32, data_dir=DEBIAN_FOLDER)
    assert len(data) == 60_000
    assert data.labels.bincount().tolist() == [6000] * 10
    # The mean and deviation that the data set is usually normalised by, 0.2860 and 0.3530 over the 28x28 pixels.
    pixels = data.images(torch.arange(60_000))[:, :, 2:-2, 2:-2]
    assert pixels.mean().item() == pytest.approx(0.2860, abs=1e-4)
    assert pixels.std().item() == pytest.approx(0.3530, abs=1e-4)
