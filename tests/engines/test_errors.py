"""The error of a task: who failed on what, and why; it crosses threads and processes."""

import pickle

from albench.engines import ComponentError, RankError


def test_it_names_the_component_the_mini_batch_and_the_cause():
    error = ComponentError(range(2, 3), 7, ArithmeticError("made up"))
    assert str(error) == "component 2 failed on mini-batch 7: ArithmeticError: made up"
    assert (error.component, error.minibatch) == (2, 7)
    assert isinstance(error, RuntimeError)


def test_a_stack_names_all_of_its_components():
    error = ComponentError(range(1, 4), 0, ValueError("x"))
    assert str(error).startswith("components 1-3 failed")
    assert error.component == 1
    assert error.components == range(1, 4)


def test_it_crosses_to_another_process():
    """An error that cannot be unpickled kills a process pool and hides what went wrong."""
    error = pickle.loads(pickle.dumps(ComponentError(range(1, 2), 3, ValueError("x"))))
    assert str(error) == "component 1 failed on mini-batch 3: ValueError: x"
    assert (error.components, error.minibatch) == (range(1, 2), 3)


def test_the_end_of_a_job_crosses_to_another_process():
    """Alone, and as the cause of a component that failed on another rank."""
    error = pickle.loads(pickle.dumps(RankError(2, "ended by signal SIGKILL")))
    assert (error.rank, error.reason, str(error)) == (2, "ended by signal SIGKILL", "rank 2 ended by signal SIGKILL")
    remote = pickle.loads(pickle.dumps(ComponentError(range(1, 2), 3, error)))
    assert "rank 2 ended by signal SIGKILL" in str(remote)
