"""The treatment hooks: what a step does, with which optimizers and loops, and what bad input does."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import disentangle
from disentangle.errors import InputError
from disentangle.linalg import orthogonality_error, polar
from disentangle.optim import optimal_learning_rate

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "adam-tensor-lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
}


def weight(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / shape[-1] ** 0.5)


def set_gradient(param: torch.Tensor, seed: int = 1, size: float = 1.0) -> torch.Tensor:
    param.grad = size * torch.randn(param.shape, generator=torch.Generator().manual_seed(seed))
    return param.grad.clone()


def singular_values(matrix: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(matrix.detach().flatten(1).double())


# ------------------------------------------------------------------------------------------------ what a step does


def test_sgd_step_is_the_polar_factor():
    w = weight(6, 20)
    before = w.detach().clone()
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True)
    gradient = set_gradient(w)
    optimizer.step()
    assert torch.allclose(w, before - 0.1 * polar(gradient), atol=1e-6)
    assert handle.last_lr == [0.1]


def test_momentum_and_weight_decay_are_the_optimizers_own():
    w, twin = weight(6, 20), weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01)
    reference = torch.optim.SGD([twin], lr=0.1, momentum=0.9, weight_decay=0.01)
    disentangle.orthogonalize(optimizer, w, nog=True)
    for step in range(5):
        twin.grad = polar(set_gradient(w, seed=step))
        optimizer.step()
        reference.step()
    assert torch.allclose(w, twin, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (30, 8, 4, 4), (64, 3, 3, 3), (5, 7)])
def test_convolution_weights_are_viewed_as_first_dimension_by_rest(shape):
    w = weight(*shape)
    optimizer = torch.optim.SGD([w], lr=1.0)
    disentangle.orthogonalize(optimizer, w, nog=True)
    before = w.detach().clone()
    gradient = set_gradient(w)
    optimizer.step()
    assert torch.allclose((before - w).flatten(1), polar(gradient.flatten(1)), atol=1e-5)
    assert torch.allclose(singular_values(before - w), torch.ones(min(shape[0], w[0].numel())).double(), atol=1e-5)


@pytest.mark.parametrize("scale", ["none", "grad_norm", "nuclear"])
def test_scale_of_the_orthogonal_gradient(scale):
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=1.0)
    disentangle.orthogonalize(optimizer, w, nog=True, scale=scale)
    before = w.detach().clone()
    gradient = set_gradient(w, size=0.01)
    optimizer.step()
    s = singular_values(before - w)
    assert torch.allclose(s, s[0].expand(6), rtol=1e-3)
    nuclear = singular_values(gradient).sum()
    expected = {"none": 1.0, "grad_norm": float(gradient.norm()) / 6**0.5, "nuclear": float(nuclear)}[scale]
    assert float(s[0]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("form", ["released", "matrix", "exact"])
def test_olr_follows_nog_and_uses_its_gradient(form):
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.5)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, olr_form=form)
    before = w.detach().clone()
    direction = polar(set_gradient(w) + 3 * before)
    w.grad = w.grad + 3 * before
    rate = float(optimal_learning_rate(before, direction, form=form, maximum=0.5))
    assert 0 < rate < 0.5, "the case must exercise acceptance"
    optimizer.step()
    assert torch.allclose(w, before - rate * direction, atol=1e-6)
    record = handle.records[0]
    assert (record.olr_accepted, record.olr_computed) == (1, 1)
    assert handle.last_lr[0] == pytest.approx(rate, rel=1e-5)
    assert record.olr_proposed == pytest.approx(rate, rel=1e-5)
    cosine = float((before * direction).sum() / before.norm() / direction.norm())
    assert record.cosine == pytest.approx(cosine, rel=1e-4)


@pytest.mark.parametrize("form", ["released", "matrix", "exact"])
def test_rejected_rate_leaves_the_scheduled_one(form):
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=1e-6)
    handle = disentangle.orthogonalize(optimizer, w, olr=True, olr_form=form)
    before = w.detach().clone()
    w.grad = before.clone()
    optimizer.step()
    assert torch.allclose(w, before * (1 - 1e-6))
    assert handle.last_lr == [1e-6]
    assert handle.stats()[0]["olr_acceptance"] == 0


def test_maximising_optimizers_get_the_rate_of_the_step_they_take():
    rates, ends = [], []
    for maximize in (False, True):
        w = weight(6, 20)
        optimizer = torch.optim.SGD([w], lr=0.5, maximize=maximize)
        handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True)
        gradient = set_gradient(w) + 3 * w.detach()
        w.grad = -gradient if maximize else gradient
        optimizer.step()
        rates.append(handle.last_lr[0])
        ends.append(w.detach().clone())
    assert rates[0] == pytest.approx(rates[1])
    assert torch.allclose(*ends, atol=1e-6)
    assert rates[0] < 0.5


def test_large_float64_gradients_are_finite():
    w = nn.Parameter(weight(6, 20).detach().double())
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True)
    w.grad = 1e200 * torch.randn(6, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    optimizer.step()
    assert handle.records[0].steps == 1


def test_ol_adds_the_gradient_of_the_orthogonality_loss():
    w, twin = weight(6, 20), weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    disentangle.orthogonalize(optimizer, w, ol=0.3)
    gradient = set_gradient(w)
    ((gradient * twin).sum() + 0.3 * disentangle.optim.orthogonality_loss(twin)).backward()
    torch.optim.SGD([twin], lr=0.1).step()
    optimizer.step()
    assert torch.allclose(w, twin, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_mode_makes_the_step_itself_orthogonal(name):
    w = weight(6, 20)
    optimizer = OPTIMIZERS[name]([w])
    rate = float(optimizer.param_groups[0]["lr"])
    disentangle.orthogonalize(optimizer, w, nog=True, mode="update")
    for step in range(4):
        before = w.detach().clone()
        set_gradient(w, seed=step)
        optimizer.step()
        assert torch.allclose(singular_values((before - w) / rate), torch.ones(6).double(), atol=1e-3)


def test_adam_destroys_what_gradient_mode_makes():
    w = weight(6, 20)
    optimizer = torch.optim.Adam([w], lr=1e-2)
    disentangle.orthogonalize(optimizer, w, nog=True)
    before = w.detach().clone()
    set_gradient(w)
    optimizer.step()
    s = singular_values((before - w) / 1e-2)
    assert float(s[0] / s[-1]) > 1.5


def test_update_mode_with_olr_minimises_the_true_objective():
    w = weight(6, 20)
    optimizer = torch.optim.Adam([w], lr=0.5)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, mode="update", olr_form="exact")
    before = w.detach().clone()
    w.grad = before + 0.1 * set_gradient(w)
    optimizer.step()
    assert handle.records[0].olr_accepted == 1
    direction = (before - w) / handle.last_lr[0]
    errors = [float(orthogonality_error(before - t * direction)) for t in (0.0, 0.5)]
    assert float(orthogonality_error(w)) < min(errors)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("mode", ["gradient", "update"])
def test_retraction_keeps_the_weight_orthogonal_where_the_gradient_alone_drifts(name, mode):
    start = torch.linalg.qr(torch.randn(20, 6, generator=torch.Generator().manual_seed(3))).Q.T.contiguous()
    errors = {}
    for retraction in ("none", "polar"):
        w = nn.Parameter(start.clone())
        optimizer = OPTIMIZERS[name]([w])
        disentangle.orthogonalize(optimizer, w, nog=True, mode=mode, retraction=retraction)
        for step in range(30):
            set_gradient(w, seed=step)
            optimizer.step()
        errors[retraction] = float(orthogonality_error(w))
    assert errors["polar"] < 1e-5
    assert errors["none"] > 100 * errors["polar"]


# ------------------------------------------------------------------------------------------ optimizers and loops


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("mode", ["gradient", "update"])
def test_groups_rates_and_state_dict_are_untouched(name, mode):
    w, other = weight(6, 20), weight(4, 4, seed=5)
    optimizer = OPTIMIZERS[name]([other, w, nn.Parameter(torch.zeros(3))])
    plain = OPTIMIZERS[name]([weight(4, 4), weight(6, 20), nn.Parameter(torch.zeros(3))])
    disentangle.orthogonalize(optimizer, w, nog=True, olr=True, mode=mode)
    before = [dict(group) for group in optimizer.param_groups]
    seen: list[int] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(len(optimizer.param_groups)))
    for step in range(3):
        w.grad = w.detach() * 50 + set_gradient(w, seed=step)
        set_gradient(other, seed=step)
        optimizer.step()
    assert [list(g["params"]) for g in optimizer.param_groups] == [list(g["params"]) for g in before]
    assert all(float(g["lr"]) == float(b["lr"]) for g, b in zip(optimizer.param_groups, before, strict=True))
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["params"] == [0, 1, 2]
    for group in plain.param_groups:
        for p in group["params"][:2]:
            p.grad = torch.ones_like(p)
    plain.step()
    plain.load_state_dict(saved)  # the layout is the one of an untreated optimizer


@pytest.mark.parametrize("name", ["sgd-momentum", "adam", "adamw"])
def test_resume_through_state_dict_continues_bit_for_bit(name):
    def run(param: nn.Parameter, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            param.grad = 20 * param.detach() + set_gradient(param, seed=step)
            optimizer.step()

    w = weight(6, 20)
    optimizer = OPTIMIZERS[name]([w])
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True)
    run(w, optimizer, range(5))
    saved, stats, middle = copy.deepcopy(optimizer.state_dict()), handle.state_dict(), w.detach().clone()
    run(w, optimizer, range(5, 10))

    resumed = nn.Parameter(middle.clone())
    second = OPTIMIZERS[name]([resumed])
    twin = disentangle.orthogonalize(second, resumed, nog=True, olr=True)
    second.load_state_dict(saved)  # replaces the group dicts after the treatment was attached
    twin.load_state_dict(stats)
    run(resumed, second, range(5, 10))
    assert torch.equal(resumed, w)
    assert twin.records == handle.records


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_step_lr_ends_at_the_right_rate(name):
    w = weight(6, 20)
    optimizer = OPTIMIZERS[name]([w])
    start = float(optimizer.param_groups[0]["lr"])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.1)
    handle = disentangle.orthogonalize(optimizer, w, olr=True, olr_form="released")
    used = set()
    for _ in range(12):
        w.grad = w.detach() * 100
        optimizer.step()
        used.add(handle.last_lr[0])
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(start * 0.01)
    assert handle.records[0].olr_accepted > 0
    assert len(used) > 1


@pytest.mark.parametrize("before", [True, False], ids=["scheduler-first", "treatment-first"])
@pytest.mark.parametrize("kind", ["onecycle", "lambda", "cosine", "plateau"])
def test_schedulers_work_whichever_comes_first(kind, before):
    def make(optimizer: torch.optim.Optimizer) -> object:
        schedulers = torch.optim.lr_scheduler
        return {
            "onecycle": lambda: schedulers.OneCycleLR(optimizer, max_lr=0.2, total_steps=20),
            "lambda": lambda: schedulers.LambdaLR(optimizer, lambda step: 0.9**step),
            "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, 20),
            "plateau": lambda: schedulers.ReduceLROnPlateau(optimizer, patience=1),
        }[kind]()

    rates = []
    for treated in (True, False):
        w, other = weight(6, 20), weight(3, 3)
        optimizer = torch.optim.SGD([{"params": [other]}, {"params": [w], "lr": 0.05}], lr=0.1, momentum=0.9)
        scheduler = make(optimizer) if before or not treated else None
        if treated:
            disentangle.orthogonalize(optimizer, w, nog=True, olr=True)
        scheduler = scheduler or make(optimizer)
        for step in range(15):
            set_gradient(w, seed=step)
            set_gradient(other, seed=step)
            optimizer.step()
            scheduler.step(1.0) if kind == "plateau" else scheduler.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates[0] == rates[1]


def test_two_treatments_of_one_optimizer():
    a, b, c = weight(6, 20), weight(5, 9, seed=2), weight(3, 3, seed=3)
    optimizer = torch.optim.SGD([a, b, c], lr=0.1)
    first = disentangle.orthogonalize(optimizer, a, nog=True, olr=True)
    second = disentangle.orthogonalize(optimizer, [b], olr=True, olr_form="released")
    for step in range(3):
        for p in (a, b, c):
            p.grad = 10 * p.detach() + set_gradient(p, seed=step)
        optimizer.step()
        assert [p is q for p, q in zip(optimizer.param_groups[0]["params"], (a, b, c), strict=True)] == [True] * 3
        assert len(optimizer.param_groups) == 1
    assert first.records[0].steps == second.records[0].steps == 3
    with pytest.raises(InputError, match="treated already"):
        disentangle.orthogonalize(optimizer, a, nog=True)
    first.remove()
    disentangle.orthogonalize(optimizer, a, nog=True).remove()


def test_other_weights_take_the_step_they_would_take_alone():
    w, other, twin = weight(6, 20), weight(4, 7, seed=2), weight(4, 7, seed=2)
    optimizer = torch.optim.Adam([w, other], lr=0.01)
    reference = torch.optim.Adam([twin], lr=0.01)
    disentangle.orthogonalize(optimizer, w, nog=True, olr=True, mode="update", retraction="polar")
    for step in range(5):
        set_gradient(w, seed=step)
        twin.grad = set_gradient(other, seed=step + 50)
        optimizer.step()
        reference.step()
    assert torch.equal(other, twin)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_beside_muon_and_on_muons_own_weights():
    a, b = weight(6, 20), weight(8, 8, seed=1)
    optimizer = torch.optim.Muon([a, b], lr=0.02)
    disentangle.orthogonalize(optimizer, a, nog=True, mode="update")
    before = a.detach().clone()
    set_gradient(a)
    set_gradient(b)
    optimizer.step()
    assert torch.allclose(singular_values((before - a) / 0.02), torch.ones(6).double(), atol=1e-3)


def test_clipping_before_the_step_does_not_change_an_orthogonal_gradient():
    results = []
    for clip in (True, False):
        w = weight(6, 20)
        optimizer = torch.optim.SGD([w], lr=0.1)
        disentangle.orthogonalize(optimizer, w, nog=True)
        set_gradient(w, size=100.0)
        if clip:
            nn.utils.clip_grad_norm_([w], 1.0)
        optimizer.step()
        results.append(w.detach().clone())
    assert torch.allclose(*results, atol=1e-5)


def test_accumulated_gradient_is_treated_once():
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True)
    before = w.detach().clone()
    parts = [torch.randn(6, 20, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    for part in parts:
        (w * part).sum().backward()
    optimizer.step()
    assert torch.allclose(w, before - 0.1 * polar(sum(parts)), atol=1e-5)
    assert handle.records[0].steps == 1


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_gives_the_same_step(fused):
    results, rates = [], []
    for scaled in (True, False):
        w = weight(6, 20)
        optimizer = torch.optim.Adam([w], lr=0.3, fused=fused)
        handle = disentangle.orthogonalize(
            optimizer, w, nog=True, olr=True, olr_form="released", scale="grad_norm", ol=0.1
        )
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        for step in range(3):
            optimizer.zero_grad()
            part = torch.randn(6, 20, generator=torch.Generator().manual_seed(step))
            scaler.scale((w * (part + 3 * w.detach())).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            rates.append(handle.records[0].olr_proposed)
        results.append(w.detach().clone())
    assert torch.allclose(*results, atol=1e-5)
    assert rates[:3] == pytest.approx(rates[3:], rel=1e-4)


def test_grad_scaler_skips_the_step_on_infinity():
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = w.detach().clone()
    scaler.scale((w * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(w, before)
    assert handle.records[0].steps == 0


def test_closure():
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.5)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True)
    target = torch.randn(6, 20, generator=torch.Generator().manual_seed(4))
    before = w.detach().clone()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (w * (target + 3 * before)).sum()
        loss.backward()
        return loss

    for call in (lambda: optimizer.step(closure), lambda: optimizer.step(closure=closure)):
        w.data.copy_(before)
        assert call() is not None
        direction = polar(target + 3 * before)
        assert torch.allclose(w, before - handle.last_lr[0] * direction, atol=1e-5)
        assert handle.last_lr[0] < 0.5
        assert len(optimizer.param_groups) == 1


def test_a_step_that_raises_is_cleaned_up():
    w, other = weight(6, 20), weight(3, 3)
    optimizer = torch.optim.SGD([w, other], lr=0.5)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True)

    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    bad = optimizer.register_step_pre_hook(fail)
    w.grad = w.detach() * 3
    with pytest.raises(RuntimeError, match="disk full"):
        optimizer.step()
    bad.remove()
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 1]
    assert len(optimizer.param_groups) == 1
    w.grad = w.detach() * 3
    optimizer.step()
    assert [p is q for p, q in zip(optimizer.param_groups[0]["params"], (w, other), strict=True)] == [True, True]
    handle.remove()


def test_remove_restores_the_plain_optimizer():
    w, twin = weight(6, 20), weight(6, 20)
    optimizer, reference = torch.optim.Adam([w], lr=0.1), torch.optim.Adam([twin], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True)
    handle.remove()
    handle.remove()
    for step in range(3):
        twin.grad = set_gradient(w, seed=step)
        optimizer.step()
        reference.step()
    assert torch.equal(w, twin)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_deepcopy_of_model_optimizer_and_treatment_is_treated():
    model = nn.Linear(20, 6, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = disentangle.orthogonalize(optimizer, model.weight, nog=True)
    set_gradient(model.weight)
    optimizer.step()
    model2, optimizer2, handle2 = copy.deepcopy((model, optimizer, handle))
    before = model2.weight.detach().clone()
    gradient = set_gradient(model2.weight, seed=7)
    optimizer2.step()
    assert torch.allclose(model2.weight, before - 0.1 * polar(gradient), atol=1e-6)
    assert (handle.records[0].steps, handle2.records[0].steps) == (1, 2)
    assert torch.equal(model.weight, before)


def test_accelerate_wrapper_is_unwrapped():
    accelerate = pytest.importorskip("accelerate")
    model = nn.Linear(20, 6, bias=False)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    handle = disentangle.orthogonalize(optimizer, model.weight, nog=True)
    inputs = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        with accelerator.accumulate(model):
            accelerator.backward(model(inputs).sin().sum())
            optimizer.step()
            optimizer.zero_grad()
    assert handle.records[0].steps == 2


# ---------------------------------------------------------------------------------------------------- bad input


def test_missing_gradient_is_counted():
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, retraction="polar")
    before = w.detach().clone()
    optimizer.step()
    assert torch.equal(w, before)
    assert (handle.records[0].without_gradient, handle.records[0].steps) == (1, 0)


@pytest.mark.parametrize("mode", ["gradient", "update"])
def test_zero_gradient_is_no_step(mode):
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, mode=mode)
    before = w.detach().clone()
    w.grad = torch.zeros_like(w)
    optimizer.step()
    assert torch.equal(w, before)
    assert handle.records[0].zero_gradients == 1


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("mode", ["gradient", "update"])
def test_non_finite_gradient_sits_the_step_out(mode, poison, caplog):
    w, other = weight(6, 20), weight(3, 3)
    optimizer = torch.optim.Adam([w, other], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True, olr=True, mode=mode)
    for step in range(3):
        before, before_other = w.detach().clone(), other.detach().clone()
        set_gradient(w, seed=step)
        set_gradient(other, seed=step)
        if step == 1:
            w.grad[2, 3] = poison
        optimizer.step()
        assert torch.isfinite(w).all()
        assert torch.equal(w, before) == (step == 1)
        assert not torch.equal(other, before_other)
    assert handle.records[0].nonfinite_gradients == 1
    assert "NaN or infinity" in caplog.text
    assert [p is q for p, q in zip(optimizer.param_groups[0]["params"], (w, other), strict=True)] == [True, True]


def test_parameters_are_checked_at_once():
    w, stranger = weight(6, 20), weight(6, 20)
    optimizer = torch.optim.SGD([w, nn.Parameter(torch.zeros(3))], lr=0.1)
    vector = optimizer.param_groups[0]["params"][1]
    with pytest.raises(InputError, match=r"\(6, 20\) is not in the optimizer"):
        disentangle.orthogonalize(optimizer, stranger, nog=True)
    with pytest.raises(InputError, match="empty"):
        disentangle.orthogonalize(optimizer, [], nog=True)
    with pytest.raises(InputError, match="two dimensions"):
        disentangle.orthogonalize(optimizer, vector, nog=True)
    with pytest.raises(InputError, match="not names"):
        disentangle.orthogonalize(optimizer, ["layers.0.weight"], nog=True)
    with pytest.raises(InputError, match="given twice"):
        disentangle.orthogonalize(optimizer, [w, w], nog=True)
    with pytest.raises(InputError, match="Nothing to do"):
        disentangle.orthogonalize(optimizer, w)
    with pytest.raises(InputError, match="nog=True"):
        disentangle.orthogonalize(optimizer, w, olr=True, mode="update")
    with pytest.raises(InputError, match="did you mean 'update'"):
        disentangle.orthogonalize(optimizer, w, nog=True, mode="updates")
    with pytest.raises(InputError, match="ol is -1"):
        disentangle.orthogonalize(optimizer, w, ol=-1.0)
    with pytest.raises(InputError, match=r"expected a torch\.optim\.Optimizer"):
        disentangle.orthogonalize(nn.Linear(2, 2), w, nog=True)
    with pytest.raises(InputError, match="LBFGS"):
        disentangle.orthogonalize(torch.optim.LBFGS([w]), w, nog=True)
    assert not optimizer._optimizer_step_pre_hooks


def test_parametrised_weight_names_the_original():
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(6, 4, bias=False))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"parametrizations.weight.original"):
        disentangle.orthogonalize(optimizer, layer.weight, nog=True)
    disentangle.orthogonalize(optimizer, layer.parametrizations.weight.original, nog=True)


def test_sparse_gradient_is_refused():
    embedding = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    disentangle.orthogonalize(optimizer, embedding.weight, nog=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(InputError, match="sparse=False"):
        optimizer.step()


def test_state_of_another_treatment_is_refused():
    w = weight(6, 20)
    optimizer = torch.optim.SGD([w], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, w, nog=True)
    state = handle.state_dict()
    handle.remove()
    other = disentangle.orthogonalize(optimizer, w, nog=True, scale="nuclear")
    with pytest.raises(InputError, match="scale: saved 'none', here 'nuclear'"):
        other.load_state_dict(state)


def test_stats_before_the_first_step_are_nan():
    w = weight(6, 20)
    handle = disentangle.orthogonalize(torch.optim.SGD([w], lr=0.1), w, nog=True, olr=True)
    stats = handle.stats()[0]
    assert math.isnan(stats["last_lr"])
    assert math.isnan(stats["olr_acceptance"])
    assert stats["orthogonality_error"] == pytest.approx(float(orthogonality_error(w)))
    assert "6x20" in repr(handle)
