"""Records out of a pytest-benchmark JSON file, and what its readers look for by name.

The plugin (`albench.pytest_plugin`) puts a whole record into each benchmark's ``extra_info``, so nothing is parsed back
out of a name. pytest-benchmark's own rounds become rounds of the record, one time each. pytest-benchmark leaves out
benchmarks that failed; their records stand in a list beside its own.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from albench.errors import UsageError
from albench.harness.derivation import derived_from
from albench.harness.records import Record, converted

EXTRA_INFO_KEY = "albench_record"
RATIOS_KEY = "ratios"
"""What a contest keeps instead: who was how many times as fast as the subject, in turns within one process."""
EXAMPLE = "pytest benchmarks/test_depth.py --benchmark-only --benchmark-json FILE"
FAILED_KEY = "albench_failed"
"""Where in the file the records of cases stand that have no time."""


def extra_info(record: Record) -> dict[str, Any]:
    """Return what a benchmark keeps of a record: the record, and what a reader of the JSON looks for by name."""
    return {
        EXTRA_INFO_KEY: msgspec.to_builtins(record),
        "series": record.scenario.series,
        "training_instances": record.instances,
        "hidden_layers": record.scenario.hidden_layers,
        "lanes": record.lanes,
        **metrics(record),
    }


def metrics(record: Record) -> dict[str, float | None]:
    """Return what is worth a column beside a record's time, by name; None: not measured here."""
    derived = derived_from(record)
    return {
        "samples_per_second": derived.samples_per_second if derived else None,
        "milliseconds_per_minibatch": derived.milliseconds_per_minibatch if derived else None,
        "held_out_accuracy": record.accuracy,
        "gpu_utilisation": _gpu_utilisation(record),
        "joules_per_sample": derived.joules_per_sample if derived else None,
        "peak_memory_bytes": record.peak_memory_bytes,
    }


def failed_records(records: Iterable[Record]) -> list[Any]:
    """Return the records that hold no time as plain data, for the file."""
    return [msgspec.to_builtins(record) for record in records if record.status != "measured"]


def read(path: Path) -> list[Record]:
    """Return the records in a pytest-benchmark JSON file: one for each measured round, and those of failed cases.

    Benchmarks that hold no record, such as a user's own beside ours, are passed over; a file without any is refused.
    """
    remedy = f"give a file that `{EXAMPLE}` wrote"
    try:
        content = json.loads(path.read_bytes())
        found: list[Record] = []
        for benchmark in content["benchmarks"]:
            if EXTRA_INFO_KEY not in benchmark["extra_info"]:
                continue
            if "data" not in benchmark["stats"]:
                raise UsageError(
                    f"{path} holds no single times: save with --benchmark-json, or with --benchmark-save-data too"
                )
            if not all(0 < float(one) < math.inf for one in benchmark["stats"]["data"]):
                raise UsageError(f"{path} holds times that are none: {remedy}")
            record = converted(benchmark["extra_info"][EXTRA_INFO_KEY], where=str(path))
            found += [msgspec.structs.replace(record, seconds=float(one)) for one in benchmark["stats"]["data"]]
        found += [converted(record, where=str(path)) for record in content.get(FAILED_KEY, [])]
        if not found:
            raise UsageError(f"{path} holds {_instead_of_records(content['benchmarks'])}: {remedy}")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except UsageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{path} is not a pytest-benchmark file of albench ({type(error).__name__}: {error}): {remedy}"
        ) from None
    # Two benchmarks may measure the same scenario: their rounds are counted on, for none is an attempt at another.
    rounds: Counter[str] = Counter()
    numbered = []
    for record in found:
        numbered.append(msgspec.structs.replace(record, round=rounds[record.key]))
        rounds[record.key] += 1
    return numbered


def _instead_of_records(benchmarks: list[Any]) -> str:
    """Say what a file holds that has no record."""
    if not benchmarks:
        return "no benchmark"
    if any(benchmark["extra_info"].get(RATIOS_KEY) for benchmark in benchmarks):
        return (
            "contests, which were timed in turns and are told by the ratios that stand in it and in the Markdown of "
            "--ratios; they are no cases with records, which a report and a comparison are made of"
        )
    return "no record of albench in any of its benchmarks; one that uses the fixture albench_case has one"


def _gpu_utilisation(record: Record) -> float | None:
    """Return the mean utilisation of the GPUs in use, in [0, 1]; None where one of them has none."""
    if record.telemetry is None:
        return None
    values = [gpu.mean_utilisation for gpu in record.telemetry.gpus if gpu.used is not False]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
