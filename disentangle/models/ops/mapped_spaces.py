"""Generators that map z to w first: the ways from one latent space to the next, truncation to the mean of w, classes.

The spaces are z, w, w+ (a w for each layer) and s (the styles themselves); a generator has them up to some point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle.errors import InputError, unknown_name
from disentangle.models.base import LatentModule, check_latents
from disentangle.models.ops.mapping import class_weights

__all__ = ["MappedModule"]

_ORDER = ("z", "w", "w+", "s")


class MappedModule(LatentModule):
    """Base of generators with a w; a subclass says how z becomes w, where the mean of w lies, and what reads it.

    Attributes:
        label: the class used where a call gives none; None in an unconditional network.
        c_dim: classes, 0 for none.
        num_ws: rows of a W+ latent.
        default_truncation: psi of a call on z that gives none, 1 but for files whose own software always truncates.
    """

    label: int | None = None
    c_dim: int = 0
    num_ws: int = 1
    default_truncation: float = 1.0

    def _reference(self) -> Tensor:
        """A tensor of the device and type that latents have."""
        raise NotImplementedError

    def _mapped(self, z: Tensor, classes: Tensor | None) -> Tensor:
        """(n, z_dim) to (n, w_dim); ``classes`` as :meth:`classes` returns them."""
        raise NotImplementedError

    def _centre(self) -> Tensor:
        """(w_dim,) the mean of w, which truncation pulls towards."""
        raise NotImplementedError

    def _styles(self, rows: Tensor) -> Tensor:
        """(n, num_ws, w_dim) to (n, S), in generators with an s."""
        raise NotImplementedError

    def sample_latents(
        self, n: int, *, space: str | None = None, truncation: float = 1.0,
        truncation_cutoff: int | None = None, generator: torch.Generator | None = None,
        label: int | Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """``n`` latents of any space: z drawn from its prior on the CPU, then mapped as far as ``space``.

        Args:
            n: how many.
            space: "z" by default.
            truncation: psi; w is pulled to ``w_avg + psi (w - w_avg)``. Not in z, whose length means nothing here.
            truncation_cutoff: the first rows of w+ that truncation acts on; all by default.
            generator: seeds the draw.
            label: class, see :meth:`convert_latents`.
        """
        chosen = self._space(space)
        if chosen.name == "z" and truncation != 1:
            raise InputError(
                f"truncation is {truncation}, but a z of this network is normalised before use, so that shrinking it "
                "changes nothing; sample space 'w' or 'w+', or give the truncation to the call."
            )
        reference = self._reference()
        z = self.spaces["z"].sample(n, generator=generator).to(reference.device, reference.dtype)
        with torch.no_grad():
            return self.convert_latents(
                z, "z", chosen.name, label=label, truncation=truncation, truncation_cutoff=truncation_cutoff
            )

    def convert_latents(
        self, latents: Tensor, source: str, target: str, *, label: int | Tensor | None = None,
        truncation: float = 1.0, truncation_cutoff: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Latents of one space as latents of a later one: z, w, w+, s.

        Args:
            latents: (n, *shape of the source).
            source, target: names of spaces; the target may not come before the source.
            label: class of all, (n,) classes, or (n, c_dim) one-hot or mixed; read only where z is mapped.
            truncation: psi, applied to w where z is mapped; must be 1 otherwise.
            truncation_cutoff: the first rows of w+ it acts on, all by default; needs a target of w+ or s.

        Raises:
            InputError: if the spaces are unknown or in the wrong order, or truncation cannot be applied.
        """
        for name in (source, target):
            if name not in self.spaces:
                raise unknown_name("latent space", name, self.spaces)
        steps = _ORDER.index(target) - _ORDER.index(source)
        if steps < 0:
            after = [name for name in _ORDER[_ORDER.index(source) :] if name in self.spaces]
            raise InputError(
                f"there is no way from space {source!r} back to {target!r}; expected one of {', '.join(after)}."
            )
        check_latents(latents, self.spaces[source])
        if source != "z" and truncation != 1:
            raise InputError(
                f"truncation is {truncation}, but it acts where z is mapped to w; expected 1 in {source!r}."
            )
        if truncation_cutoff is not None and target in ("z", "w"):
            raise InputError("truncation_cutoff chooses rows of w+; expected a target of 'w+' or 's'.")
        if source == "z" and target != "z":
            latents = self._mapped(latents, self.classes(label, len(latents)))
            if truncation != 1 and truncation_cutoff is None:
                latents = self._centre().to(latents).lerp(latents, truncation)
        if source in ("z", "w") and target in ("w+", "s"):
            latents = latents.unsqueeze(1).expand(-1, self.num_ws, -1)
            if truncation != 1 and truncation_cutoff is not None:
                near = self._centre().to(latents).lerp(latents[:, :truncation_cutoff], truncation)
                latents = torch.cat([near, latents[:, truncation_cutoff:]], dim=1)
            latents = latents.contiguous() if target == "w+" else latents
        if source != "s" and target == "s":
            latents = self._styles(latents)
        return latents

    def classes(self, label: int | Tensor | None, n: int) -> Tensor | None:
        """(n, c_dim) weights of classes, ``self.label`` where none is given; see :func:`class_weights`."""
        if not self.c_dim and label is None:
            return None
        return class_weights(self.label if label is None else label, self.c_dim, n=n)
