"""The rules: what may happen to studies, trials and attempts. No I/O, no clock, no randomness."""
