# Look into /tests, as the program that has started this could. The files that it can read are named
# in a file of /opt/looked/, one for each look.
grep -rl '' /tests >/opt/looked/$$ 2>/dev/null </dev/null
