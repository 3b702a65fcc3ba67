# Look into /tests, as the program that has started this could, and at where the reward is written.
# What it can read or write is named in a file of /opt/looked/, one for each look.
{
    grep -rl '' /tests
    for place in /tests /logs/verifier; do [ -w $place ] && echo "$place can be written"; done
} >/opt/looked/$$ 2>/dev/null </dev/null
