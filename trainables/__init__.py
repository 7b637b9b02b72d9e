"""Compression in plain PyTorch: parts, recipes, the training loop and the file that ships."""
