"""Rules of one trial, from its curves to a finding or None; service/analysis/diagnosis/trial.py orders them."""
