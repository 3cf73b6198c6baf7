"""Erasure: one customer taken out of everything that is kept."""
