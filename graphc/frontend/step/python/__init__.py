"""What Python does in a step: what it reads, writes and does besides computing."""
