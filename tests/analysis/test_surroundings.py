"""What two runs were made on: every difference is named, none is made up."""

from albench.analysis.surroundings import Difference, differences, shown_name

HERE = {
    "cpu": "EPYC",
    "usable_cores": 2,
    "python": "3.11.7",
    "packages": {"torch": "2.15.0", "numpy": "2.4"},
    "commit": "abc",
    "variables": {"OMP_NUM_THREADS": "1"},
    "gpus": [],
    "load_average_1_min": 0.3,
}


def test_equal_surroundings_differ_in_nothing():
    assert differences([HERE, HERE], [HERE | {"load_average_1_min": 7.5}]) == [], "the load is measured, not chosen"
    assert differences([], []) == []
    assert differences([{}], [{}]) == []


def test_differences_are_named_field_by_field():
    there = HERE | {
        "packages": {"torch": "2.16.0", "numpy": "2.4"},
        "commit": "def",
        "variables": {"OMP_NUM_THREADS": "2"},
        "gpus": [{"name": "H100", "driver": "570"}, {"name": "H100", "driver": "570"}],
    }
    assert differences([HERE], [there]) == [
        Difference(field="packages.torch", before=("2.15.0",), after=("2.16.0",)),
        Difference(field="commit", before=("abc",), after=("def",)),
        Difference(field="variables.OMP_NUM_THREADS", before=("1",), after=("2",)),
        Difference(field="gpus", before=("none",), after=("name H100, driver 570; name H100, driver 570",)),
    ]


def test_what_one_run_does_not_have_is_a_difference():
    (found,) = differences([HERE], [{k: v for k, v in HERE.items() if k != "cpu"}])
    assert (found.field, found.before, found.after) == ("cpu", ("EPYC",), ("–",))


def test_a_run_of_mixed_surroundings_is_named_even_where_both_are_mixed_alike():
    mixed = [HERE, HERE | {"commit": "def"}]
    (found,) = differences(mixed, [HERE])
    assert (found.before, found.mixed) == (("abc", "def"), ("A",))
    (found,) = differences(mixed, mixed)
    assert found.mixed == ("A", "B")


def test_memory_is_told_as_a_person_reads_it():
    gib = 2**30
    gpus = [{"name": "H100", "memory_bytes": 80 * gib}]
    here, there = ({"memory_bytes": size, "gpus": cards} for size, cards in ((4 * gib, []), (8 * gib + 1, gpus)))
    memory, cards = differences([here], [there])
    assert (memory.before, memory.after) == (("4 GiB",), ("8 GiB",))
    assert cards.after == ("name H100, memory 80 GiB",)
    assert shown_name(memory.field) == "memory"
    assert differences([here], [here | {"memory_bytes": 4 * gib - 5000}]) == [], "another kernel is no other memory"
