"""Containers as people use them: options, generation of specs, names, volumes, logs, monitor, listings."""
