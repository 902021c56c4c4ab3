"""Orthogonal treatments of chosen weights, attached to any torch optimizer.

``handle = orthogonalize(optimizer, layer.weight, nog=True, olr=True)`` is the whole interface: the treatment runs in
hooks around ``optimizer.step()``, so it needs no wrapper and no trainer and works with gradient clipping, accumulation,
schedulers, ``GradScaler``, DistributedDataParallel and accelerate.

One step of a treated weight ``W`` with gradient ``G`` (mode ``"gradient"``, as published):

1. OL: ``G += ol * 4 (W W^T - I) W``, the gradient of the orthogonality loss.
2. NOG: ``G <- polar(G)``, the nearest orthogonal gradient, times the chosen scale.
3. OLR: the optimal learning rate for this ``G`` replaces the group's rate for this step if ``0 < rate < base``.
4. The optimizer's own step (momentum, weight decay, Adam's rescaling and so on).
5. Retraction, if asked for: ``W <- polar(W)``.

In mode ``"update"`` the optimizer takes its step first; then its displacement ``D`` is replaced by ``lr * polar(D)``
(times the scale), so that the *step* is orthogonal whatever momentum or Adam made of the gradient, and OLR is computed
for exactly the step that is taken. The newer treatments are modes too and work the same way, from the direction
``D / lr``: ``"landing"``, ``"pogo"`` and ``"spel"`` hold the *weight* orthogonal, ``"scion"`` bounds its spectral norm;
each has a file of its own name beside this one.

The scheduled learning rate is never modified, nor are the optimizer's groups: the step runs on a stand-in, in which a
treated weight sits in a parameter group of its own. So schedulers, ``zero_grad`` and ``state_dict`` see the optimizer
as it was built, also after a step that raised. Such a step counts as not taken: the treatment's records are those from
before it, and gradients it had treated are put back when the next one begins.

Source: Song, Sebe, Wang, "Orthogonal SVD Covariance Conditioning and Latent Disentanglement", TPAMI 2023 (NOG, OLR and
their order; the OLR of their code is ``olr_form="released"``, not the default); the scale ``"nuclear"`` is PolarGrad's
(Lau et al., arXiv 2505.21799; its code ends the polar factor after two steps by default, here it is exact).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

from disentangle.errors import InputError
from disentangle.linalg import weight_diagnostics
from disentangle.optim.learning_rate import Form, rate_numbers
from disentangle.optim.modes import new_weight, retracted, step_direction
from disentangle.optim.nog import orthogonal_direction
from disentangle.optim.penalties import orthogonality_gradient
from disentangle.optim.step_groups import StepGroups, checked_params, innermost_optimizer, stand_in
from disentangle.optim.treated_gradients import TreatedGradients, largest_entries
from disentangle.optim.treatment import (
    Method,
    RankDeficient,
    Retraction,
    Scale,
    TreatmentOptions,
    TreatmentRecord,
)
from disentangle.signatures import checks_arguments

__all__ = ["Treatment", "TreatmentRecord", "orthogonalize"]

logger = logging.getLogger(__name__)


@checks_arguments
def orthogonalize(
    optimizer: Optimizer | Any,
    params: Tensor | Iterable[Tensor] | Any,
    nog: bool = False,
    olr: bool = False,
    mode: str = "gradient",
    olr_form: Form = "matrix",
    *,
    ol: float = 0.0,
    scale: Scale = "none",
    retraction: Retraction = "none",
    method: Method = "gram_eigh",
    rank_deficient: RankDeficient = "partial",
    attraction: float | Literal["quartic"] | None = None,
    radius: float = 1.0,
    options: Mapping[str, Any] | None = None,
) -> Treatment:
    """Treat the steps of chosen weights with NOG, OLR, the orthogonality loss, Landing, POGO, SPEL or Scion.

    Args:
        optimizer: any ``torch.optim.Optimizer`` that supports parameter groups (or accelerate's wrapper of one).
        params: one weight or several, by object. Each has two dimensions or more and is viewed as a matrix of its
            first dimension by the rest: (out, in * kh * kw) for a convolution, (in, out * kh * kw) for a transposed
            one, where the first dimension is the latent's. The shorter side is made orthonormal.
        nog: nearest orthogonal gradient.
        olr: optimal learning rate, accepted if strictly between zero and the scheduled rate.
        mode: ``"gradient"`` treats the gradient before the optimizer's step (published); ``"update"`` treats the step
            itself. ``"landing"``, ``"pogo"``, ``"spel"`` and ``"scion"`` replace the step by that treatment's and need
            no ``nog``; the first two may have it, on the gradient. The first three put a weight that is far from
            orthogonal (``||W W^T - I||_F`` above 1/2) on the nearest orthogonal one before they step. Scion's rate is
            the share of the way to the ball's boundary, at most 1.
        olr_form: ``"released"``, the number of the authors' code, ``"matrix"`` (default) or ``"exact"``; see
            :mod:`disentangle.optim.learning_rate`.
        ol: weight of the orthogonality loss, added to the gradient before NOG.
        scale: length of the orthogonal matrix: ``"none"`` leaves every singular value 1 (published; the step then has
            the same length however small the gradient is), ``"grad_norm"`` keeps the Frobenius norm of what is
            replaced, ``"nuclear"`` multiplies by its nuclear norm (PolarGrad).
        retraction: ``"polar"`` puts the weight back on the nearest orthogonal matrix after every step.
        method, rank_deficient: handed to :func:`disentangle.linalg.polar`.
        attraction: the pull towards orthogonality: Landing's lambda (None is 1), or POGO's (None is 1/2, one
            Newton-Schulz step; ``"quartic"`` finds the best one).
        radius: largest spectral norm in mode ``"scion"``.
        options: those of a mode of your own, by name; see :mod:`disentangle.optim.mode`.

    Returns:
        The attached :class:`Treatment`. ``remove()`` detaches it.

    A zero gradient stays zero; a gradient with NaN or infinity is counted and the weight sits that step out; a missing
    gradient is counted. None of them raises.

    Gradients must be clipped before ``step()``; NOG with scale ``"none"`` undoes any clipping, since only the direction
    counts. With accumulation the treatment acts once per step, on the accumulated gradient; under
    DistributedDataParallel it sees the averaged one, and every process computes the same step.

    Raises:
        InputError: if nothing is to be done, options exclude each other, no parameter is given, or a parameter is not
            in the optimizer, is treated already, has fewer than two dimensions, or is sharded.

    >>> layer = torch.nn.Linear(4, 3, bias=False)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> handle = orthogonalize(optimizer, layer.weight, nog=True)
    >>> before = layer.weight.detach().clone()
    >>> (layer(torch.eye(4)) * torch.arange(12.0).square().cos().reshape(4, 3)).sum().backward()
    >>> optimizer.step()
    >>> step = (before - layer.weight.detach()) / 0.1
    >>> bool(torch.allclose(step @ step.T, torch.eye(3), atol=1e-4))
    True
    """
    return Treatment(
        optimizer,
        params,
        TreatmentOptions(
            nog,
            olr,
            mode,
            olr_form,
            ol,
            scale,
            retraction,
            method,
            rank_deficient,
            attraction,
            radius,
            {} if options is None else options,
        ),
    )


_treatments: WeakKeyDictionary[Optimizer, list[Treatment]] = WeakKeyDictionary()


class Treatment:
    """The treatment of some weights of one optimizer; made by :func:`orthogonalize`.

    Attributes:
        options: what was asked for.
        params: the treated weights.
        records: one :class:`TreatmentRecord` a weight, same order.
    """

    def __init__(self, optimizer: Optimizer, params: Tensor | Iterable[Tensor], options: TreatmentOptions) -> None:
        self.options = options
        self.optimizer = innermost_optimizer(optimizer)
        taken = [p for other in _treatments.get(self.optimizer, []) for p in other.params]
        self.params: list[Tensor] = checked_params(self.optimizer, params, taken)
        self.records = [TreatmentRecord(tuple(p.shape)) for p in self.params]
        self._attach()

    def _attach(self) -> None:
        # Of one step, from its beginning to its end:
        self._pending: list[TreatmentRecord] | None = None  # the records as they will be if it does not raise
        self._before: dict[int, tuple[Tensor, float]] = {}  # position -> weight before, rate; but in mode "gradient"
        self._stepping: list[int] = []
        self._gradients = TreatedGradients()
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        _treatments.setdefault(self.optimizer, []).append(self)

    # ------------------------------------------------------------------------------------------------- public

    @property
    def last_lr(self) -> list[float]:
        """The learning rate each weight really used in the last step; NaN before the first."""
        return [record.last_lr for record in self.records]

    def stats(self) -> list[dict[str, Any]]:
        """Per weight: its record, the OLR acceptance rate, and :func:`~disentangle.linalg.weight_diagnostics`."""
        return [
            {
                **asdict(record),
                "olr_acceptance": record.olr_acceptance,
                **weight_diagnostics(param.detach().flatten(1)),
            }
            for param, record in zip(self.params, self.records, strict=True)
        ]

    def remove(self) -> None:
        """Detach: from now on the optimizer steps as if never treated. Calling it twice does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._pending = None
        attached = _treatments.get(self.optimizer, [])
        if self in attached:
            attached.remove(self)

    def state_dict(self) -> dict[str, Any]:
        """Options and records as plain containers."""
        return {"options": asdict(self.options), "records": [asdict(record) for record in self.records]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the records.

        Raises:
            InputError: if the state belongs to other options or other weight shapes.
        """
        self.options.check_saved(state["options"])
        shapes = [tuple(record["shape"]) for record in state["records"]]
        if shapes != [record.shape for record in self.records]:
            raise InputError(
                f"The saved treatment has weights of shapes {shapes}; this one has {[r.shape for r in self.records]}."
            )
        self.records = [TreatmentRecord.from_state(record) for record in state["records"]]

    def __deepcopy__(self, memo: dict[int, Any]) -> Treatment:
        """A treatment of the copied optimizer. (A copy of the optimizer alone is untreated: torch drops its hooks.)"""
        twin = object.__new__(Treatment)
        memo[id(self)] = twin
        twin.options = self.options
        twin.optimizer = copy.deepcopy(self.optimizer, memo)
        twin.params = copy.deepcopy(self.params, memo)
        twin.records = copy.deepcopy(self.records, memo)
        twin._attach()
        if not self._hooks:
            twin.remove()
        return twin

    def __repr__(self) -> str:
        shapes = ", ".join("x".join(map(str, p.shape)) for p in self.params)
        removed = "" if self._hooks else "removed; "
        return f"Treatment({removed}{shapes}; {', '.join(f'{k}={v}' for k, v in asdict(self.options).items())})"

    # -------------------------------------------------------------------------------------------------- hooks

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if optimizer is not self.optimizer:  # a step inside the step, by super().step()
            return None
        other, groups = stand_in(args[0])
        self._pending = None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._prepare(groups)
            return (other, *args[1:]), kwargs
        treated = self._after_closure(closure, groups)
        if len(args) > 1:
            return (other, treated, *args[2:]), kwargs
        return (other,), {**kwargs, "closure": treated}

    def _after_closure(self, closure: Callable[[], Any], groups: StepGroups) -> Callable[[], Any]:
        """The gradient exists only once the closure has run inside ``step``."""

        def treated() -> Any:
            loss = closure()
            if self._hooks:  # not removed by the closure
                self._prepare(groups)
            return loss

        return treated

    @torch.no_grad()
    def _prepare(self, groups: StepGroups) -> None:
        """Treat the gradients and give each weight its rate for this step."""
        self._gradients.put_back(self.params)
        self._before, self._stepping = {}, []
        records = [replace(record) for record in self.records]
        gradients, skipped = self._directions(records)
        by_gradient = self.options.olr and self.options.chosen_mode.step is None
        rates = self._rates({i: (self.params[i], gradient) for i, gradient in gradients.items()}) if by_gradient else {}
        for position, param in enumerate(self.params):
            if position in skipped:
                groups.take(param)
            if position in skipped or param.grad is None:
                continue
            record, group = records[position], self._group(position)
            record.steps += 1
            base = float(group["lr"])
            record.last_lr = base
            if position in rates:
                record.last_lr = record.decide(rates[position], self.options.olr_form, base)
                own, rate = groups.take(param), record.last_lr
                own["lr"] = torch.full_like(own["lr"], rate) if isinstance(own["lr"], Tensor) else rate
                groups.add(own)
            if self.options.chosen_mode.step is not None:
                self._before[position] = (param.detach().clone(), base)
            self._stepping.append(position)
        self._pending = records

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if optimizer is not self.optimizer:
            return
        stand_in(args[0])[1].finish()
        if self._pending is None:  # no gradient was asked for
            return
        records, self._pending = self._pending, None
        self._gradients.forget()
        if self._before:
            self._replace_steps(records)
        if self.options.retraction == "polar":
            for position in self._stepping:
                self.params[position].copy_(retracted(self.params[position]))
        self._before, self._stepping = {}, []
        for record, new in zip(self.records, records, strict=True):
            record.__dict__.update(new.__dict__)

    def _replace_steps(self, records: list[TreatmentRecord]) -> None:
        """Put the mode's own step in place of what the optimizer made of each weight."""
        moved = {i: before - self.params[i] for i, (before, _) in self._before.items()}
        steps: dict[int, tuple[Tensor, Tensor]] = {}
        for position, size in zip(moved, largest_entries(list(moved.values())), strict=True):
            before, base = self._before[position]
            if size != 0 and base != 0:  # no displacement is no step, whatever a mode would make of it
                steps[position] = before, step_direction(moved[position], base, self.options)
        rates = self._rates(steps) if self.options.olr else {}
        for position, (before, direction) in steps.items():
            record, param = records[position], self.params[position]
            rate = self._before[position][1]
            if position in rates:
                rate = record.decide(rates[position], self.options.olr_form, rate)
            updated, record.last_lr = new_weight(before, direction, rate, self.options)
            if bool(torch.isfinite(updated).all()):
                param.copy_(updated)
            else:
                record.nonfinite_gradients += 1
                param.copy_(before)

    # ----------------------------------------------------------------------------------------------- internals

    def _directions(self, records: list[TreatmentRecord]) -> tuple[dict[int, Tensor], set[int]]:
        """Treat the gradients in place.

        Returns:
            Directions of descent of the weights that have a finite gradient, by position; and the positions of those
            that sit this step out, since their gradient, or what the treatment makes of it, holds NaN or infinity.
        """
        options, skipped = self.options, set[int]()
        nog = options.nog and not options.chosen_mode.after_optimizer
        unscale = getattr(self.optimizer, "grad_scale", None)  # set by GradScaler for fused optimizers

        def finite(tensors: dict[int, Tensor]) -> dict[int, float]:
            sizes = dict(zip(tensors, largest_entries(list(tensors.values())), strict=True))
            for position, size in sizes.items():
                if not math.isfinite(size):
                    self._skip(position, records[position])
                    skipped.add(position)
            return {position: size for position, size in sizes.items() if position not in skipped}

        found = self._present(records)
        sizes = finite(found)
        for position, size in sizes.items():
            records[position].zero_gradients += size == 0
        gradients = {i: found[i] if unscale is None else found[i] / unscale for i in sizes if sizes[i] or options.ol}
        if options.ol:
            gradients = {i: g + options.ol * orthogonality_gradient(self.params[i]) for i, g in gradients.items()}
            gradients = {i: gradients[i] for i in finite(gradients)}
        if nog:
            gradients = {i: orthogonal_direction(g, options) for i, g in gradients.items()}
        if options.ol or nog:
            scaled = {i: (g if unscale is None else g * unscale).to(found[i].dtype) for i, g in gradients.items()}
            for i in finite(scaled) if options.scale != "none" or unscale is not None else scaled:
                self._gradients.change(i, found[i], scaled[i])
        return {
            i: -gradient if self._group(i).get("maximize") else gradient
            for i, gradient in gradients.items()
            if i not in skipped
        }, skipped

    def _present(self, records: list[TreatmentRecord]) -> dict[int, Tensor]:
        """The gradients that exist, by position; missing ones are counted."""
        found: dict[int, Tensor] = {}
        for position, (param, record) in enumerate(zip(self.params, records, strict=True)):
            if param.grad is None:
                record.without_gradient += 1
            elif param.grad.layout != torch.strided:
                raise InputError(
                    f"The gradient of a treated weight of shape {tuple(param.shape)} is sparse; expected a dense one "
                    "(for an embedding, pass sparse=False)."
                )
            else:
                found[position] = param.grad
        return found

    def _skip(self, position: int, record: TreatmentRecord) -> None:
        record.nonfinite_gradients += 1
        if record.nonfinite_gradients == 1:
            logger.warning(
                "the gradient of a treated weight of shape %s holds NaN or infinity; its step is skipped",
                tuple(self.params[position].shape),
            )

    def _rates(self, pairs: dict[int, tuple[Tensor, Tensor]]) -> dict[int, list[float]]:
        """The numbers behind the optimal rates of several weights, with one transfer from the device."""
        if not pairs:
            return {}
        device = next(iter(pairs.values()))[0].device
        numbers = [rate_numbers(w, l, self.options.olr_form).to(device) for w, l in pairs.values()]
        return dict(zip(pairs, torch.stack(numbers).tolist(), strict=True))

    def _group(self, position: int) -> dict[str, Any]:
        """The group that holds a weight, looked up by identity: ``load_state_dict`` replaces the group dicts."""
        param = self.params[position]
        for group in self.optimizer.param_groups:
            if any(p is param for p in group["params"]):
                return group
        raise InputError(
            f"A treated weight of shape {tuple(param.shape)} is no longer in the optimizer; call remove() on its "
            "treatment before taking it out."
        )
