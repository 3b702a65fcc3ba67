"""What an answer says before it can know: causes and fixes, words and code of the pull request, that there is one.

There is no list of causes. What counts are the words of a claim that the conversation has not used and the pull request
has: the more the rarer they are, the more the surer the claim is, and next to nothing where the code was shown.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from codedata.checks.leak_rules import HIGH, MEDIUM, Case, Finding
from codedata.checks.leak_sides import COMMENT, PROSE_FILE, TEXT
from codedata.checks.leak_text import NAME, NAME_PARTS, NUMBER, fold, lists, stem, word_stems

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
    r"\b(?:probably|likely|suspect|think|guess|presumably|apparently|evidently|obviously|surely|seem(?:s|ed)?|"
    r"suggests?|looks? (?:like|as)|appears?|may|might|could|perhaps|maybe|points? to|i(?:'d| would) expect)\b",
    re.IGNORECASE)
REPORTS = re.compile(
    r"\b(?:issue|report|reporter|task|title|user|it|they) (?:says|mentions|asks|wants|states|describes|shows|expects|"
    r"suspects|reports|names)\b|\b(?:as|of|in|from|to) the issue\b|\baccording to\b|\bsemantics\b|"
    r"\bspec(?:ification)?s? (?:says|requires)\b", re.IGNORECASE)
REPORT, PLAN, GUESS, STATEMENT, CLAIM = 0.4, 0.25, 0.5, 0.6, 1.0   # what a word weighs in such a sentence
SYNONYM = 0.6          # what it weighs where the pull request has only one that means the same
STRUCTURE = 0.25       # what a word for a piece of code weighs, whoever has it
SHARE = 4.0            # what it weighs to have told all that is new in the description and the comments
CAUSE_SEEN = 0.2       # what all of it weighs where the code was shown
CAUSE_HIGH, CAUSE_MEDIUM = 2.25, 1.6   # what it takes

TOKEN = re.compile(r"\w+|[^\w\s\\]")
WORD = re.compile(r"[^\W_]+|[^\w\s.,:'’-]")   # and what is no part of a sentence
BETWEEN = {TOKEN: dict.fromkeys(map(ord, " \t\r\n\\")), WORD: dict.fromkeys(map(ord, " \t\r\n_.,:'’-"))}
CODE_RUN, PROSE_RUN = 6, 4                    # tokens, words that have to agree in a row
OLD_RUN = 9                                   # tokens of code in a file that was shown in part

CHANGE = r"(?:fix|patch|change|solution|commit|diff|PR|implementation|answer|code)"
KNOWN = r"(?:upstream|merged|accepted|official|eventual|maintainers?['’]?s?|gold|golden|hidden|reference|landed)"
CHANGED = r"(?:fix|patch|change|solution|commit|diff|version)"
DOES = (r"(?:sets|adds|comes|makes|uses|takes|does|has|renames|gives|keeps|calls|puts|moves|introduces|leaves|drops|"
        r"says)")
CHECKED = (r"(?:checked|compared|looked (?:at|for)|asserted|tested|verified|graded|asked(?: for)?|probed|tried|"
           r"exercised|measured)")
WHICH = r"(?:that|which) (?:(?:was|got|has been|is|finally|eventually|later) ){0,2}"
DECIDED = r"(?:fixed|solved|chose|did|decided|changed|added|made|settled|ended|went (?:with|for)|opted|took|preferred)"
GIVEAWAYS = [(severity, re.compile(pattern, re.IGNORECASE)) for severity, pattern in (
    (HIGH, r"\b(?:the|this|that|its|hidden|merged|a later|an upstream) (?:PR|pull request|merge request)\b"),
    (HIGH, r"\b(?:PR|pull request)(?:['’]s)? (?:description|diff|tests?|patch|changes?)\b"),
    (HIGH, rf"\b{KNOWN} (?:fix|patch|change|solution|commit|diff|PR)(?:s|es)?\b"),
    (HIGH, r"\b(?:merged|landed|gold|golden) (?:version|answer|code|implementation|tests?|text|readme|form)\b"),
    (HIGH, rf"\bthe (?:committed|actual|real|true|published) {CHANGED} (?:also |then |simply |only )?{DOES}\b"),
    (HIGH, r"\bhidden (?:tests?|information|knowledge|notes?|instructions?)\b|\bground[ -]truth\b|\bprivate note\b"),
    (HIGH, r"\b(?:FAIL_TO_PASS|PASS_TO_PASS|SWE-?bench|test_patch|gold_patch)\b|\btest patch\b"),
    (HIGH, rf"\b(?:the|this|that|its|their) {CHANGE} (?:{WHICH}|was |got |has been |will be |was later )"
           r"(?:merged|accepted|landed|released)\b"),
    (HIGH, rf"\b(?:version|one|form|code) {WHICH}(?:landed|merged|went in|goes in|shipped|made it in)\b"),
    (HIGH, r"\b(?:fixed|solved|done|landed|merged|changed) (?:it |this |that )?upstream\b"),
    (HIGH, rf"\b(?:maintainers?|reviewers?) (?:later |finally |eventually )?{DECIDED}\b"),
    (HIGH, r"\bhow (?:it|this) (?:was|got|gets|will be) (?:finally |eventually |really )?(?:fixed|solved)\b"),
    (HIGH, r"\btests? (?:that|which) (?:will be|are going to be|come with|were) add(?:ed|s)\b"),
    (HIGH, r"\btests? (?:that|which) (?:come|came|go|went|ship|shipped) with (?:it|the|this)\b"),
    (HIGH, r"\b(?:tests?|checks?) (?:still )?to come\b|\bends? up (?:merged|released|in (?:master|main))\b"),
    (HIGH, rf"\b(?:is|are) (?:going|bound|sure) to be {CHECKED}\b|\bwhat (?:will|is to) be {CHECKED}\b"),
    (HIGH, r"\b(?:they|somebody|someone) (?:will|(?:is|are) going to) (?:check|compare|assert|test|probe)\b"),
    (MEDIUM, rf"\bwill (?:surely|certainly|probably|later|also) be {CHECKED}\b"),
    (HIGH, rf"\bexpect (?:this|that|it|these|them) (?:to|will) be {CHECKED} (?:with|against|for|on|by|later)\b"),
    (HIGH, r"\bI (?:remember|recall) (?:how |that |from )?(?:the )?(?:real|upstream|actual|merged|repository)\b"),
    (HIGH, r"\bI (?:already )?know (?:how (?:it|this) ends|the (?:answer|solution|fix))\b"),
    (HIGH, r"\b(?:without revealing|(?:not|n't) supposed to (?:know|say|mention|reveal)|as if I didn't know)\b"),
    (MEDIUM, rf"\b(?:as|like) (?:in )?the (?:real|actual|final|eventual|new|fixed) (?:{CHANGE}|version)\b"),
    (MEDIUM, r"\bthe committed (?:fix|change|version|solution)\b"),
    (MEDIUM, r"\b(?:commit|change|patch) (?:that|which) (?:closes|closed|resolves|resolved) (?:this|the|it)\b"),
    (MEDIUM, r"\b(?:later|newer|next|future) (?:versions?|releases?) (?:does?|has|have|uses?|calls?|adds?|added)\b"),
    (MEDIUM, r"\b(?:the|by|for) graders?\b|\bthe reference (?:keeps|does|uses|adds|puts|says|makes|calls|takes)\b"),
    (MEDIUM, r"\bnew tests? (?:expects?|checks?|wants?|requires?)\b"),
)]
OWN_WORK = [(severity, re.compile(pattern, re.IGNORECASE)) for severity, pattern in (   # after an edit, of that edit
    (HIGH, r"\b(?:according to|as in|as per|per|following|follows|like in|from|matches|given in) the (?:patch|diff)\b"),
    (MEDIUM, r"\bthe (?:patch|diff) (?:touches|changes|modifies|adds|shows|does|says|uses|introduces|renames)\b"),
)]


def find_giveaways(case: Case) -> Iterator[Finding]:
    """Words that speak of a pull request, a merged fix or hidden tests, where the conversation has none."""
    shown = case.shown.text.lower()
    for at, text, _ in case.reply.parts:
        for severity, pattern in GIVEAWAYS if case.shown.has_edit else GIVEAWAYS + OWN_WORK:
            for match in pattern.finditer(text):
                if match[0].lower() not in shown:
                    yield case.finding("giveaway", at + match.start(), at + match.end(), "", severity,
                                       "speaks of what an agent does not know of")


def find_causes(case: Case) -> Iterator[Finding]:
    """The sentence that tells most of the change before its code was shown, if all of them together tell enough."""
    used: set = set()
    told: list[tuple[float, int, int, str, list[str]]] = []
    total = n_described = 0.0
    described = {key for key in word_stems(case.hidden.texts["description"] + "\n" + case.hidden.prose["patch"])
                 if lists().weight(key) and _is_new(key, case)}
    meant = described | lists().meanings(described)
    for at, text in case.reply.thoughts:
        for match in SENTENCE.finditer(text):
            strength = _strength(match[0])
            hits, points = _hits(match[0], case, used)
            total += strength * points
            n_described += strength * sum(bool(_meanings(word) & meant) for word, _ in hits)
            if hits:
                start = match.end() - len(match[0].lstrip())
                told.append((strength * points, at + start, at + match.end(), hits[0][1], [word for word, _ in hits]))
    total += SHARE * n_described / (len(described) + 2)
    total *= max(CAUSE_SEEN, 1 - 2 * (1 - CAUSE_SEEN) * case.share_seen)
    if total >= CAUSE_MEDIUM and sum(len(words) for *_, words in told) >= 2:
        _, start, end, source, words = max(told, key=lambda one: one[0])
        yield case.finding("cause", start, end, source, HIGH if total >= CAUSE_HIGH else MEDIUM,
                           f"a cause or fix before its code was shown: {', '.join(words)}")


def _strength(sentence: str) -> float:
    """What a sentence is: a claim on cause or fix, a guess, a plan to look, what somebody else said."""
    if REPORTS.search(sentence):
        return REPORT
    claims = CLAIMS.search(sentence)
    if LOOKS.match(sentence) and not claims:
        return PLAN
    return GUESS if GUESSES.search(sentence) else CLAIM if claims else STATEMENT


def _hits(sentence: str, case: Case, used: set) -> tuple[list[tuple[str, str]], float]:
    """([(word, source)], points) of words that the pull request has and nothing has shown, each meaning once."""
    words, hidden = lists(), case.hidden
    hits, points = [], 0.0
    for part in NAME_PARTS.findall(sentence):
        weight, key = words.weight(part), stem(part)
        meanings = words.concepts.get(key, frozenset())
        if not weight or key in used or meanings & used or not _is_new(key, case):
            continue
        used |= meanings | {key}
        points += STRUCTURE * (key in words.structure)
        place = hidden.words.get(key)
        near = place or next((hidden.meanings[one] for one in meanings if one in hidden.meanings), None)
        if near:
            points += weight * near[1] * (1 if place else SYNONYM)
            hits.append((part.lower(), near[0]))
    return hits, points


def _is_new(key: str, case: Case) -> bool:
    """Whether neither a word nor another one for the same was shown."""
    return key not in case.shown.words and not lists().concepts.get(key, frozenset()) & case.shown.meanings


def _meanings(word: str) -> frozenset:
    """The stem of a word and the groups it belongs to."""
    return lists().concepts.get(stem(word), frozenset()) | {stem(word)}


# what was copied

def find_phrases(case: Case) -> Iterator[Finding]:
    """Words in a row of a description, a comment, a text or the title of a test."""
    words = lists()
    for start, end, source, run in _shared_runs(case, WORD, PROSE_RUN, case.hidden.prose, _are_words):
        content = {stem(word) for word in run if words.weight(word)}
        new = content - case.shown.words
        weight = sum(map(words.weight, new))
        sure = len(run) + len(content) >= 10 or (len(run) >= 6 and weight >= 1.5) or (len(run) >= 5 and len(new) >= 3)
        if content and (len(run) >= 8 or sure):
            yield case.finding("phrase", start, end, source, HIGH, "words of the pull request")
        elif len(content) >= 2 and len(new) >= (1 if len(run) > PROSE_RUN else 2):
            yield case.finding("phrase", start, end, source, MEDIUM, "words of the pull request")


def find_literals(case: Case) -> Iterator[Finding]:
    """Texts and comments of code that is there and was not shown: messages of errors, remarks beside a variable."""
    lines = [line for hunk in case.hidden.source_hunks for line in hunk.old
             if line not in case.shown.lines and not PROSE_FILE.search(hunk.path)]
    texts = {match[match.lastindex].strip(): TEXT for line in lines for match in TEXT.finditer(line)}
    texts |= {match[1].rstrip("*/ "): COMMENT for line in lines for match in COMMENT.finditer(line)}
    for text, kind in sorted(texts.items(), key=lambda item: item[0]):
        said = WORD.findall(text)
        weight = sum(map(lists().weight, said))
        is_rare = len(said) > PROSE_RUN if kind is COMMENT else (
            2 <= len(said) <= PROSE_RUN and all(map(str.isalpha, said)) and weight >= 1)   # longer ones are phrases
        severity = HIGH if kind is COMMENT or weight >= 1.5 else MEDIUM
        start = case.reply.text.find(text) if is_rare and text not in case.shown.text else -1
        if start >= 0:
            yield case.finding("literal", start, start + len(text), "patch", severity,
                               "a text of code that was not shown")


def find_numbers(case: Case) -> Iterator[Finding]:
    """Numbers of the changed code, where nothing of it was shown: a long one, or some together."""
    if not case.is_blind:
        return
    own = {number: hunk.source for hunk in reversed(case.hidden.hunks)
           for number in NUMBER.findall("\n".join((*hunk.removed, *hunk.added))) if _is_telling_number(number)}
    found: dict[str, tuple[int, int]] = {}
    for at, text, _ in case.reply.parts:
        for match in NUMBER.finditer(text):
            if match[0] in own and match[0] not in case.shown.numbers:
                found.setdefault(match[0], (at + match.start(), at + match.end()))
    for number, (start, end) in found.items():
        if len(found) >= 3 or len(number) >= 5:
            severity = HIGH if len(found) >= 3 else MEDIUM
            yield case.finding("literal", start, end, own[number], severity, f"of the patch: {', '.join(found)}")
            return


def _is_telling_number(number: str) -> bool:
    """Not 12, 2.5 or what anybody writes: 10000, 65536, 65535."""
    if not number.isdigit():
        return len(number) >= 4
    value = int(number[:18])
    is_round = number.rstrip("0") in ("1", "2", "5") or value & (value - 1) == 0 or value & (value + 1) == 0
    return len(number) >= 4 and not is_round


def find_code(case: Case) -> Iterator[Finding]:
    """Code of files of which nothing was shown."""
    words = lists()
    hunks = [hunk for hunk in case.hidden.hunks if hunk.path not in case.seen and (hunk.old or case.is_blind)]
    texts = {source: "\n".join(line for hunk in hunks if hunk.source == source for line in (*hunk.old, *hunk.added))
             for source in ("patch", "test_patch")}
    told: set[tuple] = set()
    for start, end, source, run in _shared_runs(case, TOKEN, CODE_RUN, texts):
        if tuple(run) in told:
            continue   # the same again says no more
        told.add(tuple(run))
        names = {fold(token) for token in run if NAME.fullmatch(token) and len(token) > 1}
        new = [words.weight(name) for name in names - case.shown.names]
        long = len(run) if source == "patch" else len(run) // 2   # tests and agents take the examples alike
        if (long >= CODE_RUN and sum(new) >= 1.5) or (long >= 3 * CODE_RUN and len(names) >= 4):
            yield case.finding("code", start, end, source, HIGH, "code that was not shown")
        elif long >= CODE_RUN and sum(new) >= 1 and len(names) >= 3:
            yield case.finding("code", start, end, source, MEDIUM, "code that was not shown")


def find_old_code(case: Case) -> Iterator[Finding]:
    """Code that is there, of files that were shown in part, and of a part that was not."""
    words = lists()
    lines = [line for hunk in case.hidden.source_hunks if hunk.path in case.seen
             for line in hunk.old if line not in case.shown.lines]
    for start, end, source, run in _shared_runs(case, TOKEN, CODE_RUN, {"patch": "\n".join(lines)}):
        names = {fold(token) for token in run if NAME.fullmatch(token) and words.weight(token)}
        if len(run) >= OLD_RUN and len(names - words.library) >= 2:
            severity = HIGH if len(names) >= 3 or len(run) >= 3 * OLD_RUN / 2 or names - case.shown.names else MEDIUM
            yield case.finding("code", start, end, source, severity, "code that is there and was not shown")


def _shared_runs(case: Case, token: re.Pattern, length: int, texts: dict[str, str],
                 only: Callable[[tuple], bool] = lambda gram: True) -> Iterator[tuple[int, int, str, list[str]]]:
    """(start, end, source, tokens) of what answer and `texts` share, `length` tokens or more, and nothing has shown."""
    own = {gram for _, text, _ in case.reply.parts for gram in _grams(token.findall(text.lower()), length)}
    found: dict[tuple, str] = {}
    for source in texts:
        for gram in _grams(token.findall(texts[source].lower()), length):
            if gram in own and gram not in found and only(gram):
                found[gram] = source
    for gram in _known_grams(case.shown.text, token, length, found):
        found.pop(gram, None)
    for at, text, _ in case.reply.parts if found else ():
        piece = [(match[0].lower(), *match.span()) for match in token.finditer(text)]
        hits = [found.get(gram) for gram in _grams([word for word, _, _ in piece], length)]
        first = None
        for i, source in enumerate([*hits, None]):
            if source is not None and first is None:
                first = i
            elif source is None and first is not None:
                run = piece[first:i + length - 1]
                yield at + run[0][1], at + run[-1][2], hits[first], [word for word, _, _ in run]
                first = None


def _grams(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(length)), strict=False)


def _known_grams(text: str, token: re.Pattern, length: int, wanted) -> list[tuple[str, ...]]:
    """Those of the wanted that a text has, too. Few are looked for one by one: cutting up a long text takes longer."""
    text = text.lower()
    if len(wanted) > 100:
        return [gram for gram in _grams(token.findall(text), length) if gram in wanted]
    squeezed = text.translate(BETWEEN[token]) if wanted else ""
    return [gram for gram in wanted if "".join(gram) in squeezed]


def _are_words(gram: tuple[str, ...]) -> bool:
    return all(word.isalnum() for word in gram) and sum(word.isalpha() for word in gram) >= 3
