"""What the scheduler decides by accuracy and BLEU is what it decided before it knew other qualities."""

import hashlib
import random
from collections.abc import Iterator

import pytest

from search.stopping.halving import Rules
from search.stopping.scheduler import ParetoScheduler
from tests.recipes import STUDENT
from trainables import methods
from trainables.metrics import quality_of
from trainables.origins import Fresh
from trainables.tasks import Digits

EPOCHS = 8
RECIPE = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), EPOCHS))
RULES = {"halving": Rules(), "revive": Rules(revive=True, chance=0.1), "ranks": Rules(chance=0.0, grace=1)}
RECORDED = {
    ("accuracy", "halving"): (316, "0fd7ead06b4873587adddcfc"),
    ("accuracy", "revive"): (295, "01e87d84e6dc1de019b12770"),
    ("accuracy", "ranks"): (289, "c07ce57cb416c0e8c1d4114c"),
    ("bleu", "halving"): (316, "0fd7ead06b4873587adddcfc"),
    ("bleu", "revive"): (295, "01e87d84e6dc1de019b12770"),
    ("bleu", "ranks"): (289, "c07ce57cb416c0e8c1d4114c"),
}


def reports(seed: int, full: float) -> Iterator[tuple[str, int, float, int]]:
    """Name, epoch, quality and bytes of students that are trained four at a time; a few learn everything."""
    drawn = random.Random(seed)
    waiting = [f"{n:05d}" for n in range(60)]
    running: list[str] = []
    told: dict[str, tuple[int, float, int]] = {}
    while waiting or running:
        while waiting and len(running) < 4:
            running.append(waiting.pop(0))
        name = running[drawn.randrange(len(running))]
        epoch, goal, size = told.get(
            name, (0, drawn.choice([0.35, 0.9, 0.97, 1.0]), drawn.randint(500, 9000))
        )
        share = round(360 * goal * (1 - 0.9 * 0.6**epoch)) / 360
        yield name, epoch, full * share, size - 3 * epoch
        told[name] = epoch + 1, goal, size
        if epoch == EPOCHS:
            running.remove(name)


def decided(metric: str, rules: Rules) -> tuple[int, str]:
    """How many students ended early, and a hash of every reason and of what was to be taken up."""
    quality, digest, ended = quality_of(metric), hashlib.sha256(), 0
    for seed in range(6):
        scheduler = ParetoScheduler(quality, ("packed_bytes",), rules)
        gone: set[str] = set()
        for name, epoch, value, size in reports(seed, quality.highest):
            if name in gone:
                continue
            result = {"epoch": epoch, quality.validation: value, "packed_bytes": size}
            reason = scheduler.learn(name, RECIPE, result)
            if reason:
                gone.add(name)
                scheduler.ended(name, "pruned")
            digest.update(f"{name} {epoch} {reason} {scheduler.promising()}\n".encode())
        ended += len(gone)
    return ended, digest.hexdigest()[:24]


@pytest.mark.parametrize(("metric", "rules"), RECORDED)
def test_known_qualities_are_decided_as_ever(metric: str, rules: str) -> None:
    assert decided(metric, RULES[rules]) == RECORDED[metric, rules]
