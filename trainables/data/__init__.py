"""Data of any size: decoded once into files that every process maps, or streamed by worker processes."""
