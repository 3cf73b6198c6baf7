"""Approvals: who must sign, what a signature covers, and for how long it holds."""
