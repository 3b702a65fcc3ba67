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
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from codedata.bounded import own_folder, read_bounded
from codedata.disk.layouts import write_atomic
from codedata.disk.row_files import JsonLines, format_of, read_json
from codedata.disk.store import digest
from codedata.errors import HttpTrouble, Trouble
from codedata.llm.http import Http, retry_after_s
from codedata.records import Commit
from codedata.settings import ApiKey, Settings
from codedata.terminal import say

PAGES = "_github"    # in commit/: the pages that were read
PER_PAGE = 100       # the most that GitHub gives
MAX_WAIT_S = 3600.0
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
    if not isinstance(value, dict) or {"patch", "fix_patch"} & value.keys():
        return None
    page = PAGE_OF.fullmatch(str(value.get("html_url") or value.get("url")))
    if not page or not isinstance(value.get("title"), str):
        return None
    closes, listed = set(), value.get("closingIssuesReferences")
    for one in listed if isinstance(listed, list) else ():
        url = one.get("url") if isinstance(one, dict) else f"{page[0][:page.start(2)]}issues/{one}"
        if (other := PAGE_OF.fullmatch(str(url))) and other[1] == page[1]:
            closes.add(int(other[3]))
    body = COMMENT.sub("", str(value.get("body") or "").replace("\r\n", "\n"))
    return IssueText(page[1], int(page[3]), page[2] == "pull", value["title"].strip(), body.strip(),
                     frozenset(closes))


def printed_texts(names: Iterable[str], http) -> dict[str, dict[int, IssueText]]:
    """Return {owner/name: {number: text}} of JSON files, {} if they have anything else."""
    found: dict[str, dict[int, IssueText]] = defaultdict(dict)
    for name in names:
        for value in _values(name, http):
            if not (text := issue_text(value)):
                return {}
            found[text.repo][text.number] = text
    return found


def _values(name: str, http) -> Iterator:
    """Yield the values of a file of JSON lines, an object, a list, or a list of pages."""
    if format_of(name) == "jsonl":
        yield from JsonLines(name, http)
        return
    with suppress(ValueError):   # broken, or larger than what gh prints: read as rows
        value = read_json(name, http)
        for one in value if isinstance(value, list) else [value]:
            yield from one if isinstance(one, list) else [one]


def with_texts(rows: Iterable[dict], repo: str, texts: Mapping[int, IssueText]) -> Iterator[dict]:
    """Yield the rows of commits that are pull requests, with what these and their issues say."""
    closes = re.compile(CLOSES.format(re.escape(repo)))
    for row in rows:
        request = texts.get(number_of(row))
        if request and request.is_request:
            said = f"{request.body}\n{row['pr_description']}"
            numbers = sorted(request.closes.union(map(int, closes.findall(said))))
            issues = [texts[one] for one in numbers if one in texts]
            yield {**row, "repo": repo, "instance_id": id_of_request(repo, request.number),
                   "pr_description": f"{request.title}\n\n{request.body}",
                   "resolved_issues": [{"title": one.title, "body": one.body} for one in issues
                                       if not one.is_request]}


def id_of_request(repo: str, number: int) -> str:
    """Return the id of a pull request of owner/name."""
    return f"{repo.replace('/', '__')}-{number}"


def number_of(row: dict) -> int:
    """Return the number in a row's id; 0 if it has the id of a commit."""
    mark = row["instance_id"].rpartition("-")[2]
    return int(mark) if mark.isdecimal() and len(mark) < 8 else 0


# the API -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class GitHub:
    """Read pages of GitHub's REST API. The token goes to its host alone. Pages that cannot change
    are kept in `folder` and not asked for again."""

    http: Http
    folder: Path
    url: str
    token: ApiKey

    def texts(self, repo: str, since: str, newest: int) -> dict[int, IssueText]:
        """Return {number: text} of the issues and requests up to a number that changed `since` a
        date, the oldest first: new ones come on the last pages."""
        found: dict[int, IssueText] = {}
        said = ""
        url = f"{self.url.rstrip('/')}/repos/{repo}/issues?" + urlencode({
            "state": "all", "sort": "created", "direction": "asc", "per_page": PER_PAGE,
            "since": since})
        while url and max(found, default=0) < newest:
            page, headers = self._page(url)
            found |= {one.number: one for one in map(issue_text, page["texts"]) if one}
            url = page["next"]
            n_left = math.ceil((newest - max(found, default=0)) / PER_PAGE) if url else 0
            said = said or self._say_when(n_left, headers)
        return found

    def _page(self, url: str) -> tuple[dict, Mapping]:
        """Return ({texts, next: a URL or ""}, the headers) of a page."""
        kept = own_folder(self.folder, PAGES) / f"{digest(url)}.json"
        with suppress(OSError, ValueError):
            return json.loads(read_bounded(kept)), {}
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            raise Trouble("names a page on another host.", url, "Check [pr_tasks] github_url.")
        key = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            listed, headers = self.http.get_page(url, HEADERS | key, self._limit_s)
        except HttpTrouble as e:
            todo = "Check owner/name; what is not public takes GITHUB_TOKEN."
            raise HttpTrouble(e.what, url, todo, status=e.status) from e
        if not isinstance(listed, list):
            raise HttpTrouble("gave no list of issues.", url, "Check [pr_tasks] github_url.")
        following = NEXT.search(headers.get("Link", ""))
        page = {"next": following[1] if following else "", "texts": [
            {key: one.get(key) for key in KEYS} for one in listed if isinstance(one, dict)]}
        if following:   # it is full
            write_atomic(kept, json.dumps(page).encode())
        return page, headers

    def _limit_s(self, status: int | None, headers: Mapping) -> float:
        """Return the seconds until a limit ends that refused a request; 0 if none did."""
        seconds = retry_after_s(headers)
        if headers.get("x-ratelimit-remaining") == "0":
            seconds = max(seconds, 1 + _seconds_to_reset(headers))
        if status not in (403, 429) or not seconds:
            return 0.0
        say(f"github  the limit of calls is reached; goes on in {_minutes(seconds)} min (what was "
            f"read is kept){self._hint()}")
        return min(seconds, MAX_WAIT_S)

    def _say_when(self, n_left: int, headers: Mapping) -> str:
        """Print how long it takes to read further pages, if the limit does not allow them now.
        Return what was printed."""
        allowed, per_hour = (_number(headers, f"x-ratelimit-{one}", 0) for one in ("remaining",
                                                                                   "limit"))
        if not per_hour or n_left <= allowed:
            return ""
        seconds = _seconds_to_reset(headers) + (n_left - allowed - 1) // per_hour * MAX_WAIT_S
        text = (f"github  up to {n_left:,} more pages need about {_minutes(seconds)} min"
                f"{self._hint()}")
        say(text)
        return text

    def _hint(self) -> str:
        return "" if self.token else " without GITHUB_TOKEN"


def github_of(settings: Settings, http: Http) -> GitHub:
    """Return the API that the settings name; its pages are kept in the root's commit/."""
    return GitHub(http, settings.root / Commit.directory, settings.pr_tasks.github_url,
                  settings.github_token)


def _seconds_to_reset(headers: Mapping) -> float:
    return max(0.0, _number(headers, "x-ratelimit-reset", 0) - time.time())


def _minutes(seconds: float) -> int:
    return math.ceil(min(seconds, 1e9) / 60)


def _number(headers: Mapping, name: str, default: int) -> int:
    text = headers.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 16 else default
