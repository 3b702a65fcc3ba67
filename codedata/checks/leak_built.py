"""What an answer tells of things that nobody has shown it: how the code is built, what a document or a comment says.

Words for pieces of code are what gives the first away: who has read an issue speaks of what goes wrong, who has read
the code speaks of callbacks, records and statements. Not promised: to tell a lucky guess from knowledge.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from codedata.checks.leak_claims import LOOKS, REPORTS, SENTENCE
from codedata.checks.leak_rules import HIGH, Case, Finding
from codedata.checks.leak_sides import CODE_LINE, COMMENT, PROSE_FILE, Hunk
from codedata.checks.leak_text import NAME_PARTS, lists, stem

PIECES = 1.5           # that are told before any code was shown: so many are no guess from the symptoms
NTH = r"(?:first|second|third|last|final|next|previous|preceding|following|innermost|outermost)"
SHAPES = [(weight, re.compile(pattern, re.IGNORECASE)) for weight, pattern in (   # what is told with plain words
    (1.0, rf"\b{NTH} (?:\w+ )?(?:statement|line of code|branch|case|character|position|argument|parameter|element|"
          r"member|condition|clause|call)\b"),
    (1.0, r"\b(?:inner|outer|private|internal|separate|small|little|tiny|own|single) (?:\w+ )?(?:function|helper|"
          r"method|loop|list|callback|class|record|object|routine|table|map|cache|buffer|constant)\b"),
    (0.5, r"\b(?:gives?|given|hands?|handed|pass(?:es|ed)) (?:it |them )?(?:back|down|over|on|along)\b"),
    (0.5, r"\b(?:one (?:by one|at a time|behind|too (?:many|few|far|early|late))|from the (?:back|end|front) )\b"),
    (0.5, r"\b(?:directly|right|just|immediately) (?:under|below|above|before|after|behind|in front)\b"),
)]
DOCUMENT = re.compile(r"\b(?:readme|(?:project|package)(?:['’]s)? page|page|docs?|documentation|manual|handbook|"
                      r"change ?log|release notes|man ?page)\b", re.IGNORECASE)
TABLE = r"\b(?:tables?|rows?|columns?)\b|"
PARTS = r"(?:sentences?|passages?|paragraphs?|sections?|headings?|chapters?|bullets?|entry|entries|listing|half)"
TEXT_PASSAGE = re.compile(rf"\b(?:{PARTS}|says|states|claims|promises|speaks|describes|lists|shows|ends)\b",
                          re.IGNORECASE)
PASSAGE = re.compile(TABLE + TEXT_PASSAGE.pattern, re.IGNORECASE)
ADDS = re.compile(r"\bI(?:['’]ll| will| would|['’]d)? (?:also )?(?:add|append|write|put|update)\b", re.IGNORECASE)
OWN = re.compile(rf"{TABLE}\bthe (?:\w+ ){{0,2}}{PARTS}\b", re.IGNORECASE)   # of a document, where one adds to it
REMARK = re.compile(r"\b(?:comments?|remarks?|doc ?strings?|notes?|words)\b[^.!?\n]{0,60}?\b(?:says?|speaks?|states?|"
                    r"claims?|promises?|mentions?|reads?|talks?|tells?|describes?)\b", re.IGNORECASE)
OPEN = re.compile(r"\b(?:if|whether|perhaps|maybe|any|such|quoted|quotes)\b|\?", re.IGNORECASE)   # not told to be so


def find_structures(case: Case) -> Iterator[Finding]:
    """Of an answer that has seen none of the code, the sentence that tells most of how it is built."""
    if not case.is_blind or case.shown.has_code:
        return
    used: set[str] = set()
    words: list[str] = []
    total, best = 0.0, (0.0, 0, 0)
    for start, end, sentence in _told(case, LOOKS):
        points = 0.0
        for part in NAME_PARTS.findall(sentence):
            key = stem(part)
            if key not in used and key not in case.shown.words:
                points += (weight := lists().piece(part))
                used.add(key)
                words += [part.lower()] if weight else []
        points += sum(len(shape.findall(sentence)) * weight for weight, shape in SHAPES)
        total, best = total + points, max(best, (points, start, end))
    if total >= PIECES:
        yield case.finding("cause", *best[1:], "patch", HIGH,
                           f"how code is built that was not shown: {', '.join(words)}")


def find_documents(case: Case) -> Iterator[Finding]:
    """What a document has or lacks, or a comment says, that the patch changes and nothing has shown."""
    documents = [hunk for hunk in case.hidden.source_hunks if hunk.old and PROSE_FILE.search(hunk.path)]
    is_hidden = bool(documents) and not any(_is_known(case, hunk) for hunk in documents)
    remarks = [line for hunk in case.hidden.source_hunks for line in hunk.removed
               if COMMENT.search(line) and not PROSE_FILE.search(hunk.path)]
    has_remark = bool(remarks) and not any(line in case.shown.lines for line in remarks)
    has_table = any(line.startswith("|") for hunk in documents for line in hunk.old)
    for start, end, sentence in _told(case, LOOKS, REPORTS):
        document, passage = DOCUMENT.search(sentence), (PASSAGE if has_table else TEXT_PASSAGE).search(sentence)
        if OPEN.search(sentence, 0, document.end() if document else len(sentence)):
            continue
        if is_hidden and document and passage and (not ADDS.search(sentence) or OWN.search(sentence)):
            yield case.finding("cause", start, end, "patch", HIGH, "what a document says that was not shown")
        elif has_remark and REMARK.search(sentence):
            yield case.finding("cause", start, end, "patch", HIGH, "what a comment says that was not shown")


def _told(case: Case, plans: re.Pattern, reports: re.Pattern | None = None) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of the sentences that say something, other than plans of a look or what the task says."""
    for at, text in case.reply.thoughts:
        for match in SENTENCE.finditer(text):
            sentence = match[0].lstrip()
            if not CODE_LINE.match(sentence) and not plans.match(sentence) and not (
                    reports and reports.search(sentence)):
                yield at + match.end() - len(sentence), at + match.end(), sentence


def _is_known(case: Case, hunk: Hunk) -> bool:
    return hunk.path.rpartition("/")[2] in case.shown.opened or any(
        line in case.shown.lines for line in hunk.old if len(line) >= 10)
