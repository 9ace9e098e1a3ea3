"""The report: everything that is known of a compiled step, on one page that needs nothing else."""
