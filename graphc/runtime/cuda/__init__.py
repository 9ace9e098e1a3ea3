"""Programs on a GPU: the driver, its memory, and whole steps captured once and replayed."""
