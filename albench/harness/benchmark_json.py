"""Records out of a pytest-benchmark JSON file.

The suites under ``benchmarks/`` put a whole record into each benchmark's ``extra_info``, so nothing is parsed back out
of a name. pytest-benchmark's own rounds become rounds of the record, one time each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from albench.errors import UsageError
from albench.harness.records import Record

EXTRA_INFO_KEY = "albench_record"


def extra_info(record: Record) -> dict[str, Any]:
    """Return what a benchmark keeps of a record: the record, and what a reader of the JSON looks for by name."""
    seconds = record.seconds
    return {
        EXTRA_INFO_KEY: msgspec.to_builtins(record),
        "series": record.scenario.series,
        "training_instances": record.instances,
        "hidden_layers": record.scenario.hidden_layers,
        "lanes": record.lanes,
        "samples_per_second": record.instances / seconds if seconds else None,
        "held_out_accuracy": record.accuracy,
    }


def read(path: Path) -> list[Record]:
    """Return the records in a pytest-benchmark JSON file, one for each of its measured rounds."""
    remedy = "give a file that `pytest benchmarks --benchmark-only --benchmark-json FILE` wrote"
    try:
        content = json.loads(path.read_bytes())
        benchmarks = content["benchmarks"]
        found: list[Record] = []
        for benchmark in benchmarks:
            if EXTRA_INFO_KEY not in benchmark["extra_info"]:
                raise UsageError(
                    f"{path} is of pytest-benchmark, but {benchmark['name']!r} holds no record of albench: {remedy}"
                )
            record = msgspec.convert(benchmark["extra_info"][EXTRA_INFO_KEY], Record)
            found += [
                msgspec.structs.replace(record, round=number, seconds=float(seconds))
                for number, seconds in enumerate(benchmark["stats"]["data"])
            ]
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"{path} is not a pytest-benchmark file of albench ({type(error).__name__}: {error}): {remedy}"
        ) from None
    return found
