"""Run jobs from a directory that several workers share."""
