"""What a contest says, in sentences: who trains most in a second, by how much, and by which measure of fairness.

A difference is claimed only where the whole interval of the ratio lies on one side of 1; everything else is called
uncertain, with its numbers. No sentence holds a number that is not in the standings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from albench.analysis.baselines import Outcome, Standing, lowest_confidence, outcome, speed
from albench.analysis.statistics import CONFIDENCE, Interval
from albench.methods.cutting import PIPELINES
from albench.report.answer import Answer, Tone
from albench.report.contests import EQUAL_DEPTH, Contest
from albench.report.words import counted, ends, listed, number, percent

MANY_CONTESTS = 3
"""From so many contests on the headline counts them: a line of three results is a table, and is shown as one."""


def ratio_words(ratio: Interval) -> str:
    """Return a ratio of speeds with its interval, to three digits: a few percent are a result here."""
    return f"{number(ratio.estimate)}× {ends(ratio)}".rstrip()


def contest_sentence(contest: Contest) -> str:
    """Return the answer: AL against the best pipeline, then BP and data parallelism against AL."""
    al = contest.best("al")
    pipeline, bp, shares = (contest.best(side) for side in ("pipeline", "bp", "data-parallel"))
    if not contest.standings:
        return f"At {contest.fairness} nothing could be measured: all {_failed(contest)} failed."
    if al is None:
        parts = ["AL was not measured"]
        first = contest.standings[0]
        parts.append(f"{first.name} trains most, {number(first.samples_per_second)} samples a second")
        return f"At {contest.fairness}: {'; '.join(parts)}."
    parts = []
    if pipeline:
        parts.append(_against_pipeline(al, pipeline))
    else:
        tried = any(method in PIPELINES for method, *_ in contest.failed_cuts)
        parts.append(
            f"{al.name} trains {number(al.samples_per_second)} samples a second; no pipeline baseline "
            + ("could be measured, all that were tried failed" if tried else "was measured")
        )
    parts += [_against_al(rival, al) for rival in (bp, shares) if rival]
    if bp is None:
        parts.append("BP was not measured")
    named = [one for one in (al, pipeline, bp, shares) if one]
    return f"At {contest.fairness}: {'; '.join(parts)}.{_worth(named)}"


def _worth(standings: Sequence[Standing]) -> str:
    """Say what the intervals are worth where there were too few rounds for the usual confidence."""
    confidence = lowest_confidence(standings)
    rounds = min(one.rounds for one in standings)
    if rounds < 2 or confidence >= CONFIDENCE:  # after a single round there is no interval, and the words say so
        return ""
    return (
        f" An interval here is the range of as few as {rounds} rounds, which holds the true median with "
        f"{percent(confidence)}, not {percent(CONFIDENCE)}, confidence."
    )


def _against_pipeline(al: Standing, pipeline: Standing) -> str:
    """Say how AL fares against the best pipeline."""
    ratio = speed(al, pipeline)
    rival = f"the best pipeline baseline ({pipeline.name})"
    found = outcome(ratio)
    if found == "unclear":
        return f"{_uncertain(f'{al.name} and {rival}', ratio)}, AL at {ratio_words(ratio)}"
    only = "only " if found == "slower" else ""
    return f"{al.name} trains {only}{ratio_words(ratio)} as many samples a second as {rival}"


def _against_al(rival: Standing, al: Standing) -> str:
    """Say how a rival fares against AL."""
    ratio = speed(rival, al)
    found = outcome(ratio)
    if found == "unclear":
        return f"{_uncertain(f'{rival.name} and AL', ratio)}, {rival.name} at {ratio_words(ratio)}"
    if found == "slower":
        return f"{rival.name} is slower than AL, {ratio_words(ratio)} as fast"
    return f"{rival.name} is {ratio_words(ratio)} as fast as AL"


def _uncertain(pair: str, ratio: Interval) -> str:
    """Say why nothing is claimed."""
    if math.isnan(ratio.low):
        return f"one round cannot tell a difference between {pair} from chance"
    return f"between {pair} no difference is certain"


def fairness_sentence(contest: Contest) -> str:
    """Say what is equal on both sides, and check it on the recorded parameters."""
    if contest.fairness == EQUAL_DEPTH:
        sentence = f"Equal depth: every network has {contest.hidden_layers} hidden layers, AL's bridges are one layer"
    else:
        sentence = (
            f"Equal effective parameters: AL's bridges have a hidden layer of {contest.work.bridge_width} units, and "
            f"BP's network takes the top bridge's layer in, which gives it {contest.hidden_layers + 1} hidden layers"
        )
    counts = contest.effective_parameters
    if len(counts) == 1:
        return f"{sentence}; all predict with the same {number(counts[0])} parameters."
    if counts:
        return f"{sentence}; they predict with parameters that differ by {percent(counts[-1] / counts[0] - 1, 1)}."
    return f"{sentence}; the records do not name the parameters."


def contest_answer(contest: Contest) -> Answer:
    """Return the answer as the first screen shows it."""
    word, tone = _word(contest)
    return Answer(
        title=f"{contest.title} ({contest.fairness})",
        place=f"at {contest.title}",
        word=word,
        short=word,
        tone=tone,
        caveat="",
        sentences=(contest_sentence(contest), fairness_sentence(contest)),
    )


def contest_headline(contests: Sequence[Contest]) -> str:
    """Return the answers of all contests in one line."""
    if len(contests) < MANY_CONTESTS:
        return " ".join(map(contest_sentence, contests))
    found = [_outcome(contest, "pipeline") for contest in contests]
    counts = [(word, found.count(word)) for word in ("faster", "slower", "unclear") if word in found]
    if not counts:
        return f"AL met no pipeline baseline in {counted(len(contests), 'contest')}."
    words = {"faster": "faster", "slower": "slower", "unclear": "not certainly different"}
    parts = [f"{words[word]} in {count}" for word, count in counts]
    return f"Against the best pipeline baseline, in {counted(len(contests), 'contest')}, AL is {listed(parts)}."


def _outcome(contest: Contest, side: str) -> Outcome | None:
    """Return how AL fares against the best of a side; None where one of them is missing."""
    al = contest.best("al")
    rival = contest.best("pipeline") if side == "pipeline" else contest.best("bp")
    return outcome(speed(al, rival)) if al and rival else None


def _word(contest: Contest) -> tuple[str, Tone]:
    """Return the answer in a few words, and its tone."""
    if contest.best("al") is None:
        return "No answer: AL was not measured", "open"
    pipeline, bp = _outcome(contest, "pipeline"), _outcome(contest, "bp")
    if pipeline is None:
        return "No answer: no pipeline was measured", "open"
    rest = {"faster": ", and than BP", "slower": ", but not than BP", "unclear": "", None: ""}[bp]
    if pipeline == "faster":
        return f"AL is faster than the best pipeline{rest}", "good" if bp == "faster" else "part"
    rest = {"faster": ", but faster than BP", "slower": ", and than BP", "unclear": "", None: ""}[bp]
    if pipeline == "slower":
        return f"AL is slower than the best pipeline{rest}", "part" if bp == "faster" else "bad"
    if _once(contest):
        return "AL and the best pipeline: one round cannot tell", "open"
    return "AL and the best pipeline: no certain difference", "open"


def _once(contest: Contest) -> bool:
    """Whether AL or the best pipeline was measured in a single round, of which there is no interval."""
    return any(one.rounds == 1 for side in ("al", "pipeline") if (one := contest.best(side)))


def _failed(contest: Contest) -> str:
    return counted(len(contest.failures), "case")
