from .utils import suggest_column_types
from .hookspecs import hookimpl
from .hookspecs import hookspec
from .db import Database

__all__ = ["Database", "suggest_column_types", "hookimpl", "hookspec"]
