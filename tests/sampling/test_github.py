"""Check that requests get the texts of their pages from a server that speaks GitHub's API, that no
page is asked for twice and no token goes elsewhere."""

import json
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import KEY, run_script
from fake_llm import FakeLLM, Request, Status
from line_tables import rows
from root import read_json
from test_git_prs import clone as clone  # a fixture
from test_git_prs import commit

REPO = "Own/repo"
ISSUES = [*map(json.loads, """\
{"number": 3, "title": "Sinks", "body": "It sinks."}
{"number": 4, "title": "Open", "body": null}
{"number": 9, "title": "No commit", "body": "Fixes #3", "pull_request": {"merged_at": null}}
{"number": 12, "title": "Mend b", "body": "<!-- why? -->It was\\r\\nwrong.", \
"pull_request": {"merged_at": null}}
{"number": 15, "title": "Go", "body": "Closes #12, resolves #4", \
"pull_request": {"merged_at": null}}
{"number": 16, "title": "Test", "body": "", "pull_request": {"merged_at": null}}
{"number": 17, "title": "Later", "body": ""}
""".splitlines())]
PER_PAGE = 3


class Api(FakeLLM):
    """List ISSUES in pages of three."""

    def __init__(self):
        super().__init__()
        self.always(self._page)

    def _page(self, request: Request) -> Status:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        if url.path != f"/repos/{REPO}/issues":
            return Status(404, {"message": "Not Found"})
        assert query["state"] == "all" and query["direction"] == "asc"
        assert query["since"] == "2024-05-01T12:00:00Z"
        start = int(query.get("after", 0))
        following = f'<{self.url}{request.path}&after={start + PER_PAGE}>; rel="next"'
        page = ISSUES[start:start + PER_PAGE]
        return Status(200, page, {"Link": following} if start + PER_PAGE < len(ISSUES) else {})


def records(root, *flags, server: Api | None = None, **env: str):
    """Run the first step of pr_tasks.py; return {id: record}, and the run."""
    root.mkdir(exist_ok=True)
    env |= {"GITHUB_API_URL": server.url} if server else {}
    done = run_script("pr_tasks.py", root, "--steps", "records", *flags, env=env)
    return {path.stem: read_json(path)
            for path in sorted(root.glob("commit/*.json"))}, done


@pytest.fixture
def clones(clone, tmp_path):
    (clone / "LICENSE").write_text("Permission is hereby granted, free of charge, to any person "
                                   "obtaining a copy of this software and associated "
                                   "documentation files")
    commit(clone, "Licence (#3)", {})
    (tmp_path / "clones").mkdir()
    return clone.rename(tmp_path / "clones/repo").parent


def test_commits_say_what_the_pages_of_their_requests_say(clones, tmp_path):
    root = tmp_path / "root"
    flags = "--prs", f"github:{REPO}", "--clones", clones
    with Api() as api:
        made, done = records(root, *flags, server=api, GITHUB_TOKEN=KEY)
        assert done.returncode == 0, done.stderr
        again, _ = records(root, *flags, server=api)
    assert again == made
    first, second, of_issue = (made.pop(f"Own__repo-{number}") for number in (12, 15, 3))
    direct, = made.values()
    assert (first["issue"], first["description"]) == (
        "Sinks\n\nIt sinks.", "Mend b\n\nIt was\nwrong.\n\nMend b (fixes #3)\n\nIt was wrong.")
    assert (second["issue"], second["licence"]) == ("Open", "MIT")
    assert (of_issue["issue"], of_issue["description"]) == ("Sinks\n\nIt sinks.", "Licence")
    assert (direct["issue"], direct["description"]) == ("", "Directly")
    assert [one.headers.get("authorization") for one in api.requests] == [f"Bearer {KEY}"] * 2
    (root / "chain.toml").write_text(f'[pr_tasks]\ngithub_url = "{api.url}"\n')
    _, done = records(root, *flags, GITHUB_TOKEN=KEY)
    assert "without a key: GITHUB_TOKEN is set, but" in done.stderr
    assert not any(KEY in path.read_text() for path in root.rglob("*") if path.is_file())


# the first reply, as status, body and headers; OTHER is another host
@pytest.mark.parametrize(("reply", "code", "said"), rows("""
[403, {"message": "API rate limit exceeded"},\
 {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "SOON"}]\
 | 0 | at most 1 more page in about 1 min without GITHUB_TOKEN
[429, "", {"Retry-After": "0.1"}]         | 0 | 1 more page in about 1 min;
[502]                                     | 0 |
[403, {"message": "KEY"}]                 | 2 | refused access
[404, {"message": "Not Found"}]           | 1 | Check owner/name; a private one needs GITHUB_T
[302, "", {"Location": "OTHER/x"}]        | 2 | sends elsewhere
[200, [{"number": 1, "title": "", "body": ""}], {"Link": "<OTHER/x>; rel=\\"next\\""}]\
 | 1 | names a page on another host
"""))
def test_limits_are_waited_for_and_no_other_host_is_asked(reply, code, said, clones, tmp_path):
    with FakeLLM() as other, Api() as api:
        for word, value in {"SOON": str(int(time.time() + 1)), "KEY": KEY,
                            "OTHER": other.url}.items():
            reply = reply.replace(word, value)
        api.script(Status(*json.loads(reply)))
        _, done = records(tmp_path / "root", "--prs", f"github:{REPO}", "--clones", clones,
                          server=api, GITHUB_TOKEN="" if said.endswith("TOKEN") else KEY)
    assert (done.returncode, other.requests) == (int(code), []), done.stderr
    assert said in done.stderr and KEY not in done.stderr
