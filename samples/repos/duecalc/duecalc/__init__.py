"""Due dates of invoices: net days, end of month, never on a weekend."""
from __future__ import annotations

from datetime import date, timedelta

from dateutil.relativedelta import relativedelta


def due_date(issued: date, terms: str) -> date:
    """The day an invoice is due. Terms: "30" (net days), "eom" (end of the month), "eom+1" (of the next one)."""
    if terms.isdecimal():
        due = issued + timedelta(days=int(terms))
    elif terms.startswith("eom"):
        months = int(terms[4:] or 0)
        due = issued + relativedelta(months=months, day=31)
    else:
        raise ValueError(f"unknown terms: {terms!r}")
    return next_working_day(due)


def next_working_day(day: date) -> date:
    return day + timedelta(days=max(0, 7 - day.weekday())) if day.weekday() > 4 else day


def is_overdue(issued: date, terms: str) -> bool:
    return date.today() > due_date(issued, terms)
