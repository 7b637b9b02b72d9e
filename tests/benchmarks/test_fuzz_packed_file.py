"""Damaged and hostile packed files, in a process of its own whose memory and time are limited."""

from benchmarks.fuzz_packed_file import MUTATIONS, files, in_a_worker, mutant
from trainables.shipping.packed_file import unpack


def check(numbers, seed, networks=True):
    tally = in_a_worker(numbers, seed, networks)
    assert tally.failures == []
    assert sum(tally.outcomes.values()) == len(numbers)
    assert {name for name, _ in tally.kinds.items()} == {"checksum", *(f.__name__ for _, f in MUTATIONS)}
    refused = sum(count for name, count in tally.outcomes.items() if name.startswith("damaged"))
    assert refused > len(numbers) / 2


def test_four_hundred_mutants_are_refused_or_read():
    check(range(400), 0, networks=False)


def test_mutants_are_the_same_again_and_the_files_are_sound():
    sound = files()
    assert all(unpack(data) for data in sound)
    assert all(mutant(number, 3, sound) == mutant(number, 3, files()) for number in range(5))
