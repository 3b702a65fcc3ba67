"""Which of the records that we get are the same person."""

RELEASE = 1
