"""A Gaussian process over configurations: encoding, kernel, regression, and expected improvement."""
