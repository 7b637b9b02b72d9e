"""Quantization as pure functions of tensors."""
