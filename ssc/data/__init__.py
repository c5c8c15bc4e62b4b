"""Data sets: one index for all kinds, their adapters, transforms and loaders."""
