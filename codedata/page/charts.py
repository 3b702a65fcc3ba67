"""Draw charts as SVG without script or style: pygal computes the shapes, page.css colours them.

Every public function returns an <svg> for build(charts=…). Names of series and axes may come from
untrusted data, so pygal's output is parsed and only shapes, texts and titles are kept. A colour is
the name of a CSS variable: "draw" for --draw.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import pygal
from pygal.style import Style

from codedata.page.builder import shortened, visible

WIDTH, LABEL_CHARS = 460, 20
STYLE = Style(label_font_size=14, major_label_font_size=14)   # room for labels; page.css sizes them
SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {"svg": {"viewBox"}, "g": {"class", "transform"}, "path": {"class", "d"},
          "rect": {"class", "x", "y", "width", "height", "rx", "ry"},
          "circle": {"class", "cx", "cy", "r"}, "text": {"class", "x", "y", "transform"}}
LEFT_OUT = re.compile(r"\b(?:background|text-overlay|tooltip-overlay|titles)\b")
COLOUR = re.compile(r"\bcolor-(\d+)\b")
LONG_NUMBER = re.compile(r"(\.\d)\d+")


@dataclass(frozen=True)
class Series:
    """Hold the values drawn in one colour, one per label; None leaves a gap."""

    name: str
    colour: str
    values: list[float | None]


def columns(title: str, labels: list[str], series: list[Series], every: int = 1) -> str:
    """Return a chart of columns with the series stacked. Every `every`th label is shown."""
    chart = pygal.StackedBar(
        **_config(190), x_labels=visible(labels), x_labels_major_every=every, spacing=2,
        show_minor_x_labels=False, rounded_bars=1, max_scale=5, order_min=0)
    return _draw(chart, title, labels, series, "{:,.6g}")


def bars(title: str, labels: list[str], series: list[Series], percent: bool = False) -> str:
    """Return a chart of horizontal bars, one per label from the top, with the series stacked."""
    unit = "{:.0f} %" if percent else "{:,.6g}"
    from_below = labels[::-1]
    chart = pygal.HorizontalStackedBar(
        **_config(40 + 26 * len(labels)), spacing=4,
        x_labels=[shortened(text, LABEL_CHARS) for text in visible(from_below)],
        max_scale=5, range=(0, 100) if percent else None)
    reversed_series = [replace(one, values=one.values[::-1]) for one in series]
    return _draw(chart, title, from_below, reversed_series, unit)


def interval(title: str, value: float, low: float, high: float, marks: list[float],
             colour: str) -> str:
    """Return a chart of a value and its interval on a line; the axis is labelled at `marks`."""
    ends = [value, low, high, *marks]
    room = max(0.08 * (max(ends) - min(ends)), 0.5)
    chart = pygal.XY(
        **_config(70), x_labels=marks, xrange=(min(ends) - room, max(ends) + room), range=(-1, 1),
        show_y_labels=False, show_y_guides=False, show_x_guides=True,
        x_value_formatter="{:g}".format)
    for name, points in (("interval", (low, high)), ("value", (value,))):
        chart.add(name, [{"value": (at, 0), "label": f"{at:.2f}"} for at in points])
    return _clean(chart, title, [f"{colour} span", f"{colour} point"])


def _config(height: int) -> dict:
    """Return the pygal settings that all charts share; `height` is in pixels."""
    return {"width": WIDTH, "height": height, "style": STYLE, "js": (), "show_legend": False,
            "margin": 4, "disable_xml_declaration": True, "explicit_size": False,
            "no_data_text": "no data", "truncate_label": -1}


def _draw(chart, title: str, labels: list[str], series: list[Series], unit: str) -> str:
    """Add the series to a chart and return it as SVG."""
    chart.value_formatter = unit.format
    for one in series:
        chart.add(visible(one.name), [
            None if value is None else {
                "value": value, "label": visible(f"{label}, {one.name}: {unit.format(value)}")}
            for label, value in zip(labels, one.values, strict=True)])
    return _clean(chart, title, [one.colour for one in series])


def _clean(chart, title: str, colours: list[str]) -> str:
    """Return pygal's SVG with only known shapes, the title and the colours."""
    root = _shapes(ElementTree.fromstring(chart.render()), colours)
    root.attrib |= {"class": "chart", "role": "img", "aria-label": visible(title)}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _shapes(node: ElementTree.Element, colours: list[str]) -> ElementTree.Element:
    """Return a copy of the node with only shapes, texts, and tooltips as <title>."""
    name = node.tag.removeprefix(SVG)
    out = ElementTree.Element(name, {key: LONG_NUMBER.sub(r"\1", value)
                                     for key, value in node.items() if key in SHAPES[name]})
    if "class" in out.attrib:
        out.attrib["class"] = COLOUR.sub(lambda match: f"colour {colours[int(match[1])]}",
                                         out.attrib["class"])
    if name == "text":
        out.text = node.text
    for child in node:
        tag = child.tag.removeprefix(SVG) if isinstance(child.tag, str) else ""   # else a comment
        kind = child.get("class", "")
        if tag == "desc" and kind == "label":
            ElementTree.SubElement(out, "title").text = child.text
        elif tag in SHAPES and not LEFT_OUT.search(kind) and not _is_empty(child, tag):
            out.append(_shapes(child, colours))
    return out


def _is_empty(node: ElementTree.Element, tag: str) -> bool:
    """Return whether a node is a rectangle without area, as of a stacked series without a value."""
    return tag == "rect" and 0 in (float(node.get(key, 0)) for key in ("width", "height"))
