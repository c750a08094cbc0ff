"""Speed-up figure: BP's fastest over AL's fastest against ℓ, with the line of equal speed."""

from __future__ import annotations

from collections.abc import Sequence

from albench.report.answers import heading
from albench.report.axes import depth_axis, legend, line, log_axis
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.regimes import Regime
from albench.report.style import MUTED, SMALL, Look
from albench.report.words import times


def speedup_drawing(regimes: Sequence[Regime]) -> Drawing:
    """Draw BP's fastest over AL's fastest against ℓ, a line a regime, with the line of equal speed."""
    figure, axes = canvas(4.4)
    shown = [regime for regime in regimes if regime.comparisons]
    regime_looks = dict(zip(map(heading, shown), _regime_looks(len(shown)), strict=True))
    for regime in shown:
        style = regime_looks[heading(regime)]
        x = [one.hidden_layers for one in regime.comparisons]
        line(axes, x, [one.speedup for one in regime.comparisons], style)
    axes.axhline(1.0, color=MUTED, linewidth=1.2)
    depth_axis(axes, sorted({one.hidden_layers for regime in shown for one in regime.comparisons}))
    log_axis(axes, "times as fast as BP")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.7), max(high, 1.45))
    for text, side, offset in (("AL faster", "bottom", 4), ("AL slower", "top", -4)):
        axes.annotate(
            text,
            (1.0, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(0, offset),
            textcoords="offset points",
            ha="right",
            va=side,
            color=MUTED,
            fontsize=SMALL,
        )
    axes.set_title("AL's fastest engine against BP's fastest")
    legend(figure, regime_looks)
    return drawing_of(
        figure,
        name="speedup-against-depth",
        title="Speed-up against depth",
        alt="How many times as fast AL's fastest engine is as BP's fastest, against hidden layers: "
        + "; ".join(
            f"{heading(regime)}: "
            + ", ".join(f"{times(one.speedup.estimate)} at ℓ = {one.hidden_layers}" for one in regime.comparisons)
            for regime in shown
        )
        + ".",
        reading="Above the grey line AL trains the same mini-batches in less time, below it in more. Measured engines "
        "only, each side's fastest at each depth.",
        limits="It does not show how well the networks learn, and a loss at small depth does not contradict a win at "
        "large depth: the law is about growth.",
        work=None,
    )


def _regime_looks(count: int) -> list[Look]:
    """Return the looks of regimes, which are not series and so share no legend with them."""
    colours, markers = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"), ("o", "s", "^", "D", "v")
    return [Look(colours[i % 5], markers[(i + i // 5) % 5]) for i in range(count)]
