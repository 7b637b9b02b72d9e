"""Data sets with their loss and quality metric; one kind per file."""

from trainables.tasks.base import Task
from trainables.tasks.digits import Digits
from trainables.tasks.grouped import Grouped
from trainables.tasks.image_folder import ImageFolder
from trainables.tasks.job import Job
from trainables.tasks.multi30k import Multi30k
from trainables.tasks.multi_task import MultiTask
from trainables.tasks.phrases import Phrases
from trainables.tasks.sentence_folder import SentenceFolder
from trainables.tasks.sound_folder import SoundFolder
from trainables.tasks.spoken_words import SpokenWords
from trainables.tasks.teacher_translations import TeacherTranslations
from trainables.tasks.text_pairs import TextPairs
from trainables.tasks.torchvision_data import CIFAR10, CIFAR100, FashionMNIST

TASKS: tuple[type[Task], ...] = (
    Digits,
    FashionMNIST,
    CIFAR10,
    CIFAR100,
    ImageFolder,
    SpokenWords,
    SoundFolder,
    SentenceFolder,
    Phrases,
    TextPairs,
    Multi30k,
    TeacherTranslations,
    Job,
    Grouped,
    MultiTask,
)
