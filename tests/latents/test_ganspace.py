"""Streaming moments, activations narrow and wide, and files of components that are not what they say."""

from __future__ import annotations

import importlib
import io
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import CheckpointError, InputError
from disentangle.latents import ganspace, read_ganspace
from disentangle.linalg.moments import Moments, leading_eigenpairs

MODULE = importlib.import_module("disentangle.latents.ganspace")  # whose name in the package is the function's


def test_moments_are_those_of_all_rows_however_they_are_cut():
    rows = 1e4 + torch.randn(300, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 8)
    expected = np.cov(rows.double().numpy().T)
    for cuts in ([300], [1, 299], [100, 100, 100], [7] * 42 + [6]):
        moments = Moments(7)
        for part in rows.split(cuts):
            moments.add(part)
        np.testing.assert_allclose(moments.covariance().numpy(), expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(moments.mean().numpy(), rows.double().numpy().mean(0), rtol=1e-14)


def test_axes_beyond_the_rank_are_refused():
    with pytest.raises(InputError, match="vary along 2 axes only"):
        leading_eigenpairs(torch.diag(torch.tensor([3.0, 0, 2, 0], dtype=torch.float64)), 3)
    with pytest.raises(InputError, match="NaN or infinity"):
        leading_eigenpairs(torch.full((2, 2), float("nan"), dtype=torch.float64), 1)


class Painted(nn.Module):
    """Pixels: a nonlinear function of four latents after a layer whose principal axes are not the latents'."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.first = nn.Linear(4, 12)
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(12, 4, generator=random) * torch.tensor([4.0, 2, 1, 0.5]))
            self.first.bias.copy_(torch.randn(12, generator=random))
        self.bent, self.still = nn.Tanh(), nn.Threshold(1e9, 0.3)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        y = self.bent(self.first(z) / 3)
        self.still(y)
        return y.reshape(len(z), 3, 2, 2)


@pytest.fixture
def painted():
    return disentangle.wrap(Painted(), z_dim=4)


def regressed(model, layer: str, samples: int, top: int) -> np.ndarray:
    """The published recipe, plainly: components, coordinates over their deviation, least squares of the latents."""
    z = model.sample_latents(samples, generator=torch.Generator().manual_seed(0)).double().numpy()
    features = model.module.first(torch.from_numpy(z).float()).detach()
    if layer.endswith("bent"):
        features = torch.tanh(features / 3)
    features = features.double().numpy()
    centred = features - features.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:top]
    coordinates = centred @ axes.T
    coordinates /= coordinates.std(0)
    solved = np.linalg.lstsq(coordinates, z, rcond=None)[0]
    return solved / np.linalg.norm(solved, axis=1, keepdims=True)


@pytest.mark.parametrize("layer", ["module.first", "module.bent"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_layers_axes_are_carried_back_to_the_latents(painted, layer, wide, monkeypatch):
    if wide:  # as if the features were too many for their covariance
        monkeypatch.setattr(MODULE, "_WIDE", 11)
        monkeypatch.setattr(MODULE, "_refuse_too_many", lambda samples, width: None)
    found = ganspace(painted, layer=layer, top=3, samples=400, batch=64)
    expected = regressed(painted, layer, 400, 3)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors.numpy() * expected, axis=1)), 1, atol=1e-5)
    z = painted.sample_latents(400, generator=torch.Generator().manual_seed(0)).double().numpy()
    np.testing.assert_allclose(found.scale.numpy(), (z @ expected.T).std(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(found.mean.numpy(), z.mean(0), atol=1e-6)


def test_a_layer_too_wide_for_so_many_samples_is_refused(painted, monkeypatch):
    monkeypatch.setattr(MODULE, "_WIDE", 11)
    with pytest.raises(InputError, match="400 samples of 12 features do not fit the memory; take at most 11 samples"):
        ganspace(painted, layer="module.first", top=3, samples=400)


def test_a_layer_that_never_changes_has_no_axes(painted):
    with pytest.raises(InputError, match="vary along 0 axes only"):
        ganspace(painted, layer="module.still", top=1, samples=50)


def test_hooks_are_removed_whatever_happens(painted):
    with pytest.raises(InputError):
        ganspace(painted, layer="module.still", top=1, samples=50)
    assert not any(module._forward_hooks for module in painted.modules())


def test_progress_counts_samples_and_nothing_is_random(painted):
    seen: list[tuple[int, int]] = []
    one = ganspace(painted, layer="module.bent", top=2, samples=100, batch=40, progress=lambda *n: seen.append(n))
    assert seen == [(40, 100), (80, 100), (100, 100)]
    torch.manual_seed(5)
    assert torch.equal(one.vectors, ganspace(painted, layer="module.bent", top=2, samples=100, batch=40).vectors)


def _archive(path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"act_comp": _npy(np.eye(3))}, "has no lat_comp"),
        ({"lat_comp": _npy(np.eye(3))}, "has no lat_stdev"),
        ({"lat_comp": _npy(np.eye(3)), "lat_stdev": _npy(np.ones(2))}, "scale of shape"),
        ({"lat_comp": _npy(np.eye(3)), "lat_stdev": _npy(np.ones(3)), "lat_mean": _npy(np.ones(4))}, "mean has shape"),
        ({"lat_comp": _npy(np.full((3, 3), np.nan)), "lat_stdev": _npy(np.ones(3))}, "NaN"),
        ({"lat_comp": _npy(np.eye(3)), "lat_stdev": _npy(np.full(3, np.inf))}, "scale holds NaN or infinity"),
        ({"lat_comp": _npy(np.array(["a"])), "lat_stdev": _npy(np.ones(3))}, "lat_comp is of <U1"),
        ({"lat_comp": _npy(np.eye(3) * 1j), "lat_stdev": _npy(np.ones(3))}, "lat_comp is of complex"),
        ({"lat_comp": _npy(np.array(3.0)), "lat_stdev": _npy(np.ones(3))}, "no readable"),
        ({"lat_comp": _npy(np.eye(3))[:100], "lat_stdev": _npy(np.ones(3))}, "no readable"),
        ({"lat_comp": b"not an array", "lat_stdev": _npy(np.ones(3))}, "no readable"),
        ({"lat_comp": _npy(np.eye(3)).replace(b"(3, 3)", b"(9**9)"), "lat_stdev": _npy(np.ones(3))}, "no readable"),
        (
            {"lat_comp": _npy(np.eye(3)).replace(b"(3, 3), }" + 9 * b" ", b"(999999999999,), }"),
             "lat_stdev": _npy(np.ones(3))},
            "no readable",
        ),
    ],
)  # fmt: skip
def test_files_that_hold_no_components(entries, message, tmp_path):
    _archive(tmp_path / "c.npz", entries)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_ganspace(tmp_path / "c.npz")
    assert "c.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html></html>", _npy(np.eye(3)), b"PK\x03\x04" + bytes(40)])
def test_files_that_are_no_archives(content, tmp_path):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"c\.npz is no readable \.npz file"):
        read_ganspace(tmp_path / "c.npz")
    with pytest.raises(CheckpointError, match="no readable"):
        read_ganspace(tmp_path)
