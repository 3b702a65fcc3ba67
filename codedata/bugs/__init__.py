"""Make bugs that are proven by execution, and issue reports of them as users would write them."""
