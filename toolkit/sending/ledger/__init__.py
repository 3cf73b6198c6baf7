"""The ledger: what became of every mail, written before and after each thing that cannot be taken back."""
