"""What an answer says before it can know: causes and fixes, words and code of the pull request, that there is one.

There is no list of causes. What counts are the words of a claim that the conversation has not used and the pull request
has: the more the rarer they are, the more the surer the claim is, and next to nothing where the code was shown.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from codedata.checks.leak_rules import HIGH, MEDIUM, Case, Finding
from codedata.checks.leak_text import NAME, NAME_PARTS, fold, lists, stem, word_stems

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

CHANGE = r"(?:fix|patch|change|solution|commit|diff|PR|implementation|answer|code)"
KNOWN = r"(?:upstream|merged|accepted|official|eventual|maintainers?['’]?s?|gold|golden|hidden|reference|landed)"
GIVEAWAYS = [(severity, re.compile(pattern, re.IGNORECASE)) for severity, pattern in (
    (HIGH, r"\b(?:the|this|that|its|hidden|merged|a later|an upstream) (?:PR|pull request|merge request)\b"),
    (HIGH, r"\b(?:PR|pull request)(?:['’]s)? (?:description|diff|tests?|patch|changes?)\b"),
    (HIGH, rf"\b{KNOWN} (?:fix|patch|change|solution|commit|diff|PR)(?:s|es)?\b"),
    (HIGH, r"\bhidden (?:tests?|information|knowledge|notes?|instructions?)\b|\bground[ -]truth\b|\bprivate note\b"),
    (HIGH, r"\b(?:FAIL_TO_PASS|PASS_TO_PASS|SWE-?bench|test_patch|gold_patch)\b|\btest patch\b"),
    (HIGH, rf"\b{CHANGE} (?:that )?(?:was|got|has been|will be) (?:later )?(?:merged|accepted|landed|released)\b"),
    (HIGH, r"\b(?:fixed|solved|done|landed|merged|changed) (?:it |this |that )?upstream\b"),
    (HIGH, r"\bmaintainers? (?:fixed|solved|chose|did|decided|changed|added|made|settled|ended)\b"),
    (HIGH, r"\bhow (?:it|this) (?:was|got|gets|will be) (?:finally |eventually |really )?(?:fixed|solved)\b"),
    (HIGH, r"\btests? (?:that|which) (?:will be|are going to be|come with|were) add(?:ed|s)\b"),
    (HIGH, r"\bI (?:already )?know (?:how (?:it|this) ends|the (?:answer|solution|fix))\b"),
    (HIGH, r"\b(?:without revealing|(?:not|n't) supposed to (?:know|say|mention|reveal)|as if I didn't know)\b"),
    (MEDIUM, rf"\b(?:as|like) (?:in )?the (?:real|actual|final|eventual|new|fixed) (?:{CHANGE}|version)\b"),
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
        sure = len(run) + len(content) >= 10 or (len(run) >= 6 and len(new) >= 2) or (len(run) >= 5 and len(new) >= 3)
        if content and (len(run) >= 8 or sure):
            yield case.finding("phrase", start, end, source, HIGH, "words of the pull request")
        elif len(content) >= 2 and len(new) >= (1 if len(run) > PROSE_RUN else 2):
            yield case.finding("phrase", start, end, source, MEDIUM, "words of the pull request")


def find_code(case: Case) -> Iterator[Finding]:
    """Code of files of which nothing was shown."""
    words = lists()
    hunks = [hunk for hunk in case.hidden.hunks if hunk.path not in case.seen and (hunk.old or case.is_blind)]
    texts = {source: "\n".join(line for hunk in hunks if hunk.source == source for line in (*hunk.old, *hunk.added))
             for source in ("patch", "test_patch")}
    for start, end, source, run in _shared_runs(case, TOKEN, CODE_RUN, texts):
        names = {fold(token) for token in run if NAME.fullmatch(token) and len(token) > 1}
        new = [words.weight(name) for name in names - case.shown.names]
        long = len(run) if source == "patch" else len(run) // 2   # tests and agents take the examples alike
        if (long >= CODE_RUN and sum(new) >= 1.5) or (long >= 3 * CODE_RUN and len(names) >= 4):
            yield case.finding("code", start, end, source, HIGH, "code that was not shown")
        elif long >= CODE_RUN and sum(new) >= 1 and len(names) >= 3:
            yield case.finding("code", start, end, source, MEDIUM, "code that was not shown")


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
