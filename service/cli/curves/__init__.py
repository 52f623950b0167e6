"""ROC and precision-recall curves of kept predictions, and the decision threshold chosen on validation."""
