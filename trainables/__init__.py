"""Compression in plain PyTorch: parts, recipes, the training loop and the file that ships."""

from trainables.quiet import send_nothing

send_nothing()  # before any library is imported through this package
