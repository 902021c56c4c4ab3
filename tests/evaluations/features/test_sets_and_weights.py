"""Sets of images from every source, extraction and its cache, and the rules of weight files."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from disentangle.data import Rooms
from disentangle.errors import CheckpointError, InputError
from disentangle.evaluations.features import (
    PROTOCOLS,
    array_images,
    data_images,
    extract_features,
    file_images,
    find_weights,
    generated_images,
    load_extractor,
)
from disentangle.evaluations.features import weights as weight_files
from disentangle.evaluations.features.extractors import Extractor
from disentangle.tensor_files import read_weights
from tests.processes import in_two_processes

RNG = np.random.default_rng(0)


class Means(nn.Module):
    """Mean colour and contrast: five features."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.mean((2, 3)), images.std((2, 3))[:, :2]], dim=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Mixed sizes, modes and sub-folders."""
    place = tmp_path / "images"
    (place / "sub").mkdir(parents=True)
    for name, mode, size in (("a.png", "RGB", (20, 30)), ("b.jpg", "L", (40, 40)), ("sub/c.png", "RGBA", (16, 16)),
                             ("d.png", "P", (8, 9)), ("e.png", "1", (12, 12))):  # fmt: skip
        array = RNG.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(array).convert(mode).save(place / name)
    (place / "notes.txt").write_text("no image")
    return place


def test_a_folder_of_mixed_images(folder: Path) -> None:
    images = file_images(folder)
    assert images.count == 5
    read = images.read(0, 5)
    assert [tuple(image.shape) for image in read] == [(3, 30, 20), (3, 40, 40), (3, 9, 8), (3, 12, 12), (3, 16, 16)]
    assert all(image.dtype == torch.uint8 for image in read)
    assert file_images(folder, most=2).count == 2
    assert file_images(folder).digest == images.digest
    (folder / "f.png").write_bytes((folder / "a.png").read_bytes())
    assert file_images(folder).digest != images.digest
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken.png cannot be read as an image"):
        file_images(folder).read(0, 7)


def test_a_zip_is_a_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    zipped, plain = file_images(tmp_path / "images.zip"), file_images(folder)
    assert zipped.digest == plain.digest
    for one, two in zip(zipped.read(0, 5), plain.read(0, 5), strict=True):
        torch.testing.assert_close(one, two)


def test_arrays_and_what_is_none(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (4, 10, 12, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", array)
    np.save(tmp_path / "b.npy", array)
    for path in (tmp_path / "a.npz", tmp_path / "b.npy"):
        torch.testing.assert_close(
            torch.stack(file_images(path).read(0, 4)), torch.from_numpy(array).permute(0, 3, 1, 2)
        )
    grey = array_images(array[..., 0])
    assert grey.notes == ("grey images, repeated to three channels",)
    assert tuple(grey.read(0, 1)[0].shape) == (3, 10, 12)
    floats = array_images(torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(floats.read(0, 4)[2], torch.from_numpy(array[2]).permute(2, 0, 1))
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for path, message in (
        (tmp_path / "empty", "holds no images"),
        (tmp_path / "absent", "is no folder, .zip or array"),
        (tmp_path / "other.npz", "has x; expected an array of images"),
        (tmp_path / "absent.npy", "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            file_images(path)
    for bad, message in ((array.astype(np.int64), "dtype torch.int64"), (array[..., :2], r"has shape \(4, 10, 12, 2\)"),
                         (array[:0], "one at least"), (array.astype(np.float32), r"images lie in \[")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            array_images(bad)


def test_data_sets_and_generators() -> None:
    rooms = data_images(Rooms(32), name="rooms", n=7, seed=1)
    assert rooms.count == 7
    assert tuple(rooms.read(2, 5)[0].shape) == (3, 32, 32)

    class Noise(nn.Module):
        def sample_latents(self, n: int, *, space: str | None = None, truncation: float = 1.0, generator: Any = None):
            return torch.rand(n, 3, generator=generator)

        def forward(self, latents: torch.Tensor, *, space: str | None = None) -> torch.Tensor:
            return (2 * latents - 1)[:, :, None, None].expand(-1, -1, 4, 4) * self.scale

        scale = 1.0

    generator = Noise()
    images = generated_images(generator, 9, seed=3)
    torch.testing.assert_close(images.read(4, 6)[0], images.read(0, 9)[4])  # the same image in any part
    generator.scale = 255.0
    with pytest.raises(InputError, match=r"expected \[-1, 1\], as generators return"):
        images.read(0, 3)


def test_features_of_all_sizes_do_not_depend_on_the_batch(folder: Path) -> None:
    extractor = load_extractor(Means(), size=16)
    for protocol in PROTOCOLS.values():
        one, many = (
            extract_features(file_images(folder), extractor, protocol, batch=batch)["features"] for batch in (1, 4)
        )
        assert one.shape == (5, 5)
        np.testing.assert_allclose(one, many, atol=1e-5)
    with pytest.raises(InputError, match="has no classes, which the Inception score needs"):
        extract_features(file_images(folder), extractor, protocol, logits=True)

    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2, 3)) / 0

    with pytest.raises(InputError, match=r"the extractor Broken returned features of shape \(5,\) for 5 images"):
        extract_features(file_images(folder), load_extractor(Broken(), size=8), protocol)


def test_the_cache_follows_the_content(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runs: list[int] = []

    def features(images: torch.Tensor) -> torch.Tensor:
        runs.append(len(images))
        return images.mean((2, 3))

    extractor = Extractor("counted", 8, features, sha256="00")
    first = extract_features(file_images(folder), extractor, PROTOCOLS["clean"])
    again = extract_features(file_images(folder), extractor, PROTOCOLS["clean"])
    np.testing.assert_array_equal(first["features"], again["features"])
    assert sum(runs) == 5
    extract_features(file_images(folder), extractor, PROTOCOLS["tf1"])
    assert sum(runs) == 10  # another protocol
    Image.new("RGB", (5, 5), "red").save(folder / "a.png")
    changed = extract_features(file_images(folder), extractor, PROTOCOLS["clean"])
    assert sum(runs) == 15  # another content under the same name
    assert not np.array_equal(changed["features"], first["features"])
    extract_features(file_images(folder), Extractor("counted", 8, features), PROTOCOLS["clean"])
    assert sum(runs) == 20  # no hash, no cache


def share_of_the_work(rank: int, folder: str, out: str) -> None:
    extractor = load_extractor(Means(), size=16)
    found = extract_features(file_images(folder), extractor, PROTOCOLS["clean"], batch=2)["features"]
    np.save(f"{out}-{rank}.npy", found)


def test_processes_share_the_work_and_get_the_same(folder: Path, tmp_path: Path) -> None:
    in_two_processes(share_of_the_work, tmp_path, str(folder), str(tmp_path / "part"))
    alone = extract_features(file_images(folder), load_extractor(Means(), size=16), PROTOCOLS["clean"])["features"]
    for rank in range(2):
        np.testing.assert_allclose(np.load(f"{tmp_path / 'part'}-{rank}.npy"), alone, atol=1e-6)


# ------------------------------------------------------------------------------------------------------ weights


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights of the user's are seen."""
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("DISENTANGLE_WEIGHTS", raising=False)
    return tmp_path


def test_missing_weights_say_everything(nowhere: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_extractor("inception")
    message = str(caught.value)
    for part in ("pt_inception-2015-12-05-6726825d.pth", "https://", "95,628,359 bytes", "6726825d0af5", "offline"):
        assert part in message
    assert message.count(". ") == 0  # one sentence
    with pytest.raises(InputError, match="Unknown extractor 'inseption'; did you mean 'inception'"):
        load_extractor("inseption")
    with pytest.raises(InputError, match="does not exist; expected pt_inception"):
        load_extractor("inception", weights=nowhere / "absent.pth")


def test_the_order_of_places_and_the_hash(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    file = weight_files.WeightFile(
        "test", ("t.pth",), "", hashlib.sha256(content).hexdigest(), alternative="do without"
    )
    monkeypatch.setitem(weight_files.FILES, "test", file)
    places = [
        nowhere / "XDG_CACHE_HOME" / "disentangle" / "weights" / "t.pth",
        nowhere / "TORCH_HOME" / "hub" / "checkpoints" / "t.pth",
        nowhere / "named" / "t.pth",
        nowhere / "given.pth",
    ]
    monkeypatch.setenv("DISENTANGLE_WEIGHTS", str(nowhere / "named"))
    for place in places:  # each is preferred to those before it
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        assert find_weights("test", path=place if place.name == "given.pth" else None) == place
    places[2].write_bytes(b"other")
    with pytest.raises(CheckpointError, match="it is damaged, or another file of that name"):
        find_weights("test")


def test_nothing_unsafe_is_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name in ("w.pth", "w.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no plain set of weights"):
        read_weights(tmp_path / "list.pth")
    assert not (tmp_path / "ran").exists()


def test_random_weights_are_named_so() -> None:
    extractor = load_extractor("efficientnet-lite0", random=True)
    assert extractor.name == "random-efficientnet-lite0"
    assert extractor.sha256 == ""
    assert not extractor.has_published_weights
    assert extractor.features(torch.zeros(1, 3, 224, 224)).shape == (1, 1280)
