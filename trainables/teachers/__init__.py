"""Who is imitated; one policy per file."""

from trainables.teachers.base import Teacher
from trainables.teachers.fixed import Fixed
from trainables.teachers.none import NoTeacher
from trainables.teachers.remembered import Remembered
from trainables.teachers.route import Route
from trainables.teachers.several import Several

TEACHERS: tuple[type[Teacher], ...] = (NoTeacher, Fixed, Remembered, Route, Several)
