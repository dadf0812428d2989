"""Rated edits as a data set: label files checked, counted, split and converted; raw ratings to mean opinion scores."""
