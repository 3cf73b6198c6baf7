"""Preparation: decisions turned into letters, letters into a batch."""
