"""Who is imitated; one policy per file."""

from trainables.teachers.base import Teacher
from trainables.teachers.ensemble import Ensemble
from trainables.teachers.fixed import Fixed
from trainables.teachers.gated_ensemble import GatedEnsemble
from trainables.teachers.joint import Joint
from trainables.teachers.none import NoTeacher
from trainables.teachers.peers import Peers
from trainables.teachers.remembered import Remembered
from trainables.teachers.route import Route
from trainables.teachers.several import Several
from trainables.teachers.unpruned import Unpruned

TEACHERS: tuple[type[Teacher], ...] = (
    NoTeacher,
    Fixed,
    Remembered,
    Route,
    Several,
    Joint,
    Unpruned,
    Peers,
    Ensemble,
    GatedEnsemble,
)
