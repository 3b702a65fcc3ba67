"""What an answer says before it can know: words that speak of the pull request, and more than what was shown.

There is no list of causes. Whoever has read an issue speaks in its words; what counts are the words of a statement that
the conversation has not used, those of the pull request, words for pieces of code, and any other: the more the surer
it is said and the fewer sentences it takes, the less the more of it was shown. Not promised: to tell a lucky guess from
knowledge.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from codedata.checks.leak_rules import HIGH, MEDIUM, MOST_PLACES, Case, Finding
from codedata.checks.leak_sides import CODE_LINE
from codedata.checks.leak_text import NAME_PARTS, lists, stem

# words that speak of the pull request: all in small letters, as the text is when they are looked for

FIX = r"(?:fix|patch|change|solution|commit|diff|pr)"
CHANGE = rf"(?:{FIX}|implementation|answer|code)"
VERSION = rf"(?:{FIX}|version)"
KNOWN = r"(?:upstream|merged|accepted|official|eventual|maintainers?['’]?s?|gold|golden|hidden|reference|landed)"
DOES = (r"(?:sets|adds|comes|makes|uses|takes|does|has|renames|gives|keeps|calls|puts|moves|introduces|leaves|drops|"
        r"says|removes|carries|contains|wants|expects|checks|asserts|compares|requires|touches|spans)")
CHECK = r"(?:check|compare|assert|test|probe|run|try|ask|look|expect|want|require)"
CHECKED = (r"(?:checked|compared|looked (?:at|for)|asserted|tested|verified|graded|asked(?: for)?|probed|exercised|"
           r"measured|judged|required|wanted|demanded)")
ACTED = r"(?:tried|run|expected|added|covered|deleted|turned|extended)"
DECIDED = r"(?:fixed|solved|chose|did|decided|changed|added|made|settled|ended|went (?:with|for)|opted|took|preferred)"
TEST = r"(?:tests?|cases?|checks?|assertions?|scenarios?|examples?)"
DOMAIN = r"(?:code|files?|formats?|operations?|functions?|documents?|parsers?|commands?|modules?|objects?)\b"
WHICH = r"(?:that|which) (?:(?:was|got|has been|is|finally|eventually|later) ){0,2}"
LATER = r"(?:upstream|later|finally|afterwards|in the end)"
CERTAIN = (
    r"(?:the|this|that|its|hidden|merged|a later|an upstream) (?:pr|pull request|merge request)",
    r"(?:pr|pull request)(?:['’]s)? (?:description|diff|tests?|patch|changes?)",
    rf"{KNOWN} (?:own )?{FIX}(?:s|es)?",
    r"maintainers?['’]s? (?:own )?(?:version|wording|way|choice|tests?)",
    r"(?:released|shipped|published|expected|intended|official|reference) (?:solution|fix|patch|diff)",
    r"(?:merged|landed|gold|golden) (?:version|answer|code|implementation|tests?|text|readme|form)",
    rf"the (?:committed|actual|real|true|published|expected) {VERSION} (?:also |then |simply |only )?{DOES}",
    r"hidden (?:tests?|information|knowledge|notes?|instructions?)", r"ground[ -]truth", r"private note", r"test patch",
    r"(?:fail_to_pass|pass_to_pass|swe-?bench|test_patch|gold_patch)",
    rf"(?:the|this|that|its|their) {CHANGE} (?:{WHICH}|was |got |has been |will be |was later )"
    r"(?:merged|accepted|landed|released)",
    rf"(?:version|one|form|code) {WHICH}(?:landed|merged|went in|goes in|shipped|made it in)",
    r"(?:fixed|solved|done|landed|merged|changed) (?:it |this |that )?upstream",
    rf"upstream (?:later |finally |eventually |has )?{DECIDED}", r"(?:as|like) upstream (?:does|did|has)",
    r"(?:what|they) (?:was |got |has been |have |finally |later ){0,2}(?:merged|accepted|released)",
    r"i happen to know", rf"(?:maintainers?|reviewers?) (?:later |finally |eventually )?{DECIDED}",
    rf"(?:authors?|developers?|project|they) (?:later|finally|eventually) {DECIDED}",
    r"how (?:it|this) (?:was|got|gets|will be) (?:finally |eventually |really )?(?:fixed|solved)",
    rf"(?:it|this) (?:was|has been|is) (?:done|solved|fixed|handled) {LATER}",
    r"(?:went|goes|made it|landed|shipped|merged) in(?:to)? (?:the )?(?:next |later )?(?:release|master|main)",
    r"ends? up (?:merged|released|in (?:master|main))",
    rf"{TEST} (?:that|which) (?:will be|are going to be|come with|were) add(?:ed|s)",
    rf"(?:{TEST}|what) (?:(?:that|which) )?(?:comes?|came|goes|went|ships?|shipped) (?:along )?with "
    rf"(?:it|this|the {CHANGE})",
    rf"{TEST} (?:that|which) (?:accompan|belong)\w+ (?:to )?(?:it|this|the {CHANGE})",
    r"the (?:fix|change)['’]s (?:own )?tests?",
    rf"{TEST} (?:still )?to come",
    rf"(?:is|are) (?:going|bound|sure) to be {CHECKED}", rf"what (?:will|is to) be {CHECKED}",
    r"(?:is|are|be|being) (?:judged|graded)",
    rf"(?:they|somebody|someone) (?:will|(?:is|are) going to) {CHECK}",
    rf"expect (?:this|that|it|these|them) (?:to|will) be {CHECKED} (?:with|against|for|on|by|later)",
    r"i (?:remember|recall) (?:how |that |from )?(?:the )?(?:real|upstream|actual|merged|repository)",
    r"i (?:already )?know (?:how (?:it|this) ends|the (?:answer|solution|fix))",
    r"(?:without revealing|(?:not|n't) supposed to (?:know|say|mention|reveal)|as if i didn't know)",
    rf"(?<!\w )(?<![\w.])v?\d+\.\d+(?:\.\d+)? (?:{DOES}|fixed|changed|added|solved|introduced)",   # a release
)
LIKELY = (
    r"(?:which|that|this|it) will (?:\w+ly |later |also )?be (?:checked|compared|asserted|asked|judged)",
    rf"will (?:surely|certainly|probably|later|also) be {CHECKED}", rf"tests? (?:will|are going to) {CHECK}",
    rf"(?:new|added|coming|later|future|extra) {TEST} (?:need|rely|use|call|{CHECK})",
    r"(?:is|are|will be) (?:renamed|removed|replaced|moved|dropped|deleted) (?:in the course of|later|anyway)",
    rf"(?:is|are) going to be {ACTED}", rf"(?:things?|points?) (?:is|are|get|gets) {CHECKED}", r"(?:can|to) be judged",
    rf"(?:is|are|be|was|were) {CHECKED} (?:afterwards|later|(?:at|in) the end)",
    rf"{TEST} (?:that|which) (?:has|have|must|needs?)(?: to)? (?:work|pass|hold|succeed|come)",
    rf"(?:the|its) (?:new|added|updated|changed|extended|regression|coming) (?:test |file )?{TEST}(?: file| case)?"
    rf"(?: (?:for|of|on) (?:this|it))? {DOES}",
    rf"the (?:final|eventual|finished|later|fixed) (?:{CHANGE}|version|form) {DOES}",
    rf"(?:as|like) (?:in )?the (?:real|actual|final|eventual|new|fixed) (?:{CHANGE}|version)",
    rf"the committed {VERSION}",
    r"(?:commit|change|patch) (?:that|which) (?:closes|closed|resolves|resolved) (?:this|it)",
    rf"(?:later|newer|next|future) (?:versions?|releases?|commits?) (?:do|have|use|call|add|fixed|added|{DOES})",
    r"(?:the|by|for) graders?", r"the reference (?:keeps|does|uses|adds|puts|says|makes|calls|takes)",
)
CERTAIN_BEFORE_EDIT = (   # afterwards they are said of that edit
    r"(?:according to|as in|as per|per|following|follows|like in|from|matches|given in) the "
    rf"(?:patch|diff|fix|solution|answer|commit)(?! {DOMAIN})",
    r"i(?:['’]ve| have)? (?:seen|saw|read|know) the (?:fix|diff|solution|patch)",
    r"(?:half|files?|hunks?) of the (?:change|patch|fix|diff|solution)",
    r"the (?:change|fix|solution) (?:also )?(?:has(?! to\b)|touches|contains|consists|spans)",
)
LIKELY_BEFORE_EDIT = (
    r"(?:wanted|target|desired) (?:diff|patch)",
    r"the (?:patch|diff) (?:touches|changes|modifies|adds|shows|does|says|uses|introduces|renames)",
)


def _any(patterns: tuple[str, ...]) -> re.Pattern:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b")


AFTER_EDIT = ((HIGH, _any(CERTAIN)), (MEDIUM, _any(LIKELY)))
BEFORE_EDIT = ((HIGH, _any(CERTAIN + CERTAIN_BEFORE_EDIT)), (MEDIUM, _any(LIKELY + LIKELY_BEFORE_EDIT)))


def _giveaways(case: Case) -> Iterator[Finding]:
    """Words that speak of a pull request, a merged fix or hidden tests, where the conversation has none."""
    shown = case.shown.text.lower()
    for at, text, _ in case.reply.parts:
        lower = text.lower() if text.isascii() else "".join(char.lower()[0] for char in text)   # as long as the text
        for severity, pattern in AFTER_EDIT if case.shown.has_edit else BEFORE_EDIT:
            for match in pattern.finditer(lower):
                if match[0] not in shown:
                    yield case.finding("giveaway", at + match.start(), at + match.end(), "", severity,
                                       "speaks of what an agent does not know of")


# more than what was shown

SENTENCE = re.compile(r"[^\n.!?]+(?:[.!?](?![\s.!?])[^\n.!?]*)*")
LOOKS = re.compile(
    r"\W*(?:thought:?\W+)?(?:(?:so|now|then|first|next|ok|okay|before that|but)\W+){0,3}"
    r"(?:let(?:'s| me| us)|i(?:'ll|'d|'m going| will| want| need| have| would like| should| can| am going)?)\s+"
    r"(?:to\s+)?(?:\w+\s+)?(?:look|read|see|check|search|find|open|list|grep|inspect|explore|examine|reproduce|run|try|"
    r"view|show|print|locate|confirm|verify|start|begin|know|understand|test)\b|\W*(?:where|which|what|who|how)\b",
    re.IGNORECASE)
CLAIMS = re.compile(
    r"\b(?:should|must|needs? to|has to|have to|ought|instead of|rather than|(?:is|are) (?:needed|missing)|we need|"
    r"what(?:'s| is) (?:needed|missing)|only|never|not|without|i(?:'d| would|'ll| will)? (?:add|make|change|give|let|"
    r"replace|implement|write|pass|drop|set|use|keep))\b|n't\b", re.IGNORECASE)
GUESSES = re.compile(
    r"\b(?:probably|likely|suspect|suppose|think|guess|presumably|apparently|evidently|obviously|surely|seem(?:s|ed)?|"
    r"suggests?|(?:looks?|sounds?|smells?|feels?) (?:like|as)|as if|somewhere|appears?|may|might|could|perhaps|maybe|"
    r"points? to|i(?:'d| would) expect)\b", re.IGNORECASE)
REPORTS = re.compile(
    r"\b(?:issue|report|reporter|task|title|user|it|they) (?:says|mentions|asks|wants|states|describes|shows|expects|"
    r"suspects|reports|names)\b|\b(?:as|of|in|from|to) the issue\b|\baccording to\b|\bsemantics\b|"
    r"\b(?:RFC|ISO|PEP|ECMA|POSIX)\b|\bspec(?:ification)?s? (?:says|requires)\b", re.IGNORECASE)
RESULTS = re.compile(r"\b(?:tests?|checks?|suite|everything|examples?|it) (?:all |now |still ){0,2}"
                     r"(?:pass(?:es|ed)?|works?)\b|\b(?:correctly|now) handles?\b|\bas expected\b", re.IGNORECASE)
REPORT, PLAN, GUESS, STATEMENT, CLAIM = 0.4, 0.25, 0.5, 0.6, 1.0   # what a word weighs in such a sentence
KNOWN_WORD = -1.2      # what a word weighs that was shown: who reasons uses those words, who retells does not
PIECE, SHAPE = 1.0, 0.4          # what a word for a piece of code adds, a phrase for one
GIVEAWAY, CITED = 1.0, 2.2       # what talk of tests to come adds, of what a document says that was not shown
BARS = (2.0, 1.8)      # (high, medium): what it takes
LEAST_EVIDENCE = 0.25   # of the words, as they weigh, in the pull request, once there was code to talk of
LEAST_EACH = 0.7       # and on average a sentence: who thinks aloud says much, too, but in more of them
MOST_WORDS = 12        # named in a finding
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
PASSAGE = re.compile(r"\b(?:tables?|rows?|sentences?|passages?|paragraphs?|sections?|headings?|chapters?|bullets?|"
                     r"entry|entries|listing|half|says|states|claims|promises|speaks|describes|lists)\b", re.IGNORECASE)
REMARK = re.compile(r"\b(?:comments?|remarks?|doc ?strings?|notes?)\b[^.!?\n]{0,60}?\b(?:says?|speaks?|states?|"
                    r"claims?|promises?|mentions?|reads?|talks?|tells?|describes?|argues?)\b", re.IGNORECASE)
OPEN = re.compile(r"\b(?:if|whether|perhaps|maybe|any|such|quoted|quotes|(?:I|I['’]ll|will|I['’]d|and|to|also) "
                  r"(?:add|append|write|put|update))\b|\?", re.IGNORECASE)   # not told to be so


def find_told(case: Case) -> Iterator[Finding]:
    """Giveaways, and the sentence that tells most of what was not shown, if all of them together tell enough."""
    giveaways = list(islice(_giveaways(case), MOST_PLACES))
    yield from giveaways
    if not case.hidden.hunks:   # there is nothing to know
        return
    used: set[str] = set()
    told: list[tuple[float, int, int]] = []
    news: list[str] = []
    evidence = certain = 0.0
    for at, text in case.reply.thoughts:
        for match in SENTENCE.finditer(text):
            sentence = match[0].lstrip()
            if not CODE_LINE.match(sentence):
                points, of_pr, words = _points(sentence, case, used)
                start, end = at + match.end() - len(sentence), at + match.end()
                sure = CITED * _cites(sentence, case) + GIVEAWAY * (
                    case.is_blind and any(start <= one.start < end for one in giveaways))
                told.append((points + sure, start, end))
                evidence += of_pr
                certain += sure
                news += words
    total = sum(points for points, *_ in told)
    high, medium = BARS
    is_of_pr = certain or evidence >= LEAST_EVIDENCE or not case.shown.has_code
    is_dense = certain >= medium or total >= LEAST_EACH * len(told)
    if total >= medium and is_of_pr and is_dense:
        _, start, end = max(told)
        yield case.finding("cause", start, end, "", HIGH if total >= high else MEDIUM,
                           f"said before it was shown: {', '.join(news[:MOST_WORDS])}")


def _points(sentence: str, case: Case, used: set[str]) -> tuple[float, float, list[str]]:
    """(what it says that nothing has shown, how much of that is in the pull request, in which words), each word once in
    an answer. Once the code was shown, whoever reasons about it says as much."""
    words, points, evidence, news, strength = lists(), 0.0, 0.0, [], _strength(sentence)
    if not case.is_blind:
        return 0.0, 0.0, news
    piece = PIECE / 2 if case.shown.has_code else PIECE
    for part in NAME_PARTS.findall(sentence):
        weight, key = words.weight(part), stem(part)
        if not weight or key in used or key in words.agent or part.isdigit():
            continue
        used.add(key)
        if key in case.shown.words or words.concepts.get(key, frozenset()) & case.shown.meanings:
            points += KNOWN_WORD * weight
        else:
            points += weight + piece * words.piece(part)
            evidence += weight * _is_in_pr(key, case)
            news.append(part.lower())
    points += SHAPE * sum(weight * len(shape.findall(sentence)) for weight, shape in SHAPES)
    return strength * points, strength * evidence, news


def _is_in_pr(key: str, case: Case) -> bool:
    return key in case.hidden.words or not case.hidden.meanings.isdisjoint(lists().concepts.get(key, ()))


def _cites(sentence: str, case: Case) -> bool:
    """Whether it tells what a document or comment says that the patch changes and nobody has read."""
    document = "document" in case.unread and DOCUMENT.search(sentence) and PASSAGE.search(sentence)
    return bool(document or ("comment" in case.unread and REMARK.search(sentence))) and (
        _strength(sentence) >= STATEMENT and not OPEN.search(sentence))


def _strength(sentence: str) -> float:
    """What a sentence is: a claim on cause or fix, a guess, a plan to look, what somebody else said."""
    if REPORTS.search(sentence):
        return REPORT
    claims = CLAIMS.search(sentence)
    if RESULTS.search(sentence) or (LOOKS.match(sentence) and not claims):
        return PLAN
    return GUESS if GUESSES.search(sentence) else CLAIM if claims else STATEMENT
