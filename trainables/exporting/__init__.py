"""Students as ONNX and plain tensors."""
