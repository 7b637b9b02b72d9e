"""Which student is tried next: samplers, the searcher, Optuna's journal, earlier sweeps."""
