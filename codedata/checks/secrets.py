"""Find secrets and personal data in texts, and mask them.

A credential is recognised by its shape (the rules of secrets.toml, and private keys), or by its
name if its value looks random (`api_key = "…"`, `X-Api-Key: …`). Personal data are e-mail addresses
of people, and public IPv4 addresses in logs.

These are not reported:

- placeholders, also from vendors' manuals (AWS's keys with EXAMPLE, the token on jwt.io, the
  key of Azure's emulator), and passwords made of words;
- UUIDs, and digests, commits and other random values without the name of a secret;
- addresses of roles (info@, git@) and mailing lists, at example.com, or with noreply in them;
- IP addresses in code, which may be versions, and phone numbers.

A secret without a known shape or name, or one split into pieces, may be missed. The time is linear
in the text.
"""
from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import add

from codedata.texts import toml_of

TABLES = toml_of("codedata.checks", "secrets.toml")


def _any_of(name: str, flags: int = 0, end: str = "") -> re.Pattern:
    return re.compile(f"(?:{'|'.join(TABLES['any_of'][name])}){end}", flags)


def _letter_pairs(name: str) -> frozenset[str]:
    return frozenset(
        first + second for first, letters in TABLES[name].items() for second in letters)


@dataclass(frozen=True)
class Secret:
    """Locate a secret or personal datum in text[start:end]."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets in a text, sorted by position; overlapping ones are merged."""
    spans = sorted((start, end, order, kind)
                   for order, (kind, start, end) in enumerate(_matches(text)))
    merged: list[tuple[int, int, int, str]] = []
    for start, end, *rule in spans:
        if merged and start < merged[-1][1]:
            start, last, *earlier = merged.pop()
            end, rule = max(last, end), min(earlier, rule)   # take the kind of the earlier rule
        merged.append((start, end, *rule))
    return [Secret(kind, start, end) for start, end, _, kind in merged]


def credential_in(texts: Iterable[str]) -> str:
    """Return the kind of the first credential in texts, or "". Personal data do not count: texts
    with their authors' addresses are exported unchanged."""
    personal = {rule.kind for rule in PERSONAL}
    return next((secret.kind for text in texts for secret in find_secrets(text)
                 if secret.kind not in personal), "")


def mask(text: str) -> tuple[str, Counter]:
    """Return the text with [masked: KIND] for each secret, and the number of secrets by kind.

    The rest of the text is unchanged, and masking the result again changes nothing.
    """
    counts: Counter = Counter()
    while secrets := find_secrets(text):   # again, as a mask may expose part of a longer run
        parts = []
        done = 0
        for secret in secrets:
            parts += [text[done:secret.start], f"[masked: {secret.kind}]"]
            done = secret.end
            counts[secret.kind] += 1
        text = "".join([*parts, text[done:]])
    return text, counts


Matches = Iterator[tuple[str, int, int]]   # kind, start, end


def _matches(text: str) -> Matches:
    yield from _private_keys(text)
    yield from _by_rules(text, CREDENTIALS)
    yield from _assigned(text)
    yield from _by_rules(text, PERSONAL)


# recognising random values

COMMON_PAIRS = _letter_pairs("common_pairs")
PLACEHOLDER = _any_of("placeholder")
DIGIT = re.compile("[0-9]")
HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_random(value: str) -> bool:
    """Return whether a value looks random: many different characters, few letter pairs that are
    common in words, and no placeholder."""
    lower = value.lower()
    if len(set(value)) < min(8, len(value) // 2) or PLACEHOLDER.search(lower):
        return False
    if HEXADECIMAL.fullmatch(value):
        return True   # hexadecimal digits do not spell words
    pairs = list(map(add, lower, lower[1:]))
    n_common = sum(map(COMMON_PAIRS.__contains__, pairs))
    return n_common <= 0.4 * len(lower) and n_common <= 0.55 * sum(map(str.isalpha, pairs)) + 1


def n_classes(value: str) -> int:
    """Return how many of four classes occur: lower case, upper case, digits, others."""
    is_in = [value.upper() != value, value.lower() != value, bool(DIGIT.search(value)),
             not value.isalnum()]
    return is_in.count(True)


def starts_word(match: re.Match) -> bool:
    """Return whether a match begins a word. The letter of an escaped line break or tab is not part
    of a word."""
    before = match.string[max(0, match.start() - 2):match.start()]
    return not re.search(r"[A-Za-z0-9_]\Z", before) or before in ("\\n", "\\t", "\\r")


# checks of a rule's matches

NO_PASSWORD = _any_of("no_password")
NO_PERSON = _any_of("no_person", re.IGNORECASE)
EXAMPLE_HOST = _any_of("example_host", re.IGNORECASE)
TLDS = _letter_pairs("country_tlds") | set(TABLES["other_tlds"])
NOBODYS_IP = _any_of("nobodys_ip")
BEFORE_IP = _any_of("before_ip", end=r"\Z")
AFTER_IP = re.compile(r" (?:- |port \d)")   # follows an address in access logs and sshd's logs
JWT_EXAMPLE = "eyJzdWIiOiIxMjM0NTY3ODkw"   # {"sub":"1234567890, the payload on jwt.io


def is_password(password: str, user: str) -> bool:
    """Return whether a password is real: not a placeholder, a variable or the user's name."""
    lower = password.lower()
    return not (password == user or NO_PASSWORD.fullmatch(lower.strip("0123456789!_-"))
                or PLACEHOLDER.search(lower) or re.match(r"[\[$%#*:]|[A-Z][A-Z_]*\Z", password))


def _is_url_password(match: re.Match) -> bool:
    return is_password(match["secret"], match["user"]) and not EXAMPLE_HOST.fullmatch(match["host"])


def _is_jwt(match: re.Match) -> bool:
    header, payload, signature = (part or "" for part in match.groups()[1:])
    return (min(len(header), len(payload)) >= 10 and len(signature) >= 16 and starts_word(match)
            and payload.startswith("eyJ") and JWT_EXAMPLE not in payload)


def _is_bearer(match: re.Match) -> bool:
    value = match["secret"]
    return n_classes(value) >= 2 and bool(DIGIT.search(value)) and is_random(value)


def _is_basic(match: re.Match) -> bool:
    try:
        user, _, password = base64.b64decode(match["secret"], validate=True).decode().partition(":")
    except ValueError:
        return False   # it is not base64, or does not decode to text
    return password.isprintable() and is_password(password, user)


def _is_person(match: re.Match) -> bool:
    before = match.string[max(0, match.start() - 100):match.start()]
    in_url = before.endswith("/") or (before.endswith(":") and re.search(r"://[^\s/]*\Z", before))
    return not (match["tld"].lower() not in TLDS or in_url or NO_PERSON.fullmatch(match["local"])
                or EXAMPLE_HOST.fullmatch(match["host"]))


def _is_logged_ip(match: re.Match) -> bool:
    text, start = match.string, match.start()
    before = text[max(0, start - 30):start].lower().rstrip(" \t:=[(").rstrip("\"'")
    in_log = text[start - 1:start] in ("", "\n", " ") and AFTER_IP.match(text, match.end())
    return bool(in_log or BEFORE_IP.search(before)) and not NOBODYS_IP.fullmatch(match[0])


CHECKS: dict[str, Callable[[re.Match], bool]] = {
    "random": lambda match: is_random(match["secret"]),
    "jwt": _is_jwt, "url_password": _is_url_password, "bearer": _is_bearer, "basic": _is_basic,
    "person": _is_person, "logged_ip": _is_logged_ip}


# the rules of secrets.toml

@dataclass(frozen=True)
class Rule:
    """Hold one rule. Only texts whose lower-case form contains the keyword are searched."""

    kind: str
    keyword: str
    pattern: re.Pattern   # its group `secret` is masked
    check: Callable[[re.Match], bool]


def _prefix_rules(kind: str, prefixes: str, chars: str, length: list[int]) -> Iterator[Rule]:
    min_chars, max_chars = length

    def check(match: re.Match) -> bool:
        rest = match["rest"]
        return min_chars <= len(rest) <= max_chars and starts_word(match) and is_random(rest)

    for prefix in prefixes.split():
        pattern = f"(?P<secret>{re.escape(prefix)}(?P<rest>{chars}*))"
        yield Rule(kind, prefix.lower(), re.compile(pattern, re.ASCII), check)


def _pattern_rule(kind: str, keyword: str, pattern: str, check: str = "random") -> Rule:
    return Rule(kind, keyword, re.compile(pattern), CHECKS[check])


CREDENTIALS = [rule for table in TABLES["prefixed"] for rule in _prefix_rules(**table)]
CREDENTIALS += [_pattern_rule(**table) for table in TABLES["credential"]]
PERSONAL = [_pattern_rule(**table) for table in TABLES["personal"]]


def _by_rules(text: str, rules: Iterable[Rule]) -> Matches:
    lower = text.lower()
    for rule in rules:
        if rule.keyword in lower:
            for match in filter(rule.check, rule.pattern.finditer(text)):
                yield rule.kind, *match.span("secret")


# private keys

KEY_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
# matches separators of a key's lines: line breaks (also escaped), quotes, and marks of diffs,
# comments and listings
KEY_GAP = r"(?:\\[nrt]|[\s\"',>|*#\\]|[+-](?=[\s\"'A-Za-z0-9+/-])|\d{1,6}[:\t|]){0,40}"
KEY_LINE = re.compile(KEY_GAP + r"(?:[A-Za-z-]{4,20}: [^\n\\\"]{1,80}|[A-Za-z0-9+/]{40,}={0,2})")
KEY_LAST_LINE = re.compile(
    KEY_GAP + rf"[A-Za-z0-9+/]{{1,76}}={{0,2}}(?={KEY_GAP}(?:=|-----END|\Z|\.\.\.|…))")
KEY_CUT_LINE = re.compile(KEY_GAP + r"([A-Za-z0-9+/]{8,76}={0,2})(?=[\s\"'\\]|\Z)")
KEY_ENDS = re.compile(
    KEY_GAP + rf"(?:=[A-Za-z0-9+/]{{4}})?{KEY_GAP}-----END [A-Z0-9 ]{{0,40}}-----")
MIN_KEY_CHARS = 60   # a shorter block is code or a manual that quotes the markers


def _private_keys(text: str) -> Matches:
    """Yield key blocks from the BEGIN marker to the END marker, or to the end of a cut block."""
    for begin in KEY_BEGINS.finditer(text):
        end = begin.end()
        for pattern in (KEY_LINE, KEY_LAST_LINE):
            while line := pattern.match(text, end):
                end = line.end()
        cut = KEY_CUT_LINE.match(text, end)
        if cut and is_random(cut[1]):
            end = cut.end()
        if end - begin.end() >= MIN_KEY_CHARS and "EXAMPLE" not in text[begin.end():end]:
            last = KEY_ENDS.match(text, end)
            yield "private key", begin.start(), last.end() if last else end


# credentials recognised by their name

SCHEME = r"(?:(?:bearer|token|apikey|key)[ \t]{1,4})?"
ASSIGNED = _any_of("secret_name", end=(
    r"s?(?:_?value|_?base64|_?hex)?[\"'`\]]{0,2}[ \t]{0,8}(?::[ \t]{0,4}\w{1,12}[ \t]{0,8})?"
    r"(?P<sign>=>|:=|[:=,])[ \t]{0,8}" + SCHEME + r"(?P<quote>[brfu]?[\"'`])?" + SCHEME
    + r"(?P<value>[^\s\"'`,;<>(){}\[\]\\]{8,})"))   # matches lower-case text
HARMLESS_NAME = _any_of("harmless_name")
NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _assigned(text: str) -> Matches:
    # lower() may change the length of text that is not ASCII. Matching lower-case text is ten
    # times as fast as IGNORECASE.
    lower = text.lower() if text.isascii() else text.translate(ASCII_LOWER)
    for match in ASSIGNED.finditer(lower):
        start, end = match.span("value")
        if _is_code(match, text[end:end + 1]):
            continue
        before = lower[max(0, match.start() - 40):match.start()]
        name = before[len(before.rstrip(NAME_CHARS)):] + lower[match.start():start]
        quoted = bool(match["quote"])
        value = text[start:end] if quoted else text[start:end].rstrip(".:")
        if not HARMLESS_NAME.search(name) and is_secret_value(value, quoted):
            kinds = [kind for part, kind in TABLES["kind_of_name"].items() if part in name]
            yield kinds[0] if kinds else "API key", start, start + len(value)


def _is_code(match: re.Match, follows: str) -> bool:
    """Return whether the value is an expression or argument, or the name is part of an ARN."""
    if match.string[match.start() - 1:match.start()] == ":":
        return True
    if match["quote"]:
        return follows not in ("", match["quote"][-1])
    return match["sign"] == "," or follows in ("(", "[", "{", "<")


def is_secret_value(value: str, quoted: bool) -> bool:
    """Return whether the value of a name such as `api_key` looks random enough to be a secret."""
    if not 12 <= len(value) <= 500 or value.isdigit() or UUID.fullmatch(value):
        return False
    if not DIGIT.search(value):
        return False
    if re.match(r"[/~@#$%]|\./|--", value) or "://" in value:
        return False   # this is a path, a variable, an option or a URL
    if not quoted and re.fullmatch(r"[A-Za-z_]\w*(?:[.:]+[A-Za-z_]\w*)+", value, re.ASCII):
        return False   # this is an attribute
    if HEXADECIMAL.fullmatch(value):
        return len(value) >= 32 and is_random(value)
    min_classes = 2 if len(value) >= 20 else 3
    return n_classes(value) >= min_classes and is_random(value)
