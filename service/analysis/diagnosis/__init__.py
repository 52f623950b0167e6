"""Diagnosis: rules from learning curves and results to findings, for one trial and for a whole study."""
