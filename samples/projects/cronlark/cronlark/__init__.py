"""Cron expressions: does this minute match, and when is the next one?"""
from .fields import CronError
from .schedule import Schedule

__all__ = ["CronError", "Schedule"]
