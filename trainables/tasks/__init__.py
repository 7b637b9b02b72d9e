"""Data sets with their loss and quality metric; one kind per file."""

from trainables.tasks.base import Task
from trainables.tasks.digits import Digits
from trainables.tasks.image_folder import ImageFolder
from trainables.tasks.torchvision_data import CIFAR10, CIFAR100, FashionMNIST

TASKS: tuple[type[Task], ...] = (Digits, FashionMNIST, CIFAR10, CIFAR100, ImageFolder)
