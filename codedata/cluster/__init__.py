"""Run items on the machines of a Ray cluster (pip install 'codedata[ray]').

engine.py runs in the driver, workers.py in the cluster. What they exchange are copies, and Remotes
of what stays in the driver (codedata/driver.py).
"""
