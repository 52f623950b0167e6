"""Remedies for each part of the test error, in the order in which to try them.

The order is that of the lecture "Troubleshooting deep neural networks" (Full Stack Deep Learning, Josh Tobin 2019),
which follows Andrew Ng's "Machine Learning Yearning".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.contract.decomposition import PartName
from service.contract.finding import Remedy, RemedyName

REMEDIES: Mapping[PartName, Sequence[Remedy]] = {
    PartName.BIAS: (
        Remedy(name=RemedyName.LARGER_MODEL, sentence="Train a larger model: more layers or more units in each."),
        Remedy(name=RemedyName.TRAIN_LONGER, sentence="Train longer."),
        Remedy(
            name=RemedyName.CHANGE_OPTIMIZER, sentence="Search the optimizer, its learning rate and its schedule wider."
        ),
        Remedy(name=RemedyName.LESS_REGULARIZATION, sentence="Use less dropout, weight decay and augmentation."),
        Remedy(name=RemedyName.ANALYZE_ERRORS, sentence="Look at the training examples that the model gets wrong."),
        Remedy(name=RemedyName.OTHER_MODEL, sentence="Try another architecture."),
        Remedy(name=RemedyName.ADD_FEATURES, sentence="Add features that carry what people use to answer."),
    ),
    PartName.VARIANCE: (
        Remedy(name=RemedyName.MORE_DATA, sentence="Add training examples."),
        Remedy(name=RemedyName.AUGMENT, sentence="Augment the training examples."),
        Remedy(name=RemedyName.MORE_REGULARIZATION, sentence="Use more dropout or weight decay, or stop earlier."),
        Remedy(name=RemedyName.NORMALIZE, sentence="Use a model with batch or layer normalisation."),
        Remedy(name=RemedyName.OTHER_MODEL, sentence="Try another architecture, or a smaller or pretrained model."),
    ),
    PartName.SHIFT: (
        Remedy(
            name=RemedyName.ANALYZE_ERRORS,
            sentence="Compare the errors on test_val with those on val, and name what training lacks.",
        ),
        Remedy(name=RemedyName.MORE_DATA, sentence="Collect training examples like those of the test."),
        Remedy(name=RemedyName.SYNTHESIZE_DATA, sentence="Synthesise training examples like those of the test."),
        Remedy(
            name=RemedyName.ADAPT_DOMAIN, sentence="Use domain adaptation with unlabelled examples of the test's kind."
        ),
        Remedy(
            name=RemedyName.FINETUNE_ON_TARGET,
            sentence="Fine-tune the model on a few labelled examples of the test's kind.",
        ),
    ),
    PartName.VALIDATION_OVERFITTING: (
        Remedy(
            name=RemedyName.NEW_SPLIT, sentence="Split the data anew and compare the best trials on the fresh split."
        ),
        Remedy(name=RemedyName.MORE_DATA, sentence="Collect new validation examples, more than there are now."),
    ),
}
