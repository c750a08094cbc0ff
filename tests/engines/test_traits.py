"""What tells modules apart besides parameters and buffers."""

import torch
from torch import nn

from albench.engines.traits import attributes, hooks, parameter_hooks


def test_attributes_are_those_that_the_author_gave():
    made = nn.ELU(alpha=0.5)
    made._hidden = [1, {"two": 2.0}]
    assert attributes(made) == {"alpha": (float, 0.5), "inplace": (bool, False), "_hidden": attributes(made)["_hidden"]}
    assert attributes(nn.Sequential(made)) == {}


def with_attribute(value):
    made = nn.Identity()
    made.value = value
    return attributes(made)


def test_values_are_compared_with_their_type_and_objects_by_identity():
    assert with_attribute((1, [2.0, {"x": "y"}])) == with_attribute((1, [2.0, {"x": "y"}]))
    assert with_attribute(1) != with_attribute(True)
    assert with_attribute([1]) != with_attribute((1,))
    assert with_attribute(torch.tanh) == with_attribute(torch.tanh)
    assert with_attribute(torch.ones(1)) != with_attribute(torch.ones(1))
    assert with_attribute(torch.Generator().manual_seed(1)) == with_attribute(torch.Generator().manual_seed(2))


def test_a_new_object_is_another_even_where_an_old_one_lay():
    seen = []
    for _ in range(20):
        now = with_attribute(object())
        assert all(now != before for before in seen)
        seen.append(now)


def test_hooks_are_told_apart_from_those_that_took_their_place():
    made = nn.Linear(2, 2)
    found = [(hooks(made), parameter_hooks(made.weight))]
    for register in (
        made.register_forward_hook,
        made.register_forward_pre_hook,
        made.register_full_backward_hook,
        made.register_full_backward_pre_hook,
        made.weight.register_hook,
        made.weight.register_post_accumulate_grad_hook,
    ):
        handle = register(print)
        found.append((hooks(made), parameter_hooks(made.weight)))
        handle.remove()
    assert found[0] == ((), ()) == (hooks(made), parameter_hooks(made.weight))
    assert len(set(found)) == 7
