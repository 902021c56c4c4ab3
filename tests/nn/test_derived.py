"""What is kept is the value of the tensors as they are."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.autograd import forward_ad

from disentangle.nn.derived import Derived


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    return 2 * tensor


def test_a_new_tensor_in_the_place_of_a_freed_one_is_another():
    """The allocator gives the same address again, and versions begin at zero again."""
    derived = Derived()
    addresses = set()
    for number in range(50):
        tensor = torch.full((1000,), float(number))
        addresses.add(tensor.data_ptr())
        assert float(derived(doubled, tensor)[0]) == 2 * number
        del tensor
    assert len(addresses) < 50, "the test has met no address twice"


def test_settings_are_part_of_what_is_kept():
    derived, tensor = Derived(), torch.ones(2)
    calls = []
    for factor in (2.0, 2.0, 3.0, 3.0, 2.0):
        value = derived(lambda t, factor=factor: calls.append(factor) or factor * t, tensor, settings=factor)
        assert value.tolist() == [factor, factor]
    assert calls == [2.0, 3.0, 2.0]


def test_nothing_is_kept_where_a_derivative_may_be_asked():
    derived, tensor = Derived(), torch.ones(2, requires_grad=True)
    derived(doubled, tensor).sum().backward()
    assert tensor.grad.tolist() == [2.0, 2.0]
    with torch.no_grad():
        kept = derived(doubled, tensor)
        assert derived(doubled, tensor) is kept
        assert not kept.requires_grad
    plain = torch.ones(2)
    kept = derived(doubled, plain)
    with forward_ad.dual_level():
        value = forward_ad.unpack_dual(derived(doubled, forward_ad.make_dual(plain, torch.full((2,), 5.0))))
        assert value.tangent.tolist() == [10.0, 10.0]
    assert derived(doubled, plain) is kept
    jacobian = torch.func.jacrev(lambda t: derived(doubled, t))(plain)
    assert torch.equal(jacobian, 2 * torch.eye(2))
    batch = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(torch.func.vmap(lambda t: derived(doubled, t))(batch), 2 * batch)


def test_threads_that_share_it_get_their_own_values():
    """As replicas of a module on several devices do."""
    derived, tensors = Derived(), [torch.full((100,), float(i)) for i in range(8)]

    def work(i: int) -> bool:
        return all(float(derived(doubled, tensors[i])[0]) == 2 * i for _ in range(300))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_copies_are_empty():
    derived = Derived()
    derived(doubled, torch.ones(1))
    assert copy.deepcopy(derived)._kept is None
    assert pickle.loads(pickle.dumps(derived))._kept is None
