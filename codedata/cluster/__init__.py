"""Run items on the machines of a Ray cluster (pip install '.[ray]').

ray_engine.py runs in the driver, ray_actors.py in the cluster. They exchange copies, and Remotes
for objects that stay in the driver (codedata/driver.py).
"""
from codedata.config import quieten_ray
from codedata.errors import Trouble

quieten_ray()
try:
    import ray  # noqa: F401
except ImportError as e:
    raise Trouble("--engine ray needs Ray.", todo="pip install '.[ray]'") from e
