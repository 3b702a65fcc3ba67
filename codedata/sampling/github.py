"""Read what pull requests and issues say, from GitHub's REST API or files that `gh` printed, and
join it to the commits of a clone, which have the patches.

One listing of the API has requests and issues alike, 100 a page, and lacks of a request only what
the clone has: no other way takes fewer calls, of which anonymous users get 60 an hour. Not
promised: that a request is found whose number no commit names (one merged by rebasing).
"""
from __future__ import annotations

import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from codedata.bounded import own_folder, read_bounded
from codedata.disk.layouts import write_atomic
from codedata.disk.row_files import read_json
from codedata.disk.store import digest
from codedata.errors import HttpTrouble
from codedata.llm.http import Http, retry_after_s
from codedata.records import Commit
from codedata.settings import ApiKey, Settings
from codedata.terminal import plural, say

PAGES = "_github"    # in commit/: the pages that were read
PER_PAGE = 100       # the most that GitHub gives
HOUR_S = 3600.0
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
NEXT = re.compile(r'<([^<>]*)>; *rel="next"')
PAGE_OF = re.compile(r"https?://[^/]+/([\w.-]+/[\w.-]+)/(pull|issues)/(\d{1,9})")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)   # of Markdown, which a page does not show
KEYS = ("html_url", "title", "body")   # that are kept of what a page lists
# the words by which a request closes an issue on GitHub
CLOSES = r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):? +" \
         r"(?:(?:{0})?#|https?://[^/\s]+/{0}/issues/)(\d{{1,9}})\b"


@dataclass(frozen=True)
class IssueText:
    """Hold what an issue or a pull request says."""

    repo: str
    number: int
    is_request: bool
    title: str
    body: str
    closes: frozenset[int]   # issues, as far as the source lists them


def issue_text(value) -> IssueText | None:
    """Return an issue or a pull request in the form of the API or of `gh`; None for another value.
    """
    if not isinstance(value, dict) or not isinstance(value.get("title"), str):
        return None
    page = PAGE_OF.fullmatch(str(value.get("html_url") or value.get("url")))
    if not page:
        return None
    body = COMMENT.sub("", str(value.get("body") or "").replace("\r\n", "\n"))
    listed = value.get("closingIssuesReferences")
    closed = [PAGE_OF.fullmatch(str(one["url"])) for one in listed] if listed else []
    return IssueText(page[1], int(page[3]), page[2] == "pull", value["title"].strip(), body.strip(),
                     frozenset(int(one[3]) for one in closed if one and one[1] == page[1]))


def printed_texts(format: str, names: Iterable[str], http) -> dict[str, dict[int, IssueText]]:
    """Return {owner/name: {number: text}} of JSON files that gh printed, {} of any other."""
    found: dict[str, dict[int, IssueText]] = defaultdict(dict)
    if format != "json":
        return {}
    with suppress(ValueError, TypeError, KeyError):   # not the form of gh, or too large for it
        for name in names:
            values = read_json(name, http)
            for value in values if isinstance(values, list) else [values]:
                if not (text := issue_text(value)):
                    return {}
                found[text.repo][text.number] = text
        return found
    return {}


def with_texts(rows: Iterable[dict], repo: str, texts: Mapping[int, IssueText]) -> Iterator[dict]:
    """Yield the rows of commits that are pull requests, with what these and their issues say."""
    n_rows = n_found = 0
    closes = re.compile(CLOSES.format(re.escape(repo)))
    for row in rows:
        request = texts.get(number_of(row))
        n_rows += 1
        if request and request.is_request:
            n_found += 1
            said = f"{request.body}\n{row['pr_description']}"
            numbers = sorted(request.closes.union(map(int, closes.findall(said))))
            issues = [texts[one] for one in numbers if one in texts]
            yield {**row, "repo": repo, "instance_id": id_of_request(request),
                   "pr_description": f"{request.title}\n\n{request.body}",
                   "resolved_issues": [{"title": one.title, "body": one.body} for one in issues
                                       if not one.is_request]}
    say(f"github  {repo}: {plural(n_found, 'pull request')} in {plural(n_rows, 'commit')}")


def id_of_request(request: IssueText) -> str:
    """Return the instance id of a pull request."""
    return f"{request.repo.replace('/', '__')}-{request.number}"


def number_of(row: dict) -> int:
    """Return the number in a row's id; 0 if it has the id of a commit."""
    mark = row["instance_id"].rpartition("-")[2]
    return int(mark) if mark.isdecimal() and len(mark) < 8 else 0


@dataclass(frozen=True)
class GitHub:
    """Read pages of GitHub's REST API. The token goes to its host alone. Pages that cannot change
    are kept in `folder` and not asked for again."""

    http: Http
    folder: Path
    url: str
    token: ApiKey

    def texts(self, repo: str, rows: list[dict]) -> dict[int, IssueText]:
        """Return {number: text} of what changed since the first of these rows was written, up to
        the highest of their numbers: the oldest comes first, as new ones change the last page."""
        newest = max(map(number_of, rows), default=0)
        oldest = min((int(row["created_at"]) for row in rows), default=0)
        found: dict[int, IssueText] = {}
        last = 0
        url = f"{self.url.rstrip('/')}/repos/{repo}/issues?" + urlencode({
            "state": "all", "sort": "created", "direction": "asc", "per_page": PER_PAGE,
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(max(oldest, 0), 4e9)))})
        while url and last < newest:
            page = self._page(url, math.ceil((newest - last) / PER_PAGE))
            found |= {one.number: one for one in map(issue_text, page["texts"]) if one}
            last, url = max(found, default=0), page["next"]
        return found

    def _page(self, url: str, n_left: int) -> dict:
        """Return {texts, next: a URL or ""} of a page, when at most `n_left` are still to come."""
        kept = own_folder(self.folder, PAGES) / f"{digest(url)}.json"
        with suppress(OSError, ValueError):
            return json.loads(read_bounded(kept))
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            raise HttpTrouble("names a page on another host", url)
        key = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        listed, headers = self.http.get_page(url, HEADERS | key, partial(self._limit_s, n_left))
        following = NEXT.search(headers.get("Link", ""))
        page = {"next": following[1] if following else "", "texts": [
            {key: one.get(key) for key in KEYS} for one in listed if isinstance(one, dict)]}
        if following:   # it is full
            write_atomic(kept, json.dumps(page).encode())
        return page

    def _limit_s(self, n_left: int, status: int | None, headers: Mapping) -> float:
        """Return the seconds until a limit ends that refused a request, 0 if none did."""
        seconds = retry_after_s(headers)
        if headers.get("x-ratelimit-remaining") == "0":
            reset = headers.get("x-ratelimit-reset", "")
            ends_at = float(reset) if reset.isdecimal() else 0.0
            seconds = max(1.0, seconds, ends_at + 1 - time.time())
        if status not in (403, 429) or not seconds:
            return 0.0
        seconds = min(seconds, HOUR_S)
        per_hour, hint = (5000, "") if self.token else (60, " without GITHUB_TOKEN")
        minutes = math.ceil((seconds + HOUR_S * ((n_left - 1) // per_hour)) / 60)
        say(f"github  up to {n_left:,} more pages need about {minutes:,} min{hint}; what was read "
            "is kept")
        return seconds


def github_of(settings: Settings, http: Http) -> GitHub:
    """Return the API that the settings name; its pages are kept in the root's commit/."""
    return GitHub(http, settings.root / Commit.directory, settings.pr_tasks.github_url,
                  settings.github_token)
