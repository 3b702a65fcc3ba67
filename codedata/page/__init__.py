"""Build self-contained HTML pages: one file holds the data and its only script, and makes no
network requests.

`builder.py` builds a page of blocks.py's blocks and a table of rows; all pages share `page.html`,
`page.css` and `page.js`. The caller decides what a page shows, as report/html_page.py does.
"""
