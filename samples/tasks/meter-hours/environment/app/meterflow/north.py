"""Read what supplier north delivers: kWh of each quarter, by local time."""
import re

from meterflow.clock import Clock
from meterflow.rows import BadRow, columns

KWH = re.compile(r"[0-9]+(,[0-9]{1,3})?")


class Reader:
    """Collect the quarters of one delivery."""

    def __init__(self, head):
        self.clock = Clock(head["zone"])
        self.wh = {}

    def add(self, line):
        """Take a row, or raise BadRow."""
        meter, start, kwh = columns(line, ";")
        begins = self.clock.utc(meter, start)
        if not KWH.fullmatch(kwh):
            raise BadRow("value")
        self.wh[meter, begins] = round(float(kwh.replace(",", ".")) * 1000)

    def quarters(self):
        """Return {(meter, start in UTC): Wh}."""
        return self.wh
