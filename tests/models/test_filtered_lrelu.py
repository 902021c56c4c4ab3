"""The fast filtered leaky relu is the plain one, and its filters are low-pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disentangle.models.ops.filtered_lrelu import filtered_lrelu, filtered_lrelu_reference, low_pass

# up, down, taps of both (negative: not separable), padding
CASES = [
    (2, 2, 12, 12, (9, 8, 9, 8)),
    (4, 2, 24, 12, (-6, -9, -6, -9)),
    (2, 2, 12, 12, (-11, -12, -10, -13)),
    (2, 2, 12, 12, (15, 14, 13, 12)),
    (2, 2, 12, -12, (11, 10, 11, 10)),
    (2, 1, -6, 0, (3, 2, 1, 0)),
    (1, 2, 0, -12, (3, 3, 3, 3)),
    (1, 1, 0, 0, (0, 0, 0, 0)),
]


def taps(count: int, seed: int) -> torch.Tensor | None:
    random = torch.Generator().manual_seed(seed)
    shape = (count,) if count > 0 else (-count, -count)
    return torch.randn(shape, generator=random, dtype=torch.float64) if count else None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_its_reference(case, generator):
    up, down, up_taps, down_taps, padding = case
    x = torch.randn(2, 3, 34, 36, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    options = {"up": up, "down": down, "padding": padding, "clamp": 3.0}
    arguments = (x, taps(up_taps, 1), taps(down_taps, 2), bias)
    expected = filtered_lrelu_reference(*arguments, **options)
    torch.testing.assert_close(filtered_lrelu(*arguments, **options), expected, rtol=0, atol=1e-11)
    last = (
        *x.shape[:2],
        (up * 34 + padding[2] + padding[3] - abs(up_taps or 1) - abs(down_taps or 1) + 2 + down - 1) // down,
    )
    assert expected.shape[:3] == last


def test_derivatives(generator):
    x = torch.randn(1, 2, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    up, down = taps(4, 1), taps(4, 2)

    def function(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return filtered_lrelu(x, up, down, bias, up=2, down=2, padding=(3, 2, 3, 2))

    assert torch.autograd.gradcheck(function, (x, bias))


@pytest.mark.parametrize("radial", [False, True])
def test_filters_pass_low_frequencies_and_stop_high_ones(radial):
    kernel = low_pass(24, cutoff=4.0, width=4.0, rate=32.0, radial=radial)
    assert kernel.shape == ((24, 24) if radial else (24,))
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    row = kernel.double().numpy().sum(0) if radial else kernel.double().numpy()
    response = np.abs(np.fft.rfft(row, 1024))
    frequencies = np.fft.rfftfreq(1024, 1 / 32.0)
    assert response[frequencies < 1].min() > 0.95
    assert response[frequencies > 8].max() < 0.05
    assert low_pass(1, cutoff=1.0, width=1.0, rate=4.0) is None


def test_a_tone_that_the_grid_cannot_hold_does_not_come_back():
    """Clipping a sine makes harmonics; those above the grid's limit are taken out instead of aliased."""
    size, cycles = 64, 12  # the third harmonic, 36, lies above 32 and would come back at 28
    t = torch.arange(size, dtype=torch.float64) / size
    x = torch.sin(2 * torch.pi * cycles * t)[None, None, None].expand(1, 1, size, size).contiguous()
    up = low_pass(24, cutoff=24.0, width=16.0, rate=256.0).double()
    down = low_pass(24, cutoff=24.0, width=16.0, rate=256.0).double()
    clean = filtered_lrelu(x * 9, up, down, torch.zeros(1).double(), up=4, down=4, padding=(23, 23, 23, 23), clamp=1.0)
    plain = (torch.nn.functional.leaky_relu(9 * x, 0.2) * 2**0.5).clamp(-1, 1)

    def aliased(picture: torch.Tensor) -> float:
        row = picture[0, 0, picture.shape[2] // 2, :size]
        window = torch.hann_window(len(row), dtype=torch.float64)
        spectrum = torch.fft.rfft(row * window).abs()
        return float(spectrum[27:30].max() / spectrum.max())

    assert aliased(clean) < 0.2 * aliased(plain)
