"""Statistics: intervals, paired differences, correction for many tests, ridge regression."""
