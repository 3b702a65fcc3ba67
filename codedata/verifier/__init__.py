"""Grade a task in its container, which has no other code of codedata. Needs only the standard
library of Python 3.7 or later; weighted tests need pytest and Python 3.8."""
