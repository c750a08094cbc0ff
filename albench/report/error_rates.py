"""Error rates: the table of how often the judge of complexity is wrong, over made-up sweeps whose law is known.

    python -m albench.report.error_rates reports/verdict-error-rates

makes it anew, every count the same: the sweeps are made from seeds, and no clock is read. ``counts.csv`` has the raw
counts, ``summary.md`` what they come to.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from albench.analysis.complexity import Complexity
from albench.analysis.error_rates import MOST_WRONG, VERDICTS, Tally, cases, judged_again, tally_nth, too_often_wrong
from albench.analysis.made_up_sweeps import BATCH_SIZE, DRIFT, LAWS, SPIKE_CHANCE, SPIKE_EXPONENT
from albench.analysis.statistics import Interval, proportion_interval
from albench.errors import UsageError
from albench.report.tables import NO_CELL, Cell, Row, Table, markdown, markdown_text
from albench.report.words import counted, listed, percent
from albench.whole_file import write_whole

SWEEPS = 50
"""Sweeps a case. None wrong of so many bounds the rate of the case at 7.1 %, and that of its noise and grid, twelve
laws together, at 0.6 %."""
AGAIN = 400
"""Further sweeps of each case that had a wrong verdict: none wrong of so many bounds its rate at 0.9 %, twelve are 3 %
[1.6, 5.2]."""


def counts_csv(found: Sequence[Tally], *, first: int = 0) -> str:
    """Return the raw counts: a row a case, a column a verdict; `first`: the sweep that was judged first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["grid", "law", "noise", "rounds", "right_verdict", "sweeps", "first_seed", *VERDICTS, "wrong"])
    for one in found:
        case = one.case
        counts = [one.counts[verdict] for verdict in VERDICTS]
        writer.writerow(
            [
                case.grid.name,
                case.law.name,
                case.noise.name,
                case.rounds,
                one.truth,
                one.sweeps,
                case.seed(first),
                *counts,
                one.wrong,
            ]
        )
    return stream.getvalue()


def summary_markdown(found: Sequence[Tally], again: Sequence[Tally] = (), *, command: str) -> str:
    """Return what the counts come to, in Markdown."""
    total, wrong = sum(one.sweeps for one in found), sum(one.wrong for one in found)
    right = sum(one.right for one in found)
    rate = proportion_interval(wrong, total)
    lines = [
        "# How often a verdict is wrong",
        "",
        f"Of {counted(total, 'made-up sweep')} whose law is known, {counted(right, 'verdict')} were right "
        f"({percent(right / total, 1)}), {wrong} wrong ({_rate(rate, 2)}), and of the others the judge said that it "
        "cannot tell. No clock was read: times come from laws, noise and seeds. Wrong is every verdict but the right "
        "one and “inconclusive”. In brackets: 95 % intervals of Clopper and Pearson.",
        "",
        _over_words(found, again),
        "",
        *[markdown(table) for table in tables(found, again)],
        "## What was made up",
        "",
        *[f"- {markdown_text(line)}" for line in _made_up_words(found)],
        "",
        "## Reproduce",
        "",
        "```",
        command,
        "```",
        "",
        "`counts.csv` beside this file has the counts of every case by verdict, `counts-again.csv` those of the "
        "further sweeps.",
        "",
    ]
    return "\n".join(lines)


def tables(found: Sequence[Tally], again: Sequence[Tally] = ()) -> list[Table]:
    """Return the tables: by noise and grid, by law and grid, and every case that was wrong more than it may be."""
    found_tables = [
        _pooled(found, caption="Wrong verdicts by noise", first="noise, rounds", key=_noise_and_rounds),
        _pooled(found, caption="Wrong verdicts by law", first="law", key=lambda one: one.case.law.name),
        _pooled(
            found,
            caption="Verdicts that were right, by noise",
            first="noise, rounds",
            key=_noise_and_rounds,
            count=lambda one: one.right,
            note="The rest was wrong, or inconclusive.",
        ),
    ]
    if again:
        caption = f"Cases that had a wrong verdict, judged on {again[0].sweeps} further sweeps each"
        found_tables.append(_case_table(again, caption=caption))
    if over := too_often_wrong(found):
        found_tables.append(_case_table(over, caption=f"Cases in which over {percent(MOST_WRONG)} were wrong"))
    return found_tables


def _case_table(found: Sequence[Tally], *, caption: str) -> Table:
    """Return a row a case, those that were wrong most first."""
    rows = [
        Row(
            cells=(
                Cell(one.case.law.name),
                Cell(one.case.grid.name),
                Cell(one.case.noise.name),
                Cell(str(one.case.rounds)),
                Cell(one.truth),
                Cell(one.worst or NO_CELL),
                Cell(_rate(one.wrong_rate)),
                Cell(percent(one.right / one.sweeps)),
            )
        )
        for one in sorted(found, key=lambda one: -one.wrong)
    ]
    columns = ("law", "grid", "noise", "rounds", "right verdict", "wrong verdict", "wrong", "right")
    return Table(caption=caption, columns=columns, rows=tuple(rows))


def _noise_and_rounds(one: Tally) -> str:
    return f"{one.case.noise.name}, {counted(one.case.rounds, 'round')}"


def _pooled(
    found: Sequence[Tally],
    *,
    caption: str,
    first: str,
    key: Callable[[Tally], str],
    count: Callable[[Tally], int] = lambda one: one.wrong,
    note: str = "",
) -> Table:
    """Return shares of pooled sweeps: a row a key, a column a grid."""
    grids = list(dict.fromkeys(one.case.grid.name for one in found))
    rows = []
    for name in dict.fromkeys(map(key, found)):
        cells = [Cell(name)]
        for grid in grids:
            own = [one for one in found if key(one) == name and one.case.grid.name == grid]
            cells.append(Cell(_rate(proportion_interval(sum(map(count, own)), sum(one.sweeps for one in own)))))
        rows.append(Row(cells=tuple(cells)))
    return Table(caption=caption, columns=(first, *grids), rows=tuple(rows), note=note)


def _rate(rate: Interval, digits: int = 1) -> str:
    return f"{percent(rate.estimate, digits)} [{100 * rate.low:.{digits}f}, {100 * rate.high:.{digits}f}]"


def _over_words(found: Sequence[Tally], again: Sequence[Tally]) -> str:
    """Say plainly where the judge errs too often."""
    limit, over = percent(MOST_WRONG), too_often_wrong([*found, *again])
    if over:
        named = listed(dict.fromkeys(f"“{one.case.law.name}” on “{one.case.grid.name}”" for one in over))
        return f"**Over {limit} wrong with their whole interval are {counted(len(over), 'case')}: {named}.**"
    sentence = f"In no case is the rate of wrong verdicts over {limit} with its whole interval."
    if not again:
        return sentence
    worst = max((one.wrong_rate for one in again), key=lambda rate: rate.estimate)
    return (
        f"{sentence} Each of the {counted(len(again), 'case')} that had a wrong verdict was judged on "
        f"{again[0].sweeps} further sweeps: the highest rate is {_rate(worst)}."
    )


def _made_up_words(found: Sequence[Tally]) -> list[str]:
    """Describe grids, noises and laws."""
    grids = {one.case.grid.name: one.case.grid for one in found}
    lines = [
        f"Grid “{name}”: ℓ = {', '.join(map(str, grid.hidden_layers))}; N = {', '.join(map(str, grid.minibatches))} "
        f"mini-batches of {BATCH_SIZE}."
        for name, grid in grids.items()
    ]
    lines += [
        "Noise “x %”: log-normal with that standard deviation, on every time for itself.",
        f"Noise “3 % and spikes”: beside it {percent(SPIKE_CHANCE)} of the times are longer by a Pareto variate of "
        f"exponent {SPIKE_EXPONENT:g}.",
        f"Noise “3 % and drift”: the machine slows down by {percent(DRIFT)} over the sweep, rounds one after the "
        "other, each in an order of its own.",
        "Noise “3 % uneven”: 3 % on the longest run, and more on shorter ones, as one over the root of their time.",
        "Laws have a start-up cost and a fixed part of each step; p is the true product share at the deepest network. "
        "Shares lie near the thresholds on purpose: there an interval that is right 95 times in 100 gives a wrong "
        "verdict up to 2.5 times in 100.",
        "In nearly all of them a law holds that the judge fits; what it says where none does is not counted here. The "
        "pipeline whose ticks lengthen with depth is the exception: its fill grows with ℓ².",
        f"Laws: {'; '.join(law.name for law in LAWS)}. Of lanes the judge is told; lanes that are never full on a grid "
        "are a pipeline there.",
    ]
    return lines


def _tallies(*, sweeps: int, workers: int) -> list[Tally]:
    """Return the tally of every case; how many processes share them changes no count."""
    places = range(len(cases()))
    if workers == 1:
        return [tally_nth(place, sweeps) for place in places]
    if workers < 1:
        raise UsageError(f"workers is {workers}: give at least 1")
    # Not forked: torch, which the report brings along, has threads.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = list(pool.map(_counts, places, repeat(sweeps), chunksize=8))
    return [Tally(case=case, counts=found) for case, found in zip(cases(), counts, strict=True)]


def _counts(place: int, sweeps: int) -> dict[Complexity, int]:
    return tally_nth(place, sweeps).counts  # a case holds its law, which no pipe takes


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m albench.report.error_rates", description="Judge made-up sweeps.")
    parser.add_argument("out", type=Path, help="directory for summary.md and counts.csv")
    parser.add_argument("--sweeps", type=int, default=SWEEPS, help=f"sweeps a case (default: {SWEEPS})")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work (default: 1)")
    given = parser.parse_args(arguments)
    try:
        found = _tallies(sweeps=given.sweeps, workers=given.workers)
        again = judged_again(found, sweeps=AGAIN)
        given.out.mkdir(parents=True, exist_ok=True)
        command = f"python -m albench.report.error_rates {given.out} --sweeps {given.sweeps}"
        write_whole(given.out / "counts.csv", counts_csv(found))
        write_whole(given.out / "counts-again.csv", counts_csv(again, first=given.sweeps))
        write_whole(given.out / "summary.md", summary_markdown(found, again, command=command))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{given.out} cannot be written ({error.strerror}): give another directory", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
