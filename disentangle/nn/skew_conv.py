"""SOC, skew orthogonal convolution: a convolution whose operator is orthogonal, as the exponential of a skew one.

Let ``A`` be the operator of a convolution with "same" zero (or circular) padding and filter ``L`` (c, c, kh, kw). Its
transpose is the convolution with channels swapped and both axes flipped, so ``L = (M - M^T) / 2`` makes A
skew-symmetric and ``exp(A)`` orthogonal. The exponential acts on a picture by its series,

    exp(A) x = x + A x + A^2 x / 2! + ... + A^k x / k! + error,     ||error|| <= ||A||^(k+1) / (k+1)! ||x||,

one convolution a term. (The bound is Taylor's for exp(i t): the eigenvalues of A are imaginary.)

The norm of A is bounded as follows. Circular convolution is block diagonal in the Fourier basis, with one block
``K(u, v) = sum_pq L[:, :, p, q] a_p b_q`` a frequency and phases ``|a_p| = |b_q| = 1``. With ``L`` unfolded to a matrix
in one of four ways, the block is a product whose outer factors hold the phases:

    T (c, c kh kw)       K = T (a b^T (x) I)            ||K|| <= sqrt(kh kw) ||T||
    U (c kh kw, c)       K = (a b^T (x) I)^T U          ||K|| <= sqrt(kh kw) ||U||
    R (c kh, c kw)       K = (a (x) I)^T R (b (x) I)    ||K|| <= sqrt(kh) sqrt(kw) ||R||
    S (c kw, c kh)       K = (b (x) I)^T S (a (x) I)    ||K|| <= sqrt(kw) sqrt(kh) ||S||

so ``||A|| <= sqrt(kh kw) min(||R||, ||S||, ||T||, ||U||)``; without the factor, as it is released, the minimum is no
bound. Zero padding is a compression of circular convolution on a larger picture, so the bound holds there too. For a
skew filter ``||U|| = ||T||`` and ``||S|| = ||R||``: transposing permutes their rows and columns and changes the sign.

The layer takes Schatten norms of high order in place of the two spectral norms: 2 to 3% above them at most, smooth, and
made of a few products by squaring. The published power iteration, carried from step to step, lies below them: where
steps are long it follows one singular vector while training inflates another, and the two spectral norms were seen at
1.1 to 1.8 times what it reported. Nothing has to be remembered either: training and evaluation are one function.

Source: Singla and Feizi, "Skew Orthogonal Convolutions", ICML 2021; the four matrices are those of Singla and Feizi,
"Fantastic Four: Differentiable and Efficient Bounds on Singular Values of Convolution Layers", ICLR 2021; the norm by
squaring is that of Delattre et al., "Efficient Bound of Lipschitz Constant for Convolutional Layers by Gram Iteration",
ICML 2023.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disentangle.errors import InputError
from disentangle.linalg.differentiable import autocast_off

__all__ = ["SkewConv2d", "convolution_exponential", "convolution_norm_bound", "skew_filter"]

PaddingMode = Literal["zeros", "circular"]

# G = M M^T is squared so often: the Schatten norm of order 4 * 2^6 = 256, at most rank^(1/256) times the spectral norm.
_SQUARINGS = 6
_HALF = (torch.float16, torch.bfloat16)


def skew_filter(M: Tensor) -> Tensor:
    """``(M - M^T) / 2`` of a filter (c, c, kh, kw), odd kh and kw: the transpose swaps channels and flips both axes."""
    return 0.5 * (M - M.transpose(0, 1).flip(-2, -1))


def convolution_norm_bound(kernel: Tensor) -> Tensor:
    """Upper bound of the spectral norm of a "same" convolution with filter (out, in, kh, kw), 0-d; see the module.

    Exact singular values, for any filter. It is met by a filter that is constant over its window.
    """
    unfolded = (
        kernel.flatten(1),
        kernel.permute(0, 2, 3, 1).flatten(0, 2),
        _square(kernel),
        _square(kernel.transpose(-2, -1)),
    )
    norms = torch.stack([torch.linalg.matrix_norm(matrix, ord=2) for matrix in unfolded])
    return math.sqrt(kernel.shape[-2] * kernel.shape[-1]) * norms.amin()


def _square(kernel: Tensor) -> Tensor:
    """R (out kh, in kw) of a filter (out, in, kh, kw)."""
    return kernel.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def _spectral_bound(matrix: Tensor) -> Tensor:
    """``(sum s_i^256)^(1/256)`` over the singular values of a matrix whose largest entry is near 1; 0-d."""
    gram = matrix @ matrix.mT
    logarithm, power = torch.zeros((), dtype=gram.dtype, device=gram.device), 1
    for _ in range(_SQUARINGS):
        size = _size(gram)  # divided out and added up as a logarithm: the power itself would leave the range
        logarithm = logarithm + size.log() / power
        gram, power = (gram / size) @ (gram / size), 2 * power
    return (0.5 * (logarithm + _size(gram).log() / power)).exp()


def _size(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix).clamp(min=torch.finfo(matrix.dtype).tiny)


def convolution_exponential(
    x: Tensor, kernel: Tensor, *, terms: int, out_channels: int | None = None, padding_mode: PaddingMode = "zeros"
) -> Tensor:
    """Exponential of a convolution applied to pictures, by the first ``terms`` terms after the identity.

    Args:
        x: (..., in, h, w) with at most one leading dimension; channels that the kernel has and x lacks are zero.
        kernel: (c, c, kh, kw), odd kh and kw.
        terms: number of convolutions; see the module for the error.
        out_channels: the first so many channels are returned; all c by default.

    Returns:
        (..., out_channels, h, w).
    """
    channels, given = kernel.shape[0], x.shape[-3]
    kept = channels if out_channels is None else out_channels
    total = F.pad(x, (0, 0, 0, 0, 0, kept - given)) if kept > given else x[..., :kept, :, :]
    term = x
    for k in range(1, terms + 1):
        # Channels that are zero before the first product or not asked for after the last are left out of it.
        rows = kept if k == terms else channels
        term = _convolve(term, kernel[:rows, : term.shape[-3]] / k, padding_mode)
        total = total + term[..., :kept, :, :]
    return total


def _convolve(x: Tensor, kernel: Tensor, padding_mode: PaddingMode) -> Tensor:
    above, left = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    if padding_mode == "zeros":
        return F.conv2d(x, kernel, padding=(above, left))
    return F.conv2d(F.pad(x, (left, left, above, above), mode="circular"), kernel)


class SkewConv2d(nn.Module):
    """Orthogonal convolution in the place of ``nn.Conv2d``: ``exp(A) x + bias`` with a skew-symmetric A.

    The filter is ``norm / bound * skew_filter(weight)``, with the bound of the module's description, so that
    ``||A|| <= norm`` whatever the weight; only its direction counts, and the layer's gradient shrinks as it grows.

    With c = max(in_channels * stride^2, out_channels), a picture passes

    1. for a stride, space to depth: blocks of stride x stride pixels become channels (zeros complete odd sizes),
    2. zero channels up to c,
    3. the orthogonal map exp(A) on c channels,
    4. a cut to the first out_channels.

    So the layer *keeps every norm* (``J^T J = I``) where ``out_channels >= in_channels * stride^2``, has *orthonormal
    rows* (``J J^T = I``, and is 1-Lipschitz) where it is smaller, and is orthogonal where they are equal, up to the
    error of the series; J is the matrix of the whole layer without bias. (With zeros completing odd sizes the
    second case is 1-Lipschitz only.) Memory and time are those of ``terms`` convolutions on c channels.

    Args:
        in_channels, out_channels, kernel_size, stride, bias: as for ``nn.Conv2d``; odd kernels, equal strides.
        padding: None or half the kernel, the only padding with which the map can be orthogonal.
        terms: terms of the series after the identity, in training and evaluation alike (the authors' code has 5 in
            training and 12 in evaluation). :attr:`error_bound` is the largest relative error; it is rarely met, since
            the norm's bound is 1.6 times the norm for random filters.
        norm: what the bound of ``||A||`` is scaled to: the largest angle, in radians, by which the map can turn a
            picture. 2.1 is the scale 0.7 of the paper's code for 3x3 filters with the missing factor 3.
        padding_mode: ``"zeros"`` or ``"circular"``.

    Attributes:
        weight: (c, c, kh, kw), the raw filter M: what a treatment of this layer's weight acts on.

    Raises:
        InputError: if the kernel is even, padding or stride do not fit, or terms or norm are out of range; in
            ``forward``, if the input has other channels.

    >>> layer = SkewConv2d(3, 12, 3, stride=2, bias=False)
    >>> layer(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 12, 4, 4])
    >>> bool((layer(torch.ones(1, 3, 8, 8)).norm() - 192**0.5).abs() < 1e-3)
    True
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        bias: bool = True,
        *,
        terms: int = 10,
        norm: float = 2.1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        height, width = _pair(kernel_size)
        rows, columns = _pair(stride)
        if height % 2 == 0 or width % 2 == 0 or min(height, width) < 1:
            raise InputError(f"kernel_size is {kernel_size}; expected odd sizes, about whose middle a filter is skew.")
        if rows != columns or rows < 1:
            raise InputError(f"stride is {stride}; expected one number of 1 or more for both axes.")
        if padding is not None and _pair(padding) != (height // 2, width // 2):
            raise InputError(
                f"padding is {padding}; expected None or half the kernel {(height // 2, width // 2)}, "
                "since an orthogonal map keeps the size of its picture."
            )
        if padding_mode not in ("zeros", "circular"):
            raise InputError(f"padding_mode is {padding_mode!r}; expected 'zeros' or 'circular'.")
        if in_channels < 1 or out_channels < 1:
            raise InputError(f"in_channels is {in_channels} and out_channels {out_channels}; expected 1 or more.")
        if terms < 1 or not (norm > 0 and math.isfinite(norm)):
            raise InputError(f"terms is {terms} and norm {norm}; expected 1 term or more and a norm above 0.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = (height, width), rows
        self.terms, self.norm, self.padding_mode = terms, norm, padding_mode
        channels = max(in_channels * rows**2, out_channels)
        # The scale of the raw filter does not change the layer, only how far a step of given length turns it: this is
        # the scale of an ordinary convolution.
        scale = 1 / math.sqrt(channels * height * width)
        raw = torch.empty(channels, channels, height, width, device=device, dtype=dtype)
        self.weight = nn.Parameter(nn.init.normal_(raw, std=scale))
        zeros = torch.zeros(out_channels, device=device, dtype=dtype)
        self.bias = nn.Parameter(zeros) if bias else None

    @property
    def error_bound(self) -> float:
        """Largest relative error of the series, ``norm^(terms+1) / (terms+1)!``."""
        return self.norm ** (self.terms + 1) / math.factorial(self.terms + 1)

    def filter(self) -> Tensor:
        """The skew filter (c, c, kh, kw) of A, scaled to a norm of at most :attr:`norm`.

        Of half precision computed in float32. Rounding it leaves it skew, and so its exponential orthogonal.
        """
        with autocast_off(self.weight):
            skew = skew_filter(self.weight.float() if self.weight.dtype in _HALF else self.weight)
            largest = skew.detach().abs().amax()
            # Only the direction counts, so a constant may be divided out to keep the powers in range; zero stays zero.
            skew = skew / torch.where(largest > 0, largest, torch.ones_like(largest))
            bound = torch.minimum(_spectral_bound(skew.flatten(1)), _spectral_bound(_square(skew)))
            bound = math.sqrt(self.kernel_size[0] * self.kernel_size[1]) * bound
            scaled = skew * (self.norm / torch.where(largest > 0, bound, torch.ones_like(bound)))
            return scaled.to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) to (n, out_channels, ceil(h / stride), ceil(w / stride)); n may be missing."""
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise InputError(
                f"SkewConv2d got an input of shape {tuple(x.shape)}; expected (n, {self.in_channels}, h, w)."
            )
        if self.stride > 1:
            below, right = -x.shape[-2] % self.stride, -x.shape[-1] % self.stride
            if below or right:
                if self.padding_mode == "circular":
                    raise InputError(
                        f"The picture is {x.shape[-2]}x{x.shape[-1]}; expected sides divisible by the stride "
                        f"{self.stride}, since circular padding cannot wrap around completing zeros."
                    )
                x = F.pad(x, (0, right, 0, below))
            x = F.pixel_unshuffle(x, self.stride)
        y = convolution_exponential(
            x, self.filter(), terms=self.terms, out_channels=self.out_channels, padding_mode=self.padding_mode
        )
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"terms={self.terms}, norm={self.norm}, padding_mode={self.padding_mode}, bias={self.bias is not None}"
        )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
