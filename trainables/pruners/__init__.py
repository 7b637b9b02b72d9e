"""Which weights stay; one pruner per file."""

from trainables.pruners.base import Pruner
from trainables.pruners.by_name import PrunerByName
from trainables.pruners.magnitude import Magnitude
from trainables.pruners.none import NoPruner

PRUNERS: tuple[type[Pruner], ...] = (NoPruner, Magnitude, PrunerByName)
