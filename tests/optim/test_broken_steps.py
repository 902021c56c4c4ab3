"""Steps that raise, closures that interfere, gradients at the ends of the range: nothing of them stays behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import disentangle
from disentangle.linalg import polar


def weight(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / shape[-1] ** 0.5)


def gradient(param: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(param.shape, generator=torch.Generator().manual_seed(seed))


class Broken(RuntimeError):
    pass


def build(**options: Any) -> tuple[nn.Parameter, nn.Parameter, torch.optim.Optimizer, disentangle.optim.Treatment]:
    w, other = weight(6, 20), weight(3, 3, seed=1)
    optimizer = torch.optim.Adam([{"params": [w, other]}, {"params": [weight(2, 2)], "lr": 0.3}], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, **{"nog": True, "olr": True, **options})
    return w, other, optimizer, handle


def breaking(where: str, optimizer: torch.optim.Optimizer, other: torch.Tensor, treatment: Any) -> Any:
    """Make the next step raise; returns what mends it, and the step's arguments."""

    def fail(*_: object) -> None:
        raise Broken

    if where == "later pre-hook":
        return optimizer.register_step_pre_hook(fail).remove, ()
    if where == "closure":
        return (lambda: None), (fail,)
    if where == "after the closure":  # the treatment of the gradients themselves
        whole = treatment._directions
        treatment._directions = lambda records: fail(whole(records))
        return (lambda: setattr(treatment, "_directions", whole)), (lambda: None,)
    # In the step itself: Adam takes no sparse gradients, and says so once it has come to this weight.
    dense, other.grad = other.grad, torch.sparse_coo_tensor(size=other.shape)
    return (lambda: setattr(other, "grad", dense)), ()


@pytest.mark.parametrize("where", ["later pre-hook", "closure", "after the closure", "step"])
@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("options", [{}, {"ol": 0.1, "scale": "nuclear", "olr": False}, {"mode": "update"}], ids=str)
def test_a_step_that_raises_is_as_if_it_had_not_been(where, nan, options):
    """The broken step, mended and repeated, gives what the step of an optimizer that never failed gives."""
    w, other, optimizer, handle = build(**options)
    w2, other2, optimizer2, handle2 = build(**options)
    for step in range(4):
        for a, b in ((w, w2), (other, other2)):
            a.grad, b.grad = gradient(a, step), gradient(a, step)
        if step == 2:
            if nan:
                w.grad[1, 1] = w2.grad[1, 1] = float("nan")
            groups = copy.deepcopy([{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups])
            members = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
            state = handle.state_dict()
            mend, args = breaking(where, optimizer, other, handle)
            with pytest.raises(RuntimeError):
                optimizer.step(*args)
            assert [[id(p) for p in group["params"]] for group in optimizer.param_groups] == members
            assert [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups] == groups
            assert str(handle.state_dict()) == str(state)  # as text: NaN is not equal to itself
            assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 1]
            mend()
        optimizer.step()
        optimizer2.step()
        assert torch.equal(w, w2)
        assert torch.equal(other, other2)
        assert str(handle.state_dict()) == str(handle2.state_dict())
        optimizer.zero_grad()
        assert w.grad is None


def test_zero_grad_meets_a_weight_that_sits_out_a_step_that_raises():
    w, other, optimizer, _ = build()
    w.grad, other.grad = torch.full_like(w, torch.nan), torch.sparse_coo_tensor(size=other.shape)
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    optimizer.zero_grad()
    assert w.grad is None


def test_inside_a_closure_the_optimizer_is_as_it_was_built():
    w, other, optimizer, _ = build()

    def closure() -> torch.Tensor:
        assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
        assert optimizer.param_groups[0]["lr"] == 0.1
        optimizer.zero_grad()
        loss = (w * 30 * w.detach()).sum() + other.sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure)) > 0
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]


def test_removed_inside_a_closure_the_step_is_plain():
    w, other, optimizer, handle = build()
    twin = weight(6, 20)
    plain = torch.optim.Adam([twin], lr=0.1)

    def closure() -> None:
        handle.remove()
        w.grad, other.grad = gradient(w, 1), gradient(other, 2)

    optimizer.step(closure)
    twin.grad = gradient(w, 1)
    plain.step()
    assert torch.equal(w, twin)
    assert len(optimizer.param_groups) == 2
    assert handle.records[0].steps == 0
    assert not optimizer._optimizer_step_pre_hooks


def test_what_a_step_writes_into_its_groups_and_itself_stays():
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            self.calls = getattr(self, "calls", 0) + 1
            for group in self.param_groups:
                group["steps"] = group.get("steps", 0) + 1
            return super().step(closure)  # hooked as well, once an SGD has been made

    torch.optim.SGD([weight(2, 2)], lr=0.1)
    w, other = weight(6, 20), weight(3, 3)
    optimizer = Counting([w, other], lr=0.5)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, olr_form="released")
    for step in range(3):
        before = w.detach().clone()
        w.grad = 10 * w.detach() + gradient(w, step)
        direction = polar(w.grad)
        optimizer.step()
        assert torch.allclose(w, before - handle.last_lr[0] * direction, atol=1e-5)
    assert (optimizer.calls, optimizer.param_groups[0]["steps"], handle.records[0].steps) == (3, 3, 3)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert handle.records[0].olr_accepted > 0
    assert len(optimizer.param_groups) == 1
    assert type(optimizer) is Counting


@pytest.mark.parametrize("size", [1e38, 1e-40, 3e38])
@pytest.mark.parametrize("scale", ["none", "nuclear", "grad_norm"])
@pytest.mark.parametrize("mode", ["gradient", "update"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam], ids=lambda kind: kind.__name__)
def test_gradients_at_the_ends_of_the_range_leave_the_weight_finite(kind, mode, scale, size):
    w = weight(6, 20)
    optimizer = kind([w], lr=1e-3)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, mode=mode, scale=scale, ol=0.1)
    for step in range(3):
        sign = gradient(w, step).sign()
        w.grad = sign * size
        optimizer.step()
        assert torch.isfinite(w).all()
        assert torch.isfinite(w.grad).all()
    record = handle.records[0]
    assert record.steps + record.nonfinite_gradients >= 3


def test_a_large_gradient_keeps_its_norm_where_the_type_can_hold_it():
    w = nn.Parameter(torch.zeros(4, 4))
    optimizer = torch.optim.SGD([w], lr=1e-30)
    disentangle.orthogonalize(optimizer, w, nog=True, scale="nuclear")
    w.grad = torch.diag(torch.tensor([1e38, 5e37, 1e37, 2e37]))  # nuclear norm 1.8e38; its squares leave the range
    optimizer.step()
    assert torch.allclose(w, -1.8e8 * torch.eye(4), rtol=1e-4)
