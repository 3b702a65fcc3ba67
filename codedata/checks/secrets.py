"""Find secrets and personal data in texts, and mask them.

A credential is recognised by its shape (its prefix in NAMED, its context in SHAPES; private keys,
JWTs, bot tokens, passwords in URLs), or by its name if its value looks random (`api_key = "…"`,
`X-Api-Key: …`). Personal data are e-mail addresses of persons, phone numbers in international form,
and public IPv4 addresses in logs.

These are not reported:

- placeholders, also those of vendors' manuals (AWS's keys with EXAMPLE, the token on jwt.io, the
  key of Azure's emulator), and passwords made of words;
- UUIDs, and digests, commits and other random values whose name does not say secret;
- addresses of roles (info@, git@) and mailing lists, at example.com, or with noreply in them;
- IP addresses in code, which may be versions, and phone numbers at the start of a line, where the +
  may mark an added line of a diff.

A secret without a known shape or name, or one that is cut into pieces, may be missed.
benchmarks/checks.py counts the false positives of these rules. The time is linear in the text.
"""
from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add


@dataclass(frozen=True)
class Secret:
    """Locate a secret or personal datum: text[start:end] of this kind."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets of a text, sorted by place; overlapping ones are merged."""
    spans = [(start, end, order, kind) for order, find in enumerate(FINDERS) for kind, start, end in find(text)]
    out: list[tuple[int, int, int, str]] = []
    for start, end, order, kind in sorted(spans):
        if out and start < out[-1][1]:   # the first rule in FINDERS names the secret
            first_start, first_end, *named = out[-1]
            out[-1] = (first_start, max(first_end, end), *min(tuple(named), (order, kind)))
        else:
            out.append((start, end, order, kind))
    return [Secret(kind, start, end) for start, end, _, kind in out]


def mask(text: str) -> tuple[str, Counter]:
    """Return the text with [masked: KIND] for each secret, and the number of secrets by kind.

    The rest of the text stays as it is, and masking the result again changes nothing.
    """
    counts: Counter = Counter()
    while secrets := find_secrets(text):   # again, as a mask may expose part of a longer run
        parts, done = [], 0
        for secret in secrets:
            parts += [text[done:secret.start], f"[masked: {secret.kind}]"]
            done = secret.end
            counts[secret.kind] += 1
        text = "".join([*parts, text[done:]])
    return text, counts


# Each finder yields (kind, start, end) in linear time. So a pattern begins with something rare, and
# either its repeats are bounded or it matches all that it has read, and the search continues after it.
Found = Iterator[tuple[str, int, int]]


# how random values are recognised

FOLLOWERS = {   # letter pairs that make up 3 of 4 pairs in the words of code, and 1 of 6 by chance
    "a": "bcdlmnprst", "b": "l", "c": "aehklot", "d": "aei", "e": "acdeflmnprstx", "f": "io", "g": "e",
    "h": "aeo", "i": "acdeglmnost", "k": "e", "l": "aeiloy", "m": "aeiop", "n": "acdegiost", "o": "cdlmnprstuw",
    "p": "aelort", "r": "aeiorst", "s": "cehipstu", "t": "aehiorsy", "u": "lnrst", "v": "ae", "y": "p"}
COMMON_PAIRS = frozenset(one + other for one, others in FOLLOWERS.items() for other in others)
PLACEHOLDER = re.compile(   # in lower case
    r"x{4}|y{4}|0{6}|\*{3}|\.{3}|…|_{3}|-{4}|1234567|abcdef|qwerty|example|sample|placeholder|dummy|your|change.?me"
    r"|redacted|masked|insert|replace|fake|secret|passw|my.?token|hmac-|arn:|[<>{}]|\$\(|%s")
DIGIT = re.compile("[0-9]")
HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_random(value: str) -> bool:
    """Return whether a value looks generated.

    It does if it has many different characters, few letter pairs that are common in words, and no
    placeholder.
    """
    lower = value.lower()
    if len(set(value)) < min(8, len(value) // 2) or PLACEHOLDER.search(lower):
        return False
    if HEXADECIMAL.fullmatch(value):
        return True   # hexadecimal digits do not spell words
    pairs = list(map(add, lower, lower[1:]))
    common = sum(map(COMMON_PAIRS.__contains__, pairs))
    return common <= 0.4 * len(lower) and common <= 0.55 * sum(map(str.isalpha, pairs)) + 1


def n_classes(value: str) -> int:
    """Return how many of lower case, upper case, digits and others occur, from 0 to 4."""
    return (value.upper() != value) + (value.lower() != value) + bool(DIGIT.search(value)) + (not value.isalnum())


def starts_word(text: str, start: int) -> bool:
    """Return whether a word starts here. The letter of an escaped line break is not part of it."""
    before = text[max(0, start - 2):start]
    return not re.search(r"[A-Za-z0-9_]\Z", before) or before in ("\\n", "\\t", "\\r")


# credentials that are recognised by their prefix

WORD, HEX, BASE62 = r"[\w-]", r"[0-9a-f]", r"[A-Za-z0-9]"
NAMED = [   # (kind, prefixes, characters that follow, their least and greatest number)
    ("Anthropic key", "sk-ant-", WORD, 32, 200),
    ("OpenAI key", "sk-proj- sk-svcacct- sk-admin- sk-None-", WORD, 32, 250),
    ("OpenRouter key", "sk-or-v1-", HEX, 64, 64),
    ("API key", "sk-", BASE62, 32, 128),   # older keys of OpenAI, and keys of DeepSeek and others
    ("AWS access key id", "AKIA ASIA", r"[A-Z0-9]", 16, 16),
    ("Google API key", "AIza", WORD, 35, 35),
    ("Google OAuth token", "ya29.", WORD, 40, 1000),
    ("Google OAuth secret", "GOCSPX-", WORD, 28, 28),
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", BASE62, 36, 251),
    ("GitHub token", "github_pat_", r"\w", 60, 251),
    ("GitLab token", "glpat- glrt- gldt- glptt- glcbt- glsoat- glft-", r"[\w.-]", 20, 300),
    ("Slack token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xoxe.xoxp-", r"[A-Za-z0-9-]", 20, 250),
    ("Slack token", "xapp-", r"[A-Za-z0-9-]", 40, 250),
    ("Stripe key", "sk_live_ rk_live_", BASE62, 24, 250),
    ("Stripe key", "whsec_", r"[A-Za-z0-9+/]", 32, 64),
    ("Hugging Face token", "hf_", BASE62, 34, 40),
    ("npm token", "npm_", BASE62, 36, 36),
    ("PyPI token", "pypi-AgE", WORD, 50, 1000),
    ("SendGrid key", "SG.", r"[\w.-]", 60, 90),
    ("Twilio key", "SK", HEX, 32, 32),
    ("Twilio account", "AC", HEX, 32, 32),
    ("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", HEX, 64, 64),
    ("Shopify token", "shpat_ shpss_ shpca_ shppa_", r"[0-9a-fA-F]", 32, 32),
    ("Databricks token", "dapi", HEX, 32, 32),
    ("Docker Hub token", "dckr_pat_", WORD, 24, 40),
    ("Vault token", "hvs. hvb.", WORD, 24, 200),
    ("Groq key", "gsk_", BASE62, 48, 60),
    ("xAI key", "xai-", BASE62, 70, 90),
    ("Replicate token", "r8_", BASE62, 37, 37),
    ("Postman key", "PMAK-", r"[0-9a-f-]", 50, 64),
    ("Grafana token", "glsa_", r"\w", 40, 60),
    ("Chutes key", "cpk_", r"[A-Za-z0-9.]", 60, 200),
    ("age key", "AGE-SECRET-KEY-1", r"[0-9A-Z]", 58, 58),
]
_NAMED = [(kind, begins, re.compile(re.escape(begins) + f"({chars}*)", re.ASCII), least, most)
          for kind, beginnings, chars, least, most in NAMED for begins in beginnings.split()]


def _named(text: str) -> Found:
    for kind, begins, pattern, least, most in _NAMED:
        if begins in text:
            for match in pattern.finditer(text):
                if least <= len(match[1]) <= most and starts_word(text, match.start()) and is_random(match[1]):
                    yield kind, *match.span()


# credentials that are recognised by their context

SHAPES = [   # (kind, what the lower-case text must contain, pattern with the secret as group 1)
    ("Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/([\w/-]{20,})"),
    ("Discord webhook", "/api/webhooks/", r"/api/webhooks/(\d{17,20}/[\w-]{60,})"),
    ("Azure key", "accountkey=", r"AccountKey=(?!Eby8vdM0)([A-Za-z0-9+/]{86}==)"),   # not the emulator's
    ("Azure key", "sharedaccesskey=", r"SharedAccessKey=([A-Za-z0-9+/]{43}=)"),
    ("Azure signature", "sig=", r"[?&]sig=([A-Za-z0-9%+/]{43,}(?:=|%3[Dd]))"),
    ("AWS secret key", "secret", r"(?i:secret[ _-]?(?:access)?[ _-]?key(?: \[\w{0,20}\])?)\W{1,8}([A-Za-z0-9+/]{40})"
                                r"(?![A-Za-z0-9+/=])"),
    ("AWS session token", "session", r"(?i:session[ _-]?token)\W{1,8}([A-Za-z0-9+/]{100,}={0,2})"),
]
_SHAPES = [(kind, needed, re.compile(pattern, re.ASCII)) for kind, needed, pattern in SHAPES]
JWT = re.compile(r"eyJ([\w-]*)(?:\.([\w-]*))?(?:\.([\w-]*))?", re.ASCII)
JWT_EXAMPLE = "eyJzdWIiOiIxMjM0NTY3ODkw"   # {"sub":"1234567890, the payload on jwt.io
TELEGRAM = re.compile(r":AA[\w-]{33,}", re.ASCII)
DISCORD = re.compile(r"\.[\w-]{6}\.[\w-]{27,45}", re.ASCII)


def _shaped(text: str) -> Found:
    lower = text.lower()
    for kind, needed, pattern in _SHAPES:
        if needed in lower:
            for match in pattern.finditer(text):
                if is_random(match[1]):
                    yield kind, *match.span(1)


def _jwts(text: str) -> Found:
    for match in JWT.finditer(text):
        header, payload, signature = (part or "" for part in match.groups())
        if min(len(header), len(payload)) >= 10 and len(signature) >= 16 and payload.startswith("eyJ") \
                and JWT_EXAMPLE not in payload and starts_word(text, match.start()):
            yield "JWT", *match.span()


def _bot_tokens(text: str) -> Found:
    for kind, pattern, before in (("Telegram token", TELEGRAM, r"(?<!\d)\d{8,10}\Z"),
                                  ("Discord token", DISCORD, r"(?:(?<![\w-])|(?<=\\[nrt]))[MNO][\w-]{23,27}\Z")):
        for match in pattern.finditer(text):
            bot = re.search(before, text[max(0, match.start() - 30):match.start()])
            if bot and (kind == "Discord token" or len(match[0]) == 36) and is_random(bot[0] + match[0]):
                yield kind, match.start() - len(bot[0]), match.end()


# private keys

KEY_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
# Between the lines of a key may be line breaks (also escaped), quotes, and marks of diffs, comments
# and listings.
KEY_GAP = r"(?:\\[nrt]|[\s\"',>|*#\\]|[+-](?=[\s\"'A-Za-z0-9+/-])|\d{1,6}[:\t|])"
KEY_LINE = re.compile(KEY_GAP + r"{0,40}(?:[A-Za-z-]{4,20}: [^\n\\\"]{1,80}|[A-Za-z0-9+/]{40,}={0,2})")
KEY_LAST = re.compile(KEY_GAP + r"{0,40}[A-Za-z0-9+/]{1,76}={0,2}(?=" + KEY_GAP + r"{0,40}(?:=|-----END|\Z|\.\.\.|…))")
KEY_PIECE = re.compile(KEY_GAP + r"{0,40}([A-Za-z0-9+/]{8,76}={0,2})(?=[\s\"'\\]|\Z)")   # a line cut off
KEY_ENDS = re.compile(KEY_GAP + r"{0,40}(?:=[A-Za-z0-9+/]{4})?" + KEY_GAP + r"{0,40}-----END [A-Z0-9 ]{0,40}-----")
MIN_KEY_CHARS = 60   # characters; a shorter block is code or a manual that quotes the markers


def _private_keys(text: str) -> Found:
    """Yield key blocks from the BEGIN marker to the END marker, or to where they are cut off."""
    for begin in KEY_BEGINS.finditer(text):
        end = begin.end()
        for pattern in (KEY_LINE, KEY_LAST):
            while line := pattern.match(text, end):
                end = line.end()
        if (piece := KEY_PIECE.match(text, end)) and is_random(piece[1]):
            end = piece.end()
        if end - begin.end() >= MIN_KEY_CHARS and "EXAMPLE" not in text[begin.end():end]:
            last = KEY_ENDS.match(text, end)
            yield "private key", begin.start(), last.end() if last else end


# passwords in URLs

URL_PASSWORD = re.compile(r"://([^\s:/@?#\"'<>`]{0,100}):([^\s/@\"'<>`\]]{3,200})@([\w.-]{1,100})")
NO_PASSWORD = re.compile(
    r"pass|passwd|password|passwort|pwd|pw|secret|token|key|user|username|admin|root|test|guest|postgres|mysql|redis|mongo"
    r"|rabbitmq|foo|bar|baz|abc|hunter|letmein|login|demo|dev|repo|port|oauth|x-oauth-basic|x-access-token|")


def is_no_password(password: str, user: str = "") -> bool:
    """Return whether a password is a placeholder, a variable, or equal to the user."""
    plain = password.lower().strip("0123456789!_-")
    return bool(password == user or NO_PASSWORD.fullmatch(plain) or PLACEHOLDER.search(password.lower())
                or re.match(r"[\[$%#*:]|[A-Z][A-Z_]*\Z", password))


def _url_passwords(text: str) -> Found:
    for match in URL_PASSWORD.finditer(text):
        user, password, host = match.groups()
        if not is_no_password(password, user) and not is_example(host):
            yield "password in a URL", *match.span(2)


# credentials that are recognised by their name

SCHEME = r"(?:(?:bearer|token|apikey|key)[ \t]{1,4})?"
ASSIGNED = re.compile(   # matches lower-case text; the groups are the sign, the quote and the value
    r"(?:passw(?:or)?d|passphrase|pwd|_pass|secret|token|credential"
    r"|(?:api|access|auth|account|private|secret|encryption|signing|master).?key|authorization)s?(?:_?value|_?base64|_?hex)?"
    r"[\"'`\]]{0,2}[ \t]{0,8}(?::[ \t]{0,4}\w{1,12}[ \t]{0,8})?(=>|:=|[:=,])[ \t]{0,8}"
    + SCHEME + r"([brfu]?[\"'`])?" + SCHEME + r"([^\s\"'`,;<>(){}\[\]\\]{8,})")
NO_SECRET = re.compile(   # in the lower-case name; such a value is not secret
    r"hash|digest|sha\d|md5|checksum|signature|salt|public|pub_?key|regex|pattern|csrf|nonce|cursor|verification"
    r"|(?:next|page|continuation|forward|backward|change|update|lock|sync)_?-?token"
    r"|(?:url|uri|path|file|name|type|class|count|len|length|id)[\"'\]]{0,2}[ \t:=]*\Z")
BEARER = re.compile(r"[Bb]earer[ \t]{1,4}([\w.~+/-]{20,}={0,2})", re.ASCII)
BASIC = re.compile(r"[Bb]asic[ \t]{1,4}([A-Za-z0-9+/]{8,}={0,2})")
KINDS = {"authorization": "authorization header", "passphrase": "password", "passw": "password", "pwd": "password",
         "_pass": "password", "token": "token", "secret": "secret"}   # the first part in the name decides, else API key
NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _assigned(text: str) -> Found:
    lower = text.lower() if text.isascii() else text.translate(ASCII_LOWER)   # keeps the length, unlike lower()
    for match in ASSIGNED.finditer(lower):   # this is ten times as fast as IGNORECASE
        (start, end), quote = match.span(3), match[2]
        before = lower[max(0, match.start() - 40):match.start()]
        name, follows = before[len(before.rstrip(NAME_CHARS)):] + lower[match.start():start], text[end:end + 1]
        is_expression = follows != quote[-1] if quote and follows else follows in ("(", "[", "{", "<")
        if is_expression or (match[1] == "," and not quote) or text[match.start() - 1:match.start()] == ":":
            continue   # this is a call, a function argument, or a part of an ARN
        value = text[start:end] if quote else text[start:end].rstrip(".:")
        if not NO_SECRET.search(name) and is_secret_value(value, bool(quote)):
            yield next((kind for part, kind in KINDS.items() if part in name), "API key"), start, start + len(value)


def is_secret_value(value: str, quoted: bool) -> bool:
    """Return whether a value that is named as a secret is random enough to be one."""
    if not 12 <= len(value) <= 500 or not DIGIT.search(value) or value.isdigit() or UUID.fullmatch(value):
        return False
    if re.match(r"[/~@#$%]|\./|--", value) or "://" in value:
        return False   # this is a path, a variable, an option or a URL
    if not quoted and re.fullmatch(r"[A-Za-z_]\w*(?:[.:]+[A-Za-z_]\w*)+", value, re.ASCII):
        return False   # this is an attribute
    if HEXADECIMAL.fullmatch(value):
        return len(value) >= 32 and is_random(value)
    return n_classes(value) >= (2 if len(value) >= 20 else 3) and is_random(value)


def _headers(text: str) -> Found:
    for match in BEARER.finditer(text):
        if n_classes(match[1]) >= 2 and DIGIT.search(match[1]) and is_random(match[1]):
            yield "bearer token", *match.span(1)
    for match in BASIC.finditer(text):
        try:
            user, _, password = base64.b64decode(match[1], validate=True).decode().partition(":")
        except ValueError:
            continue   # this is not base64, or does not decode to text
        if password.isprintable() and not is_no_password(password, user):
            yield "basic credentials", *match.span(1)


# e-mail addresses

EMAIL = re.compile(r"(?<![\w.%@])([A-Za-z0-9][\w.%+-]{0,63})@((?:[A-Za-z0-9-]{1,63}\.){1,5}([A-Za-z]{2,18}))"
                   r"(?![\w@(-])", re.ASCII)
COUNTRIES = {   # without py, rs, sh and to, which are also file extensions or method names
    "a": "cdefgilmoqrstuwxz", "b": "abdefghijmnorstwyz", "c": "acdfghiklmnoruvwxyz", "d": "ejkmoz", "e": "cegrstu",
    "f": "ijkmor", "g": "adefghilmnpqrtuwy", "h": "kmnrtu", "i": "delmnoqrst", "j": "emop", "k": "eghimnprwyz",
    "l": "abcikrstuvy", "m": "acdeghklmnopqrstuvwxyz", "n": "acefgilopruz", "o": "m", "p": "aefghklmnrstw", "q": "a",
    "r": "eouw", "s": "abcdegiklmnortuvxyz", "t": "cdfghjklmnrtvwz", "u": "agksyz", "v": "aceginu", "w": "fs",
    "y": "et", "z": "amw"}
OTHER_TLDS = re.compile(r"com|org|net|edu|gov|mil|int|info|biz|name|pro|dev|app|tech|cloud|online|email|blog|xyz"
                        r"|systems|software|engineering|codes|science")
NO_PERSON = re.compile(   # roles (also as the end of a list's name), logins, and placeholder names
    r"(?:.*[_-])?(?:no-?reply|do-?not-?reply|admin\w*|info|support|security|contact|help|hello|team|devs?|devel|developers?"
    r"|sales|office|webmaster|postmaster|hostmaster|abuse|noc|bugs?|issues|press|privacy|legal|conduct|users?|lists?"
    r"|announce|discuss|maintainers?|owner|bot|ci|build|robot|daemon|service|feedback|community|open-?source|oss|core|sig"
    r"|help-?desk|request|project)"
    r"|git|hg|svn|ssh|root|ubuntu|ec2-user|deploy|username|your\w*|name|foo|bar|baz|qux|tests?|tester|some(?:one|body)"
    r"|nobody|alice|bob|j(?:oh|a)ne?[._]?doe|jdoe|john|jane|joe|[a-z]|aaa|abc|x+|firstname.*|first\.last|name\.surname"
    r"|my.?name|example|email|pass(?:word)?|secret", re.IGNORECASE)
EXAMPLE_HOST = re.compile(
    r"(?:.*[.@])?(?:example|test|invalid|localhost|local|internal|lan)(?:\.\w+)?"
    r"|(?:.*\.)?(?:foo|bar|baz|foobar|domain|(?:my|your)-?\w*|company|acme|email|host|hostname|server|site|website|abc|xyz"
    r"|some\w*|fake\w*|dummy|corp|testing|[a-z]\d*|aaa|bbb|one|two|three|four)\.(?:com|org|net|co|io|tld|edu)"
    r"|.*noreply.*|(?:.*\.)?lists?\..*|.*googlegroups\.com|openssh\.com|libssh\.org|mail\.gmail\.com", re.IGNORECASE)


def is_example(host: str) -> bool:
    """Return whether a host is an example, local, or without addresses of persons."""
    return host in ("127.0.0.1", "0.0.0.0") or bool(EXAMPLE_HOST.fullmatch(host))


def is_tld(name: str) -> bool:
    """Return whether a lower-case name is a known top-level domain."""
    return bool(OTHER_TLDS.fullmatch(name)) or (len(name) == 2 and name[1] in COUNTRIES.get(name[0], ""))


def _emails(text: str) -> Found:
    if "@" not in text:
        return
    for match in EMAIL.finditer(text):
        local, host, tld = match.groups()
        before = text[max(0, match.start() - 100):match.start()]
        in_url = before.endswith("/") or (before.endswith(":") and re.search(r"://[^\s/]*\Z", before))
        if is_tld(tld.lower()) and not in_url and not NO_PERSON.fullmatch(local) and not is_example(host):
            yield "e-mail address", *match.span()


# addresses of machines, and phones

OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = re.compile(rf"(?<![\w.])(?:{OCTET}\.){{3}}{OCTET}(?![\w.]|-\d)", re.ASCII)
NOBODYS_IP = re.compile(   # private, local, multicast, example and network addresses, and versions
    r"(?:0|10|127|22[4-9]|2[3-5]\d|169\.254|192\.168|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])"
    r"|198\.1[89]|192\.0\.[02]|198\.51\.100|203\.0\.113)\.|.*\.(?:0|255)\Z|(?:\d\.){3}\d\Z")
IP_BEFORE = (   # words that precede an address in a log
    "client", "remote", "peer", "source", "caller", "rhost", "x-forwarded-for", "x-real-ip", "connection from",
    "connection to", "connected from", "connected to", "logged in from", "login from",
    *(f"{word}{gap}{end}" for word in ("client", "remote", "peer", "source", "src", "caller", "ip") for gap in " _-"
      for end in ("addr", "address", "ip", "host")))
IP_AFTER = re.compile(r" (?:- |port \d)")   # follows an address in access logs and in those of sshd
RESOLVERS = ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "4.2.2.1", "4.2.2.2", "208.67.222.222")
PHONE = re.compile(r"(?<![\w)+.])\+[1-9][\d ().-]{7,22}\d(?!\w|\.\d)", re.ASCII)
COUNTRY_CODE = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-69]\d|3[578]\d|42\d|5[09]\d"
                          r"|6[7-9]\d|8[058]\d|9[679]\d")


def _ip_addresses(text: str) -> Found:
    for match in IPV4.finditer(text):
        start, end = match.span()
        before = text[max(0, start - 30):start].lower().rstrip(" \t:=[(").rstrip("\"'")
        in_log = text[start - 1:start] in ("", "\n", " ") and IP_AFTER.match(text, end)
        if (in_log or before.endswith(IP_BEFORE)) and match[0] not in RESOLVERS and not NOBODYS_IP.match(match[0]):
            yield "IP address", start, end


def _phone_numbers(text: str) -> Found:
    for match in PHONE.finditer(text):
        code, *groups = re.findall(r"\d+", match[0])
        lengths = [len(group) for group in groups]
        if (text[match.start() - 1:match.start()] in ("", "\n") or not COUNTRY_CODE.fullmatch(code) or len(groups) < 2
                or not 9 <= len(code) + sum(lengths) <= 15 or max(lengths) > 8 or re.search(r"[ .(-]{3}", match[0])
                or PLACEHOLDER.search("".join(groups))):
            continue
        if code != "1" or (lengths == [3, 3, 4] and "555" not in groups[:2] and groups[0] >= "200"):   # 555 is fake
            yield "phone number", *match.span()


FINDERS = (_private_keys, _named, _shaped, _jwts, _bot_tokens, _url_passwords, _headers, _assigned, _emails,
           _ip_addresses, _phone_numbers)
