"""Programs on the CPU: the arena, threads and the loop that dispatches launches."""
