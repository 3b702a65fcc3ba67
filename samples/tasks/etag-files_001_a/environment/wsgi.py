import os

from fieldnotes.app import create_app

app = create_app(os.environ["FIELDNOTES_DB"], os.environ["FIELDNOTES_SECRET"])
