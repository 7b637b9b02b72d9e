"""Sweeps, trials and files, read from MLflow's store."""
