"""Small INI files, read and written without surprises."""
from .errors import IniError, InterpolationError
from .interpolate import expand
from .parser import loads
from .writer import dumps

__all__ = ["IniError", "InterpolationError", "dumps", "expand", "loads"]
