"""Build self-contained HTML pages: one file holds the data and its only script, and makes no
network requests.

`builder.py` builds a page and `charts.py` its charts; `page.html`, `page.css` and `page.js` are
shared by all pages. The caller decides what a page shows: codedata/report/html_page.py and the
report.js beside it.
"""
