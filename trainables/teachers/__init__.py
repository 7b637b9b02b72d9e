"""Who is imitated; one policy per file."""

from trainables.teachers.base import Teacher
from trainables.teachers.fixed import Fixed
from trainables.teachers.none import NoTeacher

TEACHERS: tuple[type[Teacher], ...] = (NoTeacher, Fixed)
