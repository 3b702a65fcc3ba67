"""Read the texts of pull requests and issues from GitHub's REST API, and add them to the commits
of a clone, which have the patches.

One listing of the API has both requests and issues, 100 a page, with all that is needed but the
patches. No other endpoint needs fewer calls, and anonymous users get 60 an hour. A commit gets the
text of its request only if it names the number (not if it was merged by rebasing).
"""
from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

from codedata.bounded import own_folder, read_bounded
from codedata.checks.requests import own_words
from codedata.disk.layouts import write_atomic
from codedata.disk.store import digest
from codedata.errors import HttpTrouble
from codedata.llm.http import Http, read_json, retry_after_s
from codedata.records import Commit
from codedata.settings import Settings
from codedata.terminal import plural, say

PAGES = "_github"    # folder in commit/ with the pages that were read
PER_PAGE = 100       # GitHub's maximum
HOUR_S = 3600.0
WRONG_SHAPE = TypeError, KeyError, AttributeError, ValueError, OverflowError
HEADERS = {"Accept": "application/vnd.github+json"}
NEXT = re.compile(r'<([^<>]*)>; *rel="next"')
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)   # Markdown comments, which a page does not
                                                        # show
# matches words of a request that make GitHub close an issue
CLOSES = r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):? +" \
         r"(?:(?:{0})?#|https?://[^/\s]+/{0}/issues/)(\d{{1,9}})\b"


def with_texts(rows: Iterable[dict], repo: str, texts: Mapping[int, dict]) -> Iterator[dict]:
    """Yield the rows of commits with the texts of the issues that they close. The description is
    the text of the pull request that the row names, if any, then the paragraphs of the commit's
    message that this text lacks. `texts` is {number: {title, body, is_request}}."""
    closes = re.compile(CLOSES.format(re.escape(repo)))
    for row in rows:
        message, page, shown = row["pr_description"], texts.get(row["number"]), ""
        if page and page["is_request"]:
            shown = f"{page['title']}\n\n{page['body']}"
        more = [one for one in own_words(message).split("\n\n") if one not in shown]
        numbers = dict.fromkeys([*closes.findall(f"{shown}\n{message}"), row["number"]])
        issues = filter(None, map(texts.get, map(int, numbers)))
        mark = row["instance_id"].rpartition("-")[2]
        yield {**row, "repo": repo, "instance_id": f"{repo.replace('/', '__')}-{mark}",
               "pr_description": "\n\n".join([shown, *more]).strip(),
               "resolved_issues": [one for one in issues if not one["is_request"]]}


class GitHub:
    """Read pages of GitHub's REST API. The token is sent only to the API's host. Pages that cannot
    change are kept in the root's commit/ and not requested again."""

    def __init__(self, settings: Settings, http: Http):
        self._http, self._endpoint = http, http.endpoint("GitHub", 1)
        self._endpoint.limit_s = self._limit_s
        self._n_left = 0   # pages still to come, at most
        self._token = settings.github_token
        self._url = settings.pr_tasks.github_url.rstrip("/")
        self._folder = settings.root / Commit.directory

    def texts(self, repo: str, since: str, newest: int) -> dict[int, dict]:
        """Return {number: {title, body, is_request}} of the requests and issues changed `since` a
        date, up to a number. The oldest come first, so that new ones change only the last page."""
        if self._token.withheld:
            say(f"github  asked without a key: {self._token.withheld}")
        found, last = {}, 0
        url = f"{self._url}/repos/{repo}/issues?" + urlencode({
            "state": "all", "sort": "created", "direction": "asc", "per_page": PER_PAGE,
            "since": since})
        while url and last < newest:
            self._n_left = math.ceil((newest - last) / PER_PAGE)
            page = self._page(url)
            found |= {one["number"]: one for one in page["texts"]}
            before, last = last, max(found, default=0)
            url = page["next"] if last > before else ""
        return found

    def _page(self, url: str) -> dict:
        """Return {texts, next: a URL or ""} of a page."""
        kept = own_folder(self._folder, PAGES) / f"{digest(url)}.json"
        with suppress(OSError, *WRONG_SHAPE):
            return _page_of(json.loads(read_bounded(kept)))
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise HttpTrouble("names a page on another host", url)
        key = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            page = self._http.send(self._http.at(self._endpoint, url, headers=HEADERS | key,
                                                 one_host=True), _page_in)
        except HttpTrouble as e:
            if e.status == 404:
                e.todo = "Check owner/name; a private one needs GITHUB_TOKEN."
            raise
        if page["next"]:   # a full page does not change
            write_atomic(kept, json.dumps(page).encode())
        return page

    def _limit_s(self, status: int | None, headers: Mapping) -> float:
        """Return the seconds until the rate limit that refused a request resets, 0 if none did."""
        seconds, reset = retry_after_s(headers), headers.get("x-ratelimit-reset", "")
        if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
            seconds = max(1.0, float(reset) + 1 - time.time())
        if status not in (403, 429) or not seconds:
            return 0.0
        seconds = min(seconds, HOUR_S)
        per_hour, hint = (5000, "") if self._token else (60, " without GITHUB_TOKEN")
        minutes = math.ceil((seconds + HOUR_S * ((self._n_left - 1) // per_hour)) / 60)
        say(f"github  waits for its limit: at most {plural(self._n_left, 'more page')} in about "
            f"{minutes:,} min{hint}; what was read is kept")
        return seconds


def _page_in(status: int, headers: Mapping, body: bytes) -> dict:
    """Return {texts: [{number, title, body, is_request}], next: a URL or ""} of a response. Raise
    ValueError if it is not a list of issues."""
    following = NEXT.search(headers.get("Link", ""))
    try:
        return _page_of({"next": following[1] if following else "", "texts": read_json(body)})
    except WRONG_SHAPE as e:
        raise ValueError(f"not a list of issues: {e!r}") from e


def _page_of(page: dict) -> dict:
    """Return a page with only the used fields, the form kept on disk. Raise one of WRONG_SHAPE if
    it is not a page."""
    return {"next": str(page["next"]), "texts": [
        {"number": int(one["number"]), "title": one["title"].strip(),
         "body": COMMENT.sub("", (one["body"] or "").replace("\r\n", "\n")).strip(),
         "is_request": bool(one.get("pull_request") or one.get("is_request"))}
        for one in page["texts"]]}
