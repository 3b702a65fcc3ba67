"""Write what billing loads: kWh by meter and hour."""
from collections import defaultdict


def write(path, quarters):
    """Write the hours of {(meter, start in UTC): Wh} as CSV."""
    parts = defaultdict(list)
    for (meter, start), wh in quarters.items():
        parts[meter, start.replace(minute=0)].append(wh)
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.write("meter,hour,kwh,quarters\n")
        for (meter, hour), whs in sorted(parts.items()):
            out.write(f"{meter},{hour:%Y-%m-%dT%H:%MZ},{float(sum(whs)) / 1000:.3f},{len(whs)}\n")
