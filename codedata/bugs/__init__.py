"""Make bugs that are proven by execution, and the reports that users would write of them."""
