"""Teams: processes that make every call together, and end together."""

import os
import signal
import threading
import time

import psutil
import pytest
import torch
from torch import distributed

from albench.engines.errors import RankError
from albench.errors import UsageError
from albench.methods.team import Team, shared
from albench.process import forkserver
from tests.forked_script import ForkedScript

pytestmark = pytest.mark.timeout(120)

forkserver("albench.methods.team")


class Adder:
    def __init__(self, start, rank, size):
        if start == "refuse":
            raise UsageError("no such start: give a number")
        self.start, self.rank = start, rank

    def sum(self, addend):
        total = torch.tensor([self.start + addend * (self.rank + 1)])
        distributed.all_reduce(total)
        return int(total)

    def fill(self, tensor):
        tensor[self.rank] = self.rank + 1

    def fail(self, who):
        if self.rank == who:
            raise ValueError("two and two make five")
        distributed.barrier()

    def wait(self):
        if self.rank == 0:
            distributed.barrier()
        time.sleep(60)


def processes_of(team):
    return [psutil.Process(pid) for pid in team.process_ids]


def test_members_make_every_call_together():
    team = Team(Adder, 10, size=3)
    assert team.call("sum", 1) == 30 + 1 + 2 + 3
    x, y, sizes = shared([(torch.zeros(2, 1), torch.zeros(2)), (torch.zeros(1, 1), torch.zeros(1))])
    team.call("fill", x)
    assert x.flatten().tolist() == [1, 2, 3]  # memory that all of them see
    assert (y.tolist(), sizes) == ([0, 0, 0], [2, 1])
    members = processes_of(team)
    team.close()
    assert not any(member.is_running() for member in members)
    with pytest.raises(UsageError, match=r"sum\(\) after the team's processes have ended"):
        team.call("sum", 1)


def test_two_teams_at_once_do_not_meet():
    one, other = Team(Adder, 1, size=2), Team(Adder, 2, size=2)
    assert (one.call("sum", 0), other.call("sum", 0)) == (2, 4)
    one.close()
    assert other.call("sum", 0) == 4
    other.close()


def test_what_a_member_refuses_is_the_callers_to_mend():
    with pytest.raises(UsageError, match="no such start: give a number"):
        Team(Adder, "refuse", size=2)


@pytest.mark.parametrize("who", [0, 1])
def test_a_member_that_fails_ends_the_team(who):
    team = Team(Adder, 0, size=2)
    members = processes_of(team)
    with pytest.raises(RankError, match=f"rank {who} failed: ValueError: two and two make five"):
        team.call("fail", who)
    assert not any(member.is_running() for member in members)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_member_that_is_killed_is_named_at_once(victim):
    """Not the one that noticed, whose connection broke."""
    team = Team(Adder, 0, size=2)
    members = processes_of(team)
    threading.Timer(0.5, lambda: os.kill(members[victim].pid, signal.SIGKILL)).start()
    start = time.monotonic()
    with pytest.raises(RankError, match=f"rank {victim} ended by signal SIGKILL"):
        team.call("wait")
    assert time.monotonic() - start < 10
    assert not any(member.is_running() for member in members)


def test_members_end_with_their_parent(tmp_path):
    """However the parent ends."""
    (tmp_path / "program.py").write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "from albench.methods.team import Team\nfrom tests.methods.test_team import Adder\n"
        "team = Team(Adder, 0, size=2)\n"
        "Path(sys.argv[1], 'new').write_text(' '.join(map(str, team.process_ids)))\n"
        "Path(sys.argv[1], 'new').rename(Path(sys.argv[1], 'ids'))\ntime.sleep(60)\n"
    )
    parent = ForkedScript(tmp_path / "program.py", tmp_path)
    try:
        while not (tmp_path / "ids").exists():
            assert parent.poll() is None
            time.sleep(0.05)
        members = [psutil.Process(int(pid)) for pid in (tmp_path / "ids").read_text().split()]
        assert len(members) == 2
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_unused_team_ends_with_its_last_reference():
    team = Team(Adder, 0, size=2)
    members = processes_of(team)
    del team
    assert not any(member.is_running() for member in members)
