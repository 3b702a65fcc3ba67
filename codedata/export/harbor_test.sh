#!/bin/bash
# The reward is 0 until all went well: whatever breaks here or in the tests, it stays 0.
# Nothing of the agent's says how the tests are run: no PATH, no plugin, no conftest.py or pytest.ini outside /tests.
OUT=/logs/verifier
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p $OUT; rm -rf $OUT/reward.json $OUT/reward.txt $OUT/junit.xml $OUT/reward.new; echo 0 > $OUT/reward.txt
cd /tests || exit 0
timeout -k 5 {test_s} env -u PYTHONPATH PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 /usr/bin/python3 -I -m pytest -c /dev/null \
    --rootdir /tests --confcutdir /tests -p no:cacheprovider --tb=line -q --junitxml=$OUT/junit.xml /tests/test_outputs.py
/usr/bin/python3 -I /tests/score.py $OUT/junit.xml /tests/weights.json > $OUT/reward.new && mv -f $OUT/reward.new $OUT/reward.txt
rm -f $OUT/reward.new
exit 0
