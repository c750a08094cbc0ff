"""The names of the data sets: known without their files and without torch."""

import subprocess
import sys

import pytest

from albench.data import DATASETS, dataset_named, load_dataset
from albench.errors import UsageError


def test_names_are_known_without_torch():
    """The command line refuses a wrong name at once: torch takes seconds."""
    code = (
        "import sys; from albench.data import dataset_named, augmentation_named; "
        "dataset_named('folder:/nowhere'); augmentation_named('cifar'); print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_folder_is_known_by_how_its_name_begins():
    entry = dataset_named("folder:/somewhere/else")
    assert entry is DATASETS["folder:PATH"]
    assert entry.real
    assert entry.training_instances is None, "only its files tell"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnst", "did you mean 'mnist'"),
        ("cifar-10", "did you mean 'cifar10' or 'cifar100'"),
        ("folder:", "names no folder: give folder:PATH"),
        ("/somewhere", "known are cifar10, cifar100, digits, fashion-mnist, folder:PATH, mnist, synthetic"),
    ],
)
def test_unknown_names_say_what_is_known(name, words):
    with pytest.raises(UsageError, match=words):
        load_dataset(name)


def test_unknown_augmentations_say_what_is_known():
    with pytest.raises(UsageError, match="did you mean 'cifar'"):
        load_dataset("digits", augmentation="cifer")
    with pytest.raises(UsageError, match=r"shape \[64\]: augmentation is for images, give 'none'"):
        load_dataset("digits", augmentation="jitter")
    assert load_dataset("digits", augmentation="none").classes == 10
