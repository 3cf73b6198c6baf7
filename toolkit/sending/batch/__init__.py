"""Batches: the mails due at a moment, as bytes and as the plain values that are approved."""
