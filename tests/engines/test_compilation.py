"""What is compiled without guards is compiled for its caller alone, and what cannot be says why in one line."""

import shutil

import pytest
import torch

from albench.engines.compilation import not_compiled, without_guards


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.timeout(180)
def test_bodies_of_one_definition_do_not_take_each_others_code():
    """Without guards nothing else would tell the second body, on other tensors, from the first."""

    def body_over(held, factor):
        def body():
            return held * factor

        return without_guards(body)

    first, second = body_over(torch.ones(3), 2.0), body_over(torch.ones(5), 7.0)
    assert first().tolist() == [2.0] * 3
    assert second().tolist() == [7.0] * 5
    assert first().tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (RuntimeError("no compiler\nand much more"), "not compiled (RuntimeError: no compiler)"),
        (NotImplementedError(), "not compiled (NotImplementedError)"),
    ],
)
def test_the_note_is_one_line(error, note):
    assert not_compiled(error) == note
