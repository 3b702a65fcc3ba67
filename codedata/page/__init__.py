"""Self-contained HTML pages: one file that holds its data, runs its own script and nothing else, and asks no network.

`builder.py` puts a page together, `charts.py` draws, `page.html`, `page.css` and `page.js` are what all pages share.
What a page shows is said by the part that calls: codedata/duel/page.py and the page.js beside it.
"""
