"""`piqa batch --engine ray`: the same flow in many processes, on one machine or on many."""
