"""Landing, POGO, SPEL and Scion: the step each takes, what it holds, and that it is selected like NOG."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import disentangle
from disentangle.errors import InputError
from disentangle.optim import Treatment
from disentangle.optim.landing import landing_field, landing_step, safe_step
from disentangle.optim.modes import REACH
from disentangle.optim.pogo import best_attraction, pogo_step
from disentangle.optim.spel import spel_step
from disentangle.optim.stiefel import excess, normal_field, relative_gradient, riemannian_gradient
from disentangle.training.config import TreatmentConfig

ON_MANIFOLD = ["landing", "pogo", "spel"]
MODES = [*ON_MANIFOLD, "scion"]
SHAPES = [(6, 20), (20, 6), (8, 8), (16, 3, 3, 3), (5, 2, 2, 2)]
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "adam-tensor-lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def svd_polar(matrix: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def frame(*shape: int, seed: int = 0) -> Tensor:
    """A weight of any shape whose shorter side is orthonormal."""
    matrix = normal(*shape, seed=seed)
    return svd_polar(matrix.flatten(1)).reshape(shape)


def departure(weight: Tensor) -> float:
    """``||W W^T - I||_F`` on the shorter side."""
    matrix = weight.detach().flatten(1).double()
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float(torch.linalg.matrix_norm(matrix @ matrix.T - torch.eye(len(matrix), dtype=matrix.dtype)))


def one_step(weight: Tensor, gradient: Tensor, lr: float, **options: object) -> tuple[Tensor, Treatment]:
    w = nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([w], lr=lr)
    handle = disentangle.orthogonalize(optimizer, w, **options)
    w.grad = gradient.clone()
    optimizer.step()
    return w.detach(), handle


def skew(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix - matrix.T)


def expected_step(mode: str, X: Tensor, G: Tensor, lr: float) -> Tensor:
    """The papers' formulas, with the skew matrix of the longer side written out."""
    if X.shape[0] > X.shape[1] - (mode == "landing"):  # columns: the papers' own orientation
        relative = skew(G @ X.T) @ X
        symmetric = X @ (0.5 * (X.T @ G + G.T @ X))
    else:
        relative = X @ skew(X.T @ G)
        symmetric = 0.5 * (G @ X.T + X @ G.T) @ X

    def normal_part(Y: Tensor) -> Tensor:
        tall = Y.shape[0] > Y.shape[1]
        return Y @ (Y.T @ Y - torch.eye(Y.shape[1])) if tall else (Y @ Y.T - torch.eye(len(Y))) @ Y

    if mode == "landing":
        return X - lr * (relative + normal_part(X))
    if mode == "pogo":
        moved = X - lr * relative
        return moved - 0.5 * normal_part(moved)
    if mode == "spel":
        return svd_polar(X - lr * svd_polar(G - symmetric))
    return (1 - lr) * X - lr * svd_polar(G)


# ------------------------------------------------------------------------------------------------ what a step does


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_step_is_the_papers_formula(mode, shape):
    weight = frame(*shape) + 0.02 * normal(*shape, seed=1) / math.prod(shape) ** 0.5
    gradient = normal(*shape, seed=2)
    ours, handle = one_step(weight, gradient, 0.05, mode=mode)
    expected = expected_step(mode, weight.flatten(1), gradient.flatten(1), 0.05).reshape(shape)
    assert torch.allclose(ours, expected, atol=1e-10)
    assert handle.last_lr[0] == pytest.approx(0.05)
    assert not torch.allclose(ours, weight, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_rows_leave_the_span_they_begin_in(shape):
    weight = frame(*shape)
    for mode in ON_MANIFOLD:
        ours, _ = one_step(weight, normal(*shape, seed=2), 0.1, mode=mode)
        X, Y = (m if shape[0] < shape[1] else m.T for m in (weight, ours))
        assert float((Y - Y @ X.T @ X).norm()) > 0.1


def test_tangent_fields():
    X, G = normal(5, 12), normal(5, 12, seed=1)
    tangent = relative_gradient(X, G)
    assert torch.allclose(tangent @ X.T, -(tangent @ X.T).T, atol=1e-12)
    assert abs(float((tangent * normal_field(X)).sum())) < 1e-10, "at any X"
    X = frame(5, 12)
    assert torch.allclose(relative_gradient(X, normal_field(2 * X)), torch.zeros(5, 12).double(), atol=1e-12)
    projected = riemannian_gradient(X, G)
    assert torch.allclose(projected @ X.T, -(projected @ X.T).T, atol=1e-12)
    assert torch.allclose(riemannian_gradient(X, projected), projected, atol=1e-12)
    assert float((projected * (G - projected)).sum()) == pytest.approx(0, abs=1e-11), "orthogonal projection"


@pytest.mark.parametrize("seed", range(6))
def test_landing_never_leaves_its_reach(seed):
    X = frame(5, 12, seed=seed)
    X = X + (0.02 + 0.06 * (seed % 3)) * normal(5, 12, seed=seed + 10)
    assert departure(X) < 3
    X = X if departure(X) < REACH else frame(5, 12, seed=seed)
    for size in (1e-3, 1.0, 1e3):
        G = size * normal(5, 12, seed=seed + 20)
        for attraction in (0.1, 1.0, 10.0):
            moved, rate = landing_step(X, G, 1e9, attraction=attraction)
            assert 0 < float(rate) <= 0.5 / attraction
            assert departure(moved) <= REACH + 1e-9
            field = relative_gradient(X, G) + attraction * normal_field(X)
            assert torch.allclose(landing_field(X, G, excess(X), attraction), field, rtol=1e-9, atol=1e-9)
            assert torch.allclose(moved, X - rate * field)
    G = 1e3 * normal(5, 12, seed=seed + 20)
    rate = safe_step(excess(frame(5, 12, seed=seed)), relative_gradient(frame(5, 12, seed=seed), G))
    X = frame(5, 12, seed=seed)
    assert departure(X - rate * relative_gradient(X, G)) == pytest.approx(REACH, rel=1e-6), "exact on the manifold"


def test_landing_shortens_a_step_that_is_too_long():
    weight, gradient = frame(6, 20), 100 * normal(6, 20, seed=1)
    ours, handle = one_step(weight, gradient, 0.1, mode="landing")
    assert 0 < handle.last_lr[0] < 0.01
    assert departure(ours) == pytest.approx(REACH, rel=1e-6)


def test_pogo_error_is_of_fourth_order():
    X, G = frame(6, 20), normal(6, 20, seed=1)
    errors = [departure(pogo_step(X, G, lr)) for lr in (0.04, 0.02, 0.01)]
    assert all(12 < a / b < 20 for a, b in itertools.pairwise(errors)), errors
    assert errors[0] < 1e-3
    tangent = [departure(X - lr * relative_gradient(X, G)) for lr in (0.04, 0.02)]
    assert tangent[0] / tangent[1] == pytest.approx(4, rel=1e-6)


def test_pogo_with_the_quartic_is_at_least_as_near_as_with_one_half():
    X, G = frame(6, 20), normal(6, 20, seed=1)
    for lr in (0.3, 0.1, 0.03):
        moved = X - lr * relative_gradient(X, G)
        best = best_attraction(moved, normal_field(moved))
        grid = min(departure(moved - t * normal_field(moved)) for t in torch.linspace(0, 1, 401).tolist())
        found = departure(pogo_step(X, G, lr, attraction="quartic"))
        assert found == pytest.approx(departure(moved - best * normal_field(moved)))
        assert found <= grid + 1e-12
        assert found < departure(pogo_step(X, G, lr))
    assert best_attraction(X, normal_field(X)) == 0.5, "rounding decides nothing"
    ours, _ = one_step(X, G, 0.1, mode="pogo", attraction="quartic")
    assert torch.allclose(ours, pogo_step(X, G, 0.1, attraction="quartic"), atol=1e-10)


@pytest.mark.parametrize(("mode", "attraction"), [("landing", 3.0), ("pogo", 0.25)])
def test_attraction_is_the_papers_lambda(mode, attraction):
    weight = frame(6, 20) * 1.05
    plain, _ = one_step(weight, 1e-9 * normal(6, 20, seed=1), 0.1, mode=mode, attraction=attraction)
    pull = attraction * (0.1 if mode == "landing" else 1)
    assert torch.allclose(plain, weight - pull * (1.05**2 - 1) * weight, atol=1e-8)


def test_spel_goes_as_far_however_small_the_gradient_unless_scaled():
    weight, gradient = frame(6, 20), normal(6, 20, seed=1)
    one, _ = one_step(weight, gradient, 0.1, mode="spel")
    small, _ = one_step(weight, 1e-3 * gradient, 0.1, mode="spel")
    assert torch.allclose(one, small, atol=1e-9)
    scaled, _ = one_step(weight, 1e-3 * gradient, 0.1, mode="spel", scale="nuclear")
    assert float((scaled - weight).norm()) < 0.1 * float((one - weight).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_spel_rests_where_only_rounding_is_left_of_the_gradient(shape, dtype):
    weight = frame(*shape).to(dtype)
    symmetric = normal(6, 6, seed=1).to(dtype)
    symmetric = symmetric + symmetric.T
    gradient = symmetric @ weight if shape[0] == 6 else weight @ symmetric
    X, G = (t if shape[0] == 6 else t.T for t in (weight, gradient))
    assert float((spel_step(X, G, 0.1) - X).norm()) < 1e-5
    moved = spel_step(X, G + 1e-3 * normal(6, 20, seed=2).to(dtype), 0.1)
    assert float((moved - X).norm()) > 0.1, "a small gradient is no rounding"


def test_scion_stays_in_its_ball_and_never_becomes_orthogonal_by_force():
    w = nn.Parameter(0.1 * normal(6, 20))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, dampening=0.9)
    disentangle.orthogonalize(optimizer, w, mode="scion", radius=2.0)
    for step in range(60):
        w.grad = normal(6, 20, seed=step)
        optimizer.step()
        assert float(torch.linalg.matrix_norm(w.detach(), ord=2)) <= 2 + 1e-9
    assert departure(w) > 0.5
    for _ in range(100):
        w.grad = normal(6, 20, seed=1)
        optimizer.step()
    assert torch.allclose(torch.linalg.svdvals(w.detach()), torch.full((6,), 2.0).double(), atol=1e-2)


@pytest.mark.parametrize("mode", ON_MANIFOLD)
@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (16, 3, 3, 3)])
def test_a_weight_far_from_orthogonal_is_put_there_first(mode, shape):
    weight, gradient = 3 * normal(*shape), normal(*shape, seed=1)
    ours, _ = one_step(weight, gradient, 1e-3, mode=mode)
    near = svd_polar(weight.flatten(1)).reshape(shape)
    expected, _ = one_step(near, gradient, 1e-3, mode=mode)
    assert torch.allclose(ours, expected, atol=1e-10)
    assert departure(ours) < 1e-3


@pytest.mark.parametrize("mode", ["landing", "pogo"])
def test_nog_goes_before_the_step(mode):
    weight, gradient = frame(6, 20), normal(6, 20, seed=1)
    ours, _ = one_step(weight, 1e3 * gradient, 0.05, mode=mode, nog=True)
    expected, _ = one_step(weight, svd_polar(gradient), 0.05, mode=mode)
    assert torch.allclose(ours, expected, atol=1e-10)


@pytest.mark.parametrize("mode", ["landing", "pogo"])
def test_retraction_ends_the_step_exactly_on_the_manifold(mode):
    weight, gradient = frame(6, 20), normal(6, 20, seed=1)
    free, _ = one_step(weight, gradient, 0.1, mode=mode)
    ours, _ = one_step(weight, gradient, 0.1, mode=mode, retraction="polar")
    assert departure(free) > 1e-9 > departure(ours)
    assert torch.allclose(ours, svd_polar(free), atol=1e-12)


def test_half_precision_weights_step():
    for mode in MODES:
        ours, _ = one_step(frame(6, 20).bfloat16(), normal(6, 20, seed=1).bfloat16(), 0.125, mode=mode)
        exact, _ = one_step(frame(6, 20), normal(6, 20, seed=1), 0.125, mode=mode)
        assert ours.dtype == torch.bfloat16
        assert float((ours.double() - exact).norm() / exact.norm()) < 0.03


# ---------------------------------------------------------------------------------------------- whole trainings


def minimise(objective: object, start: Tensor, steps: int, lr: float, **options: object) -> tuple[Tensor, list[float]]:
    w = nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([w], lr=lr)
    if options:
        disentangle.orthogonalize(optimizer, w, **options)
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = objective(w)
        value.backward()
        optimizer.step()
        values.append(value.item())
    return w.detach(), values


@pytest.mark.parametrize(
    ("options", "largest"),
    [({"mode": "landing"}, 5e-6), ({"mode": "pogo"}, 4e-13), ({"mode": "pogo", "attraction": "quartic"}, 4e-13),
     ({"mode": "spel"}, 1e-13), ({"nog": True, "retraction": "polar"}, 1e-13)],
)  # fmt: skip
def test_linear_objective_ends_on_the_manifold_at_the_optimum(options, largest):
    target = normal(64, 27)
    w, values = minimise(lambda w: (target * w).sum(), frame(64, 27, seed=1), 200, 0.1, **options)
    assert departure(w) < largest
    optimum = -float(torch.linalg.svdvals(target).sum())
    assert optimum * 1.5 < min(values)  # Landing may be in front of the manifold on the way
    assert values[-1] == pytest.approx(optimum, rel=5e-3)


@pytest.mark.parametrize("options", [{}, {"nog": True}, {"nog": True, "mode": "update"}], ids=str)
def test_linear_objective_drives_the_others_away(options):
    target = normal(64, 27)
    w, _ = minimise(lambda w: (target * w).sum(), frame(64, 27, seed=1), 200, 0.1, **options)
    assert departure(w) > 1e3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_procrustes_objective_falls(mode, shape):
    A = normal(30, shape[0], seed=1) / 30**0.5
    solution = frame(*shape, seed=2)
    start = frame(*shape, seed=3)
    w, values = minimise(lambda w: (A @ w - A @ solution).square().sum(), start, 300, 0.02, mode=mode)
    assert values[-1] < 0.05 * values[0]
    if mode in ON_MANIFOLD:
        assert departure(w) < 1e-3


# ------------------------------------------------------------------------------------------ optimizers and loops


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("mode", ON_MANIFOLD)
def test_any_optimizer_stays_near_the_manifold_in_float32(name, mode):
    w, other, twin = (nn.Parameter(t.float()) for t in (frame(6, 20), normal(4, 7), normal(4, 7)))
    optimizer, reference = OPTIMIZERS[name]([w, other]), OPTIMIZERS[name]([twin])
    disentangle.orthogonalize(optimizer, w, mode=mode)
    for step in range(30):
        w.grad = normal(6, 20, seed=step).float()
        other.grad = normal(4, 7, seed=step + 50).float()
        twin.grad = other.grad.clone()
        before = w.detach().clone()
        optimizer.step()
        reference.step()
        assert departure(w) < {"landing": REACH + 1e-5, "pogo": 2e-2, "spel": 2e-6}[mode]
        assert not torch.equal(w, before)
    assert torch.equal(other, twin), "the other weights take the step they would take alone"
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("mode", MODES)
def test_momentum_is_the_optimizers_own(mode):
    w = nn.Parameter(frame(6, 20))
    optimizer = torch.optim.SGD([w], lr=0.05, momentum=0.9)
    disentangle.orthogonalize(optimizer, w, mode=mode)
    buffer, expected = torch.zeros(6, 20).double(), frame(6, 20)
    for step in range(4):
        w.grad = 0.1 * normal(6, 20, seed=step + 1)
        buffer = 0.9 * buffer + w.grad
        optimizer.step()
        expected = expected_step(mode, expected, buffer, 0.05)
    assert torch.allclose(w, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["sgd-momentum", "adam", "adamw"])
@pytest.mark.parametrize("mode", MODES)
def test_resume_with_a_schedule_continues_bit_for_bit(name, mode):
    def build(start: Tensor) -> tuple[nn.Parameter, torch.optim.Optimizer, object, Treatment]:
        w = nn.Parameter(start.clone())
        optimizer = OPTIMIZERS[name]([w])
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        return w, optimizer, scheduler, disentangle.orthogonalize(optimizer, w, mode=mode)

    def run(w: nn.Parameter, optimizer: torch.optim.Optimizer, scheduler: object, steps: range) -> None:
        for step in steps:
            w.grad = normal(6, 20, seed=step).float()
            optimizer.step()
            scheduler.step()

    w, optimizer, scheduler, handle = build(frame(6, 20).float())
    base = optimizer.param_groups[0]["lr"]
    run(w, optimizer, scheduler, range(5))
    middle = w.detach().clone()
    saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict(), handle.state_dict()))
    run(w, optimizer, scheduler, range(5, 10))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(base / 8)
    assert handle.last_lr[0] == pytest.approx(base / 8)

    resumed, second, again, twin = build(middle)
    for part, state in zip((second, again, twin), saved, strict=True):
        part.load_state_dict(state)
    run(resumed, second, again, range(5, 10))
    assert torch.equal(resumed, w)
    assert twin.records == handle.records


@pytest.mark.parametrize("mode", MODES)
def test_maximising_and_scaled_gradients_take_the_mirrored_and_the_same_step(mode):
    weight, gradient = frame(6, 20), normal(6, 20, seed=1)
    plain, _ = one_step(weight, gradient, 0.05, mode=mode)
    w = nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([w], lr=0.05, maximize=True)
    disentangle.orthogonalize(optimizer, w, mode=mode)
    w.grad = -gradient
    optimizer.step()
    assert torch.allclose(w, plain, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_zero_missing_and_non_finite_gradients_are_no_step(mode):
    w, other = nn.Parameter(frame(6, 20)), nn.Parameter(normal(6, 20))
    optimizer = torch.optim.SGD([w, other], lr=0.1)
    handle = disentangle.orthogonalize(optimizer, [w, other], mode=mode)
    before = w.detach().clone(), other.detach().clone()
    optimizer.step()
    for gradient in (torch.zeros(6, 20), torch.full((6, 20), torch.nan), torch.full((6, 20), torch.inf)):
        w.grad, other.grad = gradient.double(), gradient.double()
        optimizer.step()
    assert torch.equal(w, before[0])
    assert torch.equal(other, before[1])
    record = handle.records[0]
    assert (record.without_gradient, record.zero_gradients, record.nonfinite_gradients) == (1, 1, 2)


def test_a_learning_rate_of_zero_is_no_step():
    for mode in MODES:
        weight = normal(6, 20)
        ours, _ = one_step(weight, normal(6, 20, seed=1), 0.0, mode=mode)
        assert torch.equal(ours, weight)


def test_a_step_that_leaves_the_numbers_is_taken_back():
    w = nn.Parameter(frame(6, 20).float())
    optimizer = torch.optim.SGD([w], lr=1e30)
    handle = disentangle.orthogonalize(optimizer, w, mode="pogo")
    before = w.detach().clone()
    w.grad = 1e30 * normal(6, 20, seed=1).float()
    optimizer.step()
    assert torch.equal(w, before)
    assert handle.records[0].nonfinite_gradients == 1


def test_orthogonality_loss_goes_with_scion():
    weight, gradient = 2 * frame(6, 20), normal(6, 20, seed=1)
    ours, _ = one_step(weight, gradient, 0.1, mode="scion", ol=0.5)
    expected, _ = one_step(weight, gradient + 0.5 * 4 * 3 * weight, 0.1, mode="scion")
    assert torch.allclose(ours, expected, atol=1e-10)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"mode": mode, "olr": True}, f"mode is '{mode}': olr=True does not go with it") for mode in MODES),
        *(({"mode": mode, "nog": True}, "leave nog out") for mode in ("spel", "scion")),
        *(({"mode": mode, "ol": 1.0}, "leave ol out") for mode in ON_MANIFOLD),
        *(({"mode": mode, "retraction": "polar"}, "leave retraction out") for mode in ("spel", "scion")),
        *(({"mode": mode, "scale": "nuclear"}, "leave scale out") for mode in ("landing", "pogo", "scion")),
        ({"mode": "spel", "attraction": 1.0}, "attraction belongs to mode='landing' and mode='pogo'; mode is 'spel'"),
        ({"nog": True, "attraction": 1.0}, "attraction belongs to"),
        ({"mode": "landing", "attraction": "quartic"}, "belongs to mode='pogo'; give mode='landing' a number"),
        ({"mode": "pogo", "attraction": "cubic"}, "attraction is 'cubic'"),
        ({"mode": "pogo", "attraction": 0.0}, "attraction is 0.0; expected a number above 0"),
        ({"mode": "landing", "attraction": math.inf}, "attraction is inf"),
        ({"mode": "scion", "radius": 0.0}, "radius is 0.0; expected a number above 0"),
        ({"mode": "pogo", "radius": 2.0}, "radius belongs to mode='scion'"),
        ({"mode": "landng"}, "did you mean 'landing'"),
    ],
)
def test_options_that_exclude_each_other(options, message):
    w = nn.Parameter(frame(6, 20))
    optimizer = torch.optim.SGD([w], lr=0.1)
    with pytest.raises(InputError, match=message):
        disentangle.orthogonalize(optimizer, w, **options)
    assert not optimizer._optimizer_step_pre_hooks


def test_scion_refuses_more_than_the_whole_way():
    with pytest.raises(InputError, match="learning rate is 1.5; mode='scion' moves by a share of the way"):
        one_step(frame(6, 20), normal(6, 20, seed=1), 1.5, mode="scion")


def test_a_state_saved_before_these_options_existed_is_read():
    w = nn.Parameter(frame(6, 20))
    handle = disentangle.orthogonalize(torch.optim.SGD([w], lr=0.1), w, nog=True)
    state = handle.state_dict()
    del state["options"]["attraction"], state["options"]["radius"]
    handle.load_state_dict(state)
    state["options"]["mode"] = "pogo"
    with pytest.raises(InputError, match="mode: saved 'pogo', here 'gradient'"):
        handle.load_state_dict(state)


@pytest.mark.parametrize("mode", MODES)
def test_configurations_choose_them(mode):
    config = TreatmentConfig(mode=mode)
    assert config.active
    assert not TreatmentConfig(mode="update").active
    w = nn.Parameter(frame(6, 20))
    handle = disentangle.orthogonalize(torch.optim.SGD([w], lr=0.1), w, **config.model_dump())
    assert handle.options.mode == mode
