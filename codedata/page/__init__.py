"""Build self-contained HTML pages: one file with its style and its only script, which fetches
nothing.

`elements.py` makes elements and escapes their texts; all pages share `page.html`, `page.css` and
`page.js`.
"""
