"""Jobs: whatever happens to one rank, all of them learn the same reason, soon, and nobody waits for ever."""

import contextlib
import threading
import time
from datetime import timedelta

import psutil
import pytest
from torch.distributed import HashStore, TCPStore

from albench.engines import ComponentError, RankError, job
from albench.engines.job import ARRIVAL_SECONDS, LOOK_SECONDS, Job, RankFailure, _Pulse
from albench.errors import UsageError

pytestmark = pytest.mark.timeout(60)


def new_store():
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=20))


def another(store):
    """The same store as another process sees it: over a connection of its own."""
    return TCPStore("127.0.0.1", store.port, is_master=False, timeout=timedelta(seconds=20))


@contextlib.contextmanager
def ranks(size, *, start=True, timeout_seconds=30.0):
    """All ranks of one job, in this process: the store is a dictionary in its memory."""
    store = HashStore()
    jobs = [Job(store, rank=rank, size=size, timeout_seconds=timeout_seconds) for rank in range(size)]
    try:
        for one in jobs if start else ():
            one.start()
        yield jobs
    finally:
        for one in reversed(jobs):
            one.close()


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    monkeypatch.setattr(job, "LOOK_SECONDS", 0.02)


def together(*functions):
    """Call each in a thread of its own; return what they returned or raised."""
    outcomes = [None] * len(functions)

    def call(i, function):
        try:
            outcomes[i] = function()
        except Exception as error:
            outcomes[i] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return outcomes


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_what_one_publishes_the_others_read_now_or_later():
    with ranks(3) as (one, two, three):
        early = threading.Thread(target=lambda: time.sleep(0.05) or one.publish("key", [1, {"a": "b"}]))
        early.start()
        assert together(lambda: two.read("key"), lambda: three.read("key")) == [[1, {"a": "b"}]] * 2
        early.join()
        assert one.read("key") == [1, {"a": "b"}]


def test_nobody_leaves_a_meeting_before_the_last_has_come():
    here = []

    def come(rank, delay):
        time.sleep(delay)
        here.append(rank.rank)
        rank.meet("place")
        return len(here)

    with ranks(3) as (one, two, three):
        counts = together(lambda: come(one, 0), lambda: come(two, 0.15), lambda: come(three, 0.05))
    assert counts == [3, 3, 3]


def test_the_first_failure_counts_for_all():
    """Also for those who met another one later: a chain of broken links must not hide what broke first."""
    with ranks(3) as jobs:
        first = RankFailure(rank=1, reason="failed: made up")
        assert jobs[1].fail(first) == first
        assert jobs[2].fail(RankFailure(rank=2, reason="failed: a consequence")) == first
        for one in jobs:
            with pytest.raises(RankError, match="rank 1 failed: made up"):
                one.read("never")


def test_of_many_failures_at_once_all_learn_the_same():
    with ranks(4) as jobs:
        gate = threading.Barrier(4)

        def fail(one):
            gate.wait()
            return one.fail(RankFailure(rank=one.rank, reason="failed: made up"))

        failures = together(*[lambda one=one: fail(one) for one in jobs])
        assert len({failure.rank for failure in failures}) == 1


def test_a_component_that_fails_elsewhere_is_the_same_error_here():
    with ranks(2) as (one, two):
        cause = ArithmeticError("made\nup")
        error = ComponentError(range(2, 3), 7, cause)
        error.__cause__ = cause
        two.fail(RankFailure.of(1, error))
        with pytest.raises(
            ComponentError, match="component 2 failed on mini-batch 7: .*rank 1 ArithmeticError: made up"
        ):
            one.read("never")
        with pytest.raises(ComponentError) as caught:
            one.check()
        assert caught.value.components == range(2, 3)
        assert caught.value.minibatch == 7
        assert isinstance(caught.value.__cause__, RankError)


def test_a_failure_wakes_whoever_cannot_look():
    """Such as a lane that waits for the network in a condition variable."""
    with ranks(2) as (one, two):
        awake = threading.Event()
        one.on_failure.append(awake.set)
        two.fail(RankFailure(rank=1, reason="failed: made up"))
        assert awake.wait(10)


@pytest.mark.parametrize("wait", [lambda j: j.read("never"), lambda j: j.meet("place")], ids=["read", "meet"])
def test_whoever_waits_learns_that_a_rank_failed(wait):
    with ranks(2) as (one, two):
        threading.Timer(0.1, lambda: two.fail(RankFailure(rank=1, reason="failed: made up"))).start()
        with pytest.raises(RankError, match="rank 1 failed: made up"):
            wait(one)


def test_whoever_waits_learns_that_a_rank_left():
    with ranks(2) as (one, two):
        threading.Timer(0.1, two.close).start()
        with pytest.raises(RankError, match="rank 1 closed its engine while others were at work"):
            one.read("never")


def test_what_a_rank_said_before_it_left_counts():
    with ranks(2) as (one, two):
        two.publish("last words", "all is well")
        two.close()
        eventually(lambda: one._left == 1)
        assert one.read("last words") == "all is well"
        one.check()


def test_a_rank_that_falls_silent_is_taken_for_dead():
    with ranks(3, start=False, timeout_seconds=0.3) as (one, two, three):
        one.start()
        two.start()
        three.store.set("beat/2", "0")  # it came, and then nothing
        for waiting in (one, two):
            with pytest.raises(RankError, match="rank 2 showed no life for 0.3 s"):
                waiting.read("never")


def test_a_rank_that_has_not_come_yet_is_given_longer(monkeypatch):
    """Hosts do not start together: only then is the whole job given up."""
    with ranks(2, start=False, timeout_seconds=0.1) as (one, _):
        one.start()
        time.sleep(0.4)
        one.check()
        monkeypatch.setattr(job, "ARRIVAL_SECONDS", 0.5)
        with pytest.raises(RankError, match="rank 1 did not come"):
            one.read("never")


def test_a_beating_heart_is_never_silent():
    pulse = _Pulse()
    assert [pulse.silent_seconds(str(beat)) for beat in range(5)] == [0] * 5


def test_silence_is_counted_in_own_looks_and_not_by_the_clock(monkeypatch):
    """A machine that slept for an hour between two looks blames nobody: its own heart stood still as well."""
    monkeypatch.setattr(job, "LOOK_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr(time, "monotonic", lambda: pytest.fail("the clock was asked"))
    pulse = _Pulse()
    pulse.silent_seconds("7")
    assert [pulse.silent_seconds("7") for _ in range(4)] == [LOOK_SECONDS * k for k in range(1, 5)]
    assert pulse.silent_seconds("8") == 0
    assert ARRIVAL_SECONDS > 60


def test_a_rank_that_makes_another_call_is_told_so():
    with ranks(2) as (one, two):
        one.enter("fit")
        two.enter("fit")
        one.enter("state_dict")
        with pytest.raises(RankError, match=r"rank 1 called fit\(\) where another rank called state_dict\(\)"):
            two.enter("fit")


def test_keys_that_were_forgotten_are_gone_and_calls_do_not_pile_up():
    """A run of millions of calls must not fill the store."""
    with ranks(2) as (one, two):
        one.publish("plan", 1)
        one.forget("plan", "never was")
        assert not two.store.check(["plan"])
        for _ in range(20):
            for rank in (one, two):
                rank.enter("fit")
        assert [k for k in range(25) if one.store.check([f"call/{k}"])] == [19, 20]


def test_a_link_that_broke_waits_for_the_reason_and_then_gives_its_own():
    with ranks(2) as (one, two):
        threading.Timer(0.05, lambda: two.fail(RankFailure(rank=1, reason="failed: made up"))).start()
        assert one.reason(RankFailure(rank=0, reason="lost its link")).reason == "failed: made up"
    with ranks(2) as (one, two):
        lost = RankFailure(rank=0, reason="lost its link")
        assert one.reason(lost, patience_seconds=0.2) == lost
        with pytest.raises(RankError, match="rank 0 lost its link"):
            two.read("never")


def test_what_watches_beside_is_asked_and_believed():
    """A parent knows the exit code of its child long before a heartbeat is missed."""
    with ranks(2) as (one, two):
        dead = []
        one.watch = lambda: dead[0] if dead else None
        time.sleep(0.1)
        one.check()
        dead.append(RankFailure(rank=1, reason="ended by signal SIGKILL"))
        for waiting in (one, two):
            with pytest.raises(RankError, match="rank 1 ended by signal SIGKILL"):
                waiting.read("never")


def test_a_store_that_is_gone_ends_the_job_with_the_rank_that_held_it():
    store = new_store()
    with contextlib.closing(Job(another(store), rank=1, size=2, timeout_seconds=30)) as two:
        two.start()
        while store.get("beat/1") == b"0":
            time.sleep(0.005)
        del store
        for call in (
            lambda: two.read("never"),
            lambda: two.publish("a", 1),
            lambda: two.meet("b"),
            lambda: two.enter("fit"),
        ):
            with pytest.raises(RankError, match="rank 0 or its host is gone, and the store with it"):
                call()
        two.forget("a")  # tidying, which a job that failed needs no more


def test_closed_jobs_leave_no_thread_and_no_descriptor():
    """On a store that is reached over the network, as it is between processes."""
    process = psutil.Process()
    counts = []
    for _ in range(3):
        store = new_store()
        jobs = [Job(s, rank=rank, size=2, timeout_seconds=30) for rank, s in enumerate([store, another(store)])]
        for one in jobs:
            one.start()
        together(*[lambda one=one: one.meet("place") for one in jobs])
        for one in reversed(jobs):
            one.close()
        del store, jobs, one
        assert not [t for t in threading.enumerate() if t.name.startswith("albench")]
        counts.append(process.num_fds())
    assert counts[2] <= counts[0]


def test_closing_twice_and_closing_what_never_began_is_nothing():
    with ranks(2, start=False) as (one, two):
        one.close()
        two.start()
        start = time.monotonic()
        two.close()
        two.close()
        assert time.monotonic() - start < 2, "nobody is there any more to be waited for"


def test_a_job_that_is_closed_from_its_own_thread_does_not_wait_for_it():
    """A collector that runs there drops an engine that refers to itself."""
    outcomes = []
    with ranks(1) as (one,):

        def closing():
            if not outcomes:
                try:
                    outcomes.append(one.close())
                except RuntimeError as error:
                    outcomes.append(error)

        one.watch = closing
        eventually(lambda: outcomes)
    assert outcomes == [None]


def test_what_the_user_can_mend_is_a_usage_error_on_every_rank():
    with ranks(2) as (one, two):
        two.fail(RankFailure.of(1, UsageError("give another one")))
        eventually(lambda: one._failure is not None)
        with pytest.raises(UsageError, match="^rank 1: give another one$"):
            one.check()
