"""Domain rules of studies, trials and attempts, without I/O, clock or randomness."""
