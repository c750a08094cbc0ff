"""Answers: the sentences of a report, made from findings.

A reader has ten seconds for the first screen. So each regime gets one word ("Yes", "No", "Up to its lanes", …), then
the sizes behind the word: how much longer the deepest network takes than the shallowest, whether AL's fastest engine
beats BP's fastest, and whether the network that was fast also learnt. No sentence holds a number of its own, and what
was projected says so in the sentence.
"""

from __future__ import annotations

import math
from collections import Counter

from albench.report.accuracy import Accuracy, DepthGap, depth_gap
from albench.report.answer import Answer, Tone
from albench.report.contest_words import contest_headline
from albench.report.findings import Findings
from albench.report.regimes import Comparison, Regime, Series
from albench.report.words import counted, ends, listed, number, percent, points, spelt, times

MEANINGS = {
    "O(n+ℓ)": "time adds up",
    "O(nℓ)": "time multiplies",
    "O(nℓ/K)": "flat until the lanes are full",
    "mixed": "in between",
    "inconclusive": "not decided",
}
"""What a verdict says, in words that need no paper."""

TONES: dict[str, Tone] = {
    "O(n+ℓ)": "good",
    "O(nℓ)": "bad",
    "O(nℓ/K)": "part",
    "mixed": "part",
    "inconclusive": "open",
}
"""How a verdict is coloured; the word beside it says the same."""


FAR_LESS = 0.5
"""Where time does grow with depth, but an extra layer costs under half of BP's for certain, the answer says so: a bare
"No" would hide the larger part of what was found."""
PLACES_TOLD = 4
"""Kinds of work that a headline names; of more it counts the answers."""


def answers(findings: Findings) -> list[Answer]:
    """Return the answer for each regime that asks how time grows."""
    rules = Counter(regime.rule for regime in findings.sweeps)
    return [_answer(regime, findings.accuracy_of(regime), alone=rules[regime.rule] == 1) for regime in findings.sweeps]


def headline(findings: Findings) -> str:
    """Return the whole answer as a headline."""
    found = answers(findings)
    if not found and findings.contests:
        return contest_headline(findings.contests)
    if not found and findings.accuracies:
        return _accuracy_headline(findings)
    if not found:
        return "No answer: no time was measured."
    caveats = list(dict.fromkeys(answer.caveat for answer in found if answer.caveat))
    if len({answer.word for answer in found}) == 1:
        parts = [f"{found[0].word}."]
    elif len(found) > PLACES_TOLD:
        counts = Counter(answer.short.partition(",")[0] for answer in found)
        told = listed(f"{word} in {count}" for word, count in counts.most_common())
        parts = [f"It depends: of {counted(len(found), 'kind')} of work, {told}."]
    else:
        shorts = list(dict.fromkeys(answer.short for answer in found))
        where = [f"{short} {listed(one.place for one in found if one.short == short)}" for short in shorts]
        parts = [f"It depends: {'; '.join(where)}." if len(shorts) > 1 else f"{shorts[0][0].upper()}{shorts[0][1:]}."]
    return " ".join([*parts, *[f"But {caveat}." for caveat in caveats]])


def _accuracy_headline(findings: Findings) -> str:
    """Return the answer where networks were trained to the end and no time was swept."""
    told = [(one, gap) for one in findings.accuracies if (gap := depth_gap(one))]
    if not told:
        return "No answer: AL was not trained."
    if len(told) == 1:
        return accuracy_sentence(*told[0])
    badly = sum(gap.notable for _, gap in told)
    if badly:
        return f"Deep AL learns badly in {badly} of {counted(len(told), 'kind')} of work."
    at_best = ", with the best of its settings" if any(gap.hangs_on_settings for _, gap in told) else ""
    return f"Deep AL learns{at_best}."


def heading(regime: Regime) -> str:
    """Return the regime's title, with the rule that holds there where the report can tell."""
    rules = {"launches": "launches rule", "arithmetic": "arithmetic rules"}
    title = f"{regime.title}: {rules[regime.rule]}" if regime.rule else regime.title
    return title[0].upper() + title[1:]


def _answer(regime: Regime, accuracy: Accuracy | None, *, alone: bool) -> Answer:
    """Return the answer for one regime. `alone`: whether no other one is named by the same rule."""
    gap = depth_gap(accuracy) if accuracy and accuracy.trained_to_the_end else None
    short, word, tone = _word(regime)
    caveat = f"AL learns badly at ℓ = {gap.deepest.hidden_layers}" if gap and gap.notable else ""
    sentences = [_growth_sentence(regime), _speed_sentence(regime), _projected_sentence(regime)]
    if accuracy and gap:
        sentences.append(accuracy_sentence(accuracy, gap))
    places = {"launches": "where launches rule", "arithmetic": "where arithmetic rules"}
    return Answer(
        title=heading(regime),
        place=places[regime.rule] if regime.rule and alone else f"at {regime.title}",
        word=word,
        short=short,
        tone="part" if caveat and tone == "good" else tone,
        caveat=caveat,
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def _word(regime: Regime) -> tuple[str, str, Tone]:
    """Return the answer of one regime: for a headline, in full, and its tone.

    An engine whose time adds up answers the question, whichever it is. Otherwise the verdict of AL's fastest engine at
    the deepest network does, because that is the one a user would take; how it grows beside BP is said with the word.
    """
    series = regime.of_method("al")
    if not series and regime.of_method("idle"):
        return "nothing was trained", "Nothing was trained: these are the harness's own times", "open"
    if not series:
        return "no answer", "No answer: AL was not measured", "open"
    adding = [one.name for one in series if one.verdict.complexity == "O(n+ℓ)"]
    if adding:
        if regime.comparisons and regime.comparisons[-1].speedup.high < 1:
            return "yes, but BP is still faster", f"Yes with {listed(adding)}, but BP is still faster", "part"
        return "yes", f"Yes, with {listed(adding)}", "good"
    fastest = regime.fastest("al", max(depth for one in series for depth in one.depths)) or series[0]
    verdict = fastest.verdict.complexity
    if verdict == "O(nℓ/K)":
        return "only until the lanes are full", f"Only until its {counted(fastest.lanes or 0, 'lane')} are full", "part"
    word = {"mixed": "Partly", "inconclusive": "Not decided"}.get(verdict, "No")
    ratio = regime.product_ratio(fastest)
    if ratio and verdict in ("mixed", "O(nℓ)") and ratio.high < FAR_LESS:
        share = percent(ratio.estimate)
        full = f"{word}, but an extra layer costs {fastest.name} {share} of what it costs BP"
        return f"{word.lower()}, with layers at {share} of BP's cost", full, "part"
    return word.lower(), word, TONES[verdict]


def growth(series: Series, regime: Regime) -> tuple[int, int, float, float] | None:
    """Return the first and last depth and the milliseconds per mini-batch there; None for a single depth."""
    depths = series.depths
    first, last = (series.shown(depth, regime.minibatches) for depth in (depths[0], depths[-1]))
    if first is None or last is None or first.hidden_layers == last.hidden_layers:
        return None
    return first.hidden_layers, last.hidden_layers, first.milliseconds.estimate, last.milliseconds.estimate


def _growth_sentence(regime: Regime) -> str:
    """Say how much longer the deepest network takes than the shallowest, for AL and beside it for BP."""
    al = regime.fastest("al", max((d for s in regime.of_method("al") for d in s.depths), default=0))
    if al is None or (grown := growth(al, regime)) is None:
        return ""
    first, last, start, end = grown
    sentence = (
        f"{al.name}: {last / first:g} times the depth (ℓ = {first} to {last}) takes "
        f"{number(end / start, 2)} times as long per mini-batch"
    )
    if regime.baseline and (rival := growth(regime.baseline, regime)):
        sentence += f"; {regime.baseline.name}: {number(rival[3] / rival[2], 2)} times"
        if rival[:2] != grown[:2]:
            sentence += f" (ℓ = {rival[0]} to {rival[1]})"
    return sentence + "."


def _speed_sentence(regime: Regime) -> str:
    """Say whether AL's fastest engine beats BP's fastest at the deepest network, and where it loses."""
    if not regime.of_method("al"):
        return ""
    if not regime.comparisons:
        return "No speed-up: BP was not measured on the same mini-batches."
    deepest = regime.comparisons[-1]
    sentence = (
        f"At ℓ = {deepest.hidden_layers} the fastest AL ({deepest.al}) needs "
        f"{number(deepest.al_milliseconds.estimate)} ms a mini-batch, the fastest BP ({deepest.bp}) "
        f"{number(deepest.bp_milliseconds.estimate)} ms: {speed_words(deepest)} {ends(deepest.speedup, 2)}".rstrip()
        + "."
    )
    lost = [str(one.hidden_layers) for one in regime.comparisons[:-1] if one.speedup.high < 1]
    won = [str(one.hidden_layers) for one in regime.comparisons[:-1] if one.speedup.low > 1]
    if lost:
        too = " too" if deepest.speedup.high < 1 else ""
        sentence += f" AL is slower at ℓ = {listed(lost)}{too}."
    if won and deepest.speedup.low <= 1:
        sentence += f" AL is faster at ℓ = {listed(won)}."
    return sentence


def speed_words(comparison: Comparison) -> str:
    """Say who is faster and by how much; an interval that holds 1 decides nothing, nor does a single round."""
    ratio = comparison.speedup
    if math.isnan(ratio.low):
        return f"{times(ratio.estimate)} BP's speed in one round, which cannot tell a difference from chance"
    if ratio.low > 1:
        return f"AL is {times(ratio.estimate)} as fast"
    if ratio.high < 1:
        return f"AL is slower, {times(ratio.estimate)} BP's speed"
    return f"no clear difference, {times(ratio.estimate)}"


def _projected_sentence(regime: Regime) -> str:
    """Say what enough lanes would give, labelled."""
    if not regime.projected:
        return ""
    series = regime.projected[0]
    point = series.shown(series.depths[-1], regime.minibatches)
    if point is None:
        return ""
    return (
        f"Projected, not measured: with a lane for each of its {counted(point.lanes, 'component')}, AL at "
        f"ℓ = {point.hidden_layers} would take {number(point.milliseconds.estimate)} ms a mini-batch."
    )


def accuracy_sentence(accuracy: Accuracy, gap: DepthGap) -> str:
    """Say how the deepest AL network learnt, beside AL's best depth and BP's same depth.

    "Badly" is said only of networks that were trained to the end: a run that stops early is bad at any depth.
    """
    deepest, best = gap.deepest, gap.best
    if accuracy.trained_to_the_end:
        start = (
            f"Deep AL learns badly: at ℓ = {deepest.hidden_layers} it"
            if gap.notable
            else f"At ℓ = {deepest.hidden_layers} AL"
        )
        sentence = f"{start} reaches {percent(deepest.mean.estimate, 1)} held-out accuracy"
        if gap.hangs_on_settings:
            sentence += f" ({percent(gap.worst.mean.estimate, 1)} with the worst of its {gap.settings} settings)"
    else:
        sentence = (
            f"After only {counted(deepest.minibatches, 'mini-batch', 'es')} AL is at "
            f"{percent(deepest.mean.estimate, 1)} held-out accuracy at ℓ = {deepest.hidden_layers}"
        )
    beside = []
    if best.hidden_layers != deepest.hidden_layers:
        beside.append(f"{percent(best.mean.estimate, 1)} at its best depth (ℓ = {best.hidden_layers})")
    if gap.bp:
        beside.append(f"{percent(gap.bp.mean.estimate, 1)} for BP at the same depth")
    return sentence + (f", against {listed(beside)}." if beside else ".")


def layer_words(regime: Regime, series: Series) -> str:
    """Say what an extra layer costs a series, BP's extra layer being the measure."""
    ratio = regime.product_ratio(series)
    if ratio is None or regime.baseline is None or math.isnan(ratio.estimate):  # where BP's own law was not found
        return ""
    size = f"{percent(ratio.estimate)} of" if ratio.estimate < 1.5 else f"{number(ratio.estimate, 2)} times"
    return f"an extra layer costs it {size} what it costs {regime.baseline.name}"


def series_sentence(regime: Regime, series: Series) -> str:
    """Return a series' verdict with its size, as one plain sentence."""
    verdict = series.verdict
    sentence = f"{series.name}: {verdict.complexity}, {MEANINGS[verdict.complexity]}"
    if verdict.complexity == "inconclusive":
        return f"{sentence}. {' '.join(verdict.reasons)}"
    share = verdict.product_share
    sentence += (
        f"; {percent(share.estimate)} of the steady cost of the deepest network is proportional to depth "
        f"(product share {number(share.estimate, 2)} {ends(share, 2)}){_half_words(series)}"
    )
    layer = layer_words(regime, series)
    return f"{sentence}; {layer}." if layer else f"{sentence}."


def single_points_sentence(regime: Regime) -> str:
    """Say which series have a single point, of which no growth can be told; empty where each has more."""
    single = [series.name for series in regime.everything if not series.swept]
    if not single:
        return ""
    if len(single) == len(regime.everything):
        return "One depth and one number of mini-batches were measured here, so nothing is said on how time grows."
    return f"Measured at one point only, and so not judged: {spelt(single)}."


def _half_words(series: Series) -> str:
    """Say at which depth half of the steady cost is proportional to depth: ℓ = a/γ, from the product share."""
    share, deepest = series.verdict.product_share, series.depths[-1]
    if not 0 < share.low <= share.estimate <= share.high < 1:
        return ""
    half, low, high = (deepest * (1 - p) / p for p in (share.estimate, share.high, share.low))
    return f", by the fit half of it at ℓ = {number(half, 2)} [{number(low, 2)}, {number(high, 2)}]"


def deep_learning_words(gap: DepthGap) -> str:
    """Return how far the deepest AL network is behind, in points, where that is worth a warning."""
    parts = []
    if gap.below_best > 0:
        parts.append(f"{points(gap.below_best)} under AL's best depth (ℓ = {gap.best.hidden_layers})")
    if gap.bp and gap.below_bp > 0:
        parts.append(f"{points(gap.below_bp)} under BP at the same depth")
    return listed(parts) if parts else "not behind"
