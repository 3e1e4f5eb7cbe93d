"""Statistics: intervals, tests of differences, equivalence, power, ridge regression."""
