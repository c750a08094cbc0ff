"""Links: units, and latency and bandwidth from two times."""

import math

import pytest

from albench.analysis.link import FREE, Link, bytes_per_second, latency_seconds, link_through
from albench.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5us", 5e-6), ("5 µs", 5e-6), ("0.1ms", 1e-4), ("2e-6", 2e-6), ("1s", 1.0), ("300ns", 3e-7), ("0", 0.0)],
)
def test_latencies_have_units(text, expected):
    assert latency_seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(("text", "expected"), [("25", 25e9), ("800MB/s", 8e8), ("200 Gbit/s", 25e9)])
def test_bandwidths_have_units(text, expected):
    assert bytes_per_second(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["5 parsecs", "us", "", "five", "1.2.3", "5us5", "5", "2000ms"])
def test_what_is_no_latency_is_refused_with_the_units(text):
    with pytest.raises(UsageError, match="link latency is .*such as 5us"):
        latency_seconds(text)


def test_what_is_no_bandwidth_is_refused_with_the_units():
    with pytest.raises(UsageError, match="link bandwidth is '25Gb'.* GB/s, .*Gbit/s"):
        bytes_per_second("25Gb")


@pytest.mark.parametrize(
    "numbers",
    [
        {"latency_seconds": -1e-6},
        {"latency_seconds": math.inf},
        {"latency_seconds": math.nan},
        {"bytes_per_second": 0.0},
        {"bytes_per_second": -1.0},
        {"bytes_per_second": math.nan},
    ],
)
def test_what_no_link_can_be_is_refused(numbers):
    with pytest.raises(UsageError, match="link (latency|bandwidth) is"):
        Link(**numbers)


def test_two_times_give_latency_and_bandwidth():
    link = Link(latency_seconds=7e-6, bytes_per_second=3e9)
    times = [(size, link.latency_seconds + link.occupied_seconds(size)) for size in (4096, 4_194_304)]
    found = link_through(*times)
    assert found.latency_seconds == pytest.approx(7e-6)
    assert found.bytes_per_second == pytest.approx(3e9)
    assert not found.is_free
    assert FREE.is_free


def test_times_that_give_no_bandwidth_are_refused():
    with pytest.raises(UsageError, match="these times give no bandwidth"):
        link_through((4096, 2e-5), (4_194_304, 1e-5))
