"""Where the kernel runs: on this machine."""
