"""Make the credentials in realistic surroundings and near-copies of texts that are planted.

All of it is drawn at run time and put together from parts: the secret scanners of code hosts would
stop a file with a whole key in it, even an invented one.
"""
from __future__ import annotations

import base64
import json
import random
import string
import textwrap
from collections.abc import Iterator

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
HEX = "0123456789abcdef"
LETTERS = LOWER + UPPER
BASE62, BASE32 = LETTERS + DIGITS, UPPER + "234567"
BASE64, URL64 = BASE62 + "+/", BASE62 + "-_"
STRONG = BASE62 + "!%^*?-_=+"

SURROUNDINGS = {   # where a credential is met; {} is its place
    "an .env file": "DEBUG=0\nSERVICE_VALUE={}\nPORT=8080\n",
    "Python": 'client = Client("{}", timeout=30)\n',
    "JSON": '{"name": "ci", "value": "{}", "retries": 3}',
    "YAML": "steps:\n  - run: deploy\n    env:\n      VALUE: {}\n      REGION: eu\n",
    "a shell": "export VALUE='{}' && make deploy",
    "a command line": "curl -s -u ci:{} https://build.somewhere-else.dev/jobs | head",
    "a diff": "@@ -3,2 +3,2 @@\n-value = None\n+value = \"{}\"\n",
    "a diff's own line": "@@ -1 +1 @@\n-old\n+{}\n",
    "a log": "2026-03-04 10:11:12 INFO worker[211]: signed in with {}, 3 jobs",
    "markdown": "Use `{}` for the staging system.",
    "JSON in JSON": json.dumps({"output": 'config:\n{}\nend\t"x"'}),
    "the end of a text": "the value was\n{}",
}


HARD = [   # what patterns can trip over: long texts of nothing else
    "a", " ", '"', "\n", "1", "-", "@", "a@", "a.", "a+", "é", "\\n", "sk-", "gh" + "p_", "eyJ",
    "eyJabcdefgh.", "://a:",
    ":AA", "+1 2 ", "1.2.3.", "&sig=", "Bearer ", "password", "password=", "secret        =",
    "secret_key ",
    "-----BEGIN " + "PRIVATE KEY-----", "-----BEGIN " + "PRIVATE KEY-----" + "\n" * 5000,
    "x@" + "a." * 99,
    "password" + "=a1B2c3D4e5F6g7H8 ", "mira.holub@posteo.de ", "client: 93.1.2.3 "
]


class Draw(random.Random):
    """Draw from a seed."""

    def of(self, alphabet: str, n: int) -> str:
        return "".join(self.choices(alphabet, k=n))


def every(draw: Draw) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield (shape, kind, parts that must be masked, text) for each shape in each place."""
    for shape, (kind, credential) in named(draw).items():
        for place, text in SURROUNDINGS.items():
            yield f"{shape}, in {place}", kind, [credential], text.replace("{}", credential)
    for shape, (kind, what, text) in (placed(draw) | personal(draw)).items():
        yield shape, kind, [what], text
    for shape, (lines, text) in private_keys(draw).items():
        yield f"private key, {shape}", "private key", lines, text


def named(draw: Draw) -> dict[str, tuple[str, str]]:
    """Return {shape: (kind, credential)} for credentials that are known by their own shape."""
    return {
        "AWS long-term": ("AWS access key id", "AKIA" + draw.of(BASE32, 16)),
        "AWS temporary": ("AWS access key id", "ASIA" + draw.of(BASE32, 16)),
        "Google API": ("Google API key", "AIza" + draw.of(URL64, 35)),
        "Google OAuth": ("Google OAuth token", "ya29" + ".a0" + draw.of(URL64, 120)),
        "Google OAuth client": ("Google OAuth secret", "GOCSPX" + "-" + draw.of(URL64, 28)),
        **{f"GitHub {letter}": ("GitHub token", f"gh{letter}" + "_" + draw.of(BASE62, 36))
           for letter in "pousr"},
        "GitHub fine-grained": ("GitHub token",
                                "github" + "_pat_" + draw.of(BASE62,
                                                             22) + "_" + draw.of(BASE62, 59)),
        "GitLab": ("GitLab token", "glpat" + "-" + draw.of(URL64, 20)),
        "Slack bot": ("Slack token",
                      "xoxb" + "-" + draw.of(DIGITS, 12) + "-" + draw.of(DIGITS, 12) + "-"
                      + draw.of(BASE62, 24)),
        "Slack user": ("Slack token",
                       "xoxp" + "-" + draw.of(DIGITS, 12) + "-" + draw.of(BASE62, 24)),
        "Stripe": ("Stripe key", "sk" + "_live_" + draw.of(BASE62, 24)),
        "Stripe restricted": ("Stripe key", "rk" + "_live_" + draw.of(BASE62, 99)),
        "OpenAI": ("API key",
                   "sk" + "-" + draw.of(BASE62, 20) + "T3Blbk" + "FJ" + draw.of(BASE62, 20)),
        "OpenAI project": ("OpenAI key", "sk" + "-proj-" + draw.of(URL64, 120)),
        "DeepSeek": ("API key", "sk" + "-" + draw.of(HEX, 32)),
        "Anthropic": ("Anthropic key", "sk" + "-ant-api03-" + draw.of(URL64, 93) + "AA"),
        "OpenRouter": ("OpenRouter key", "sk" + "-or-v1-" + draw.of(HEX, 64)),
        "Hugging Face": ("Hugging Face token", "hf" + "_" + draw.of(LETTERS, 34)),
        "npm": ("npm token", "npm" + "_" + draw.of(BASE62, 36)),
        "PyPI": ("PyPI token", "pypi" + "-AgEIcHlwaS5vcmc" + draw.of(URL64, 150)),
        "JWT": ("JWT", jwt(draw)),
        "Telegram": ("Telegram token", draw.of("123456789", 10) + ":" + "AA" + draw.of(URL64, 33)),
        "SendGrid": ("SendGrid key", "SG" + "." + draw.of(URL64, 22) + "." + draw.of(URL64, 43)),
        "Twilio": ("Twilio key", "SK" + draw.of(HEX, 32)),
        "Twilio account": ("Twilio account", "AC" + draw.of(HEX, 32)),
        "Discord bot": ("Discord token",
                        f"M{draw.of(BASE62, 25)}.{draw.of(URL64, 6)}.{draw.of(URL64, 38)}"),
        "DigitalOcean": ("DigitalOcean token", "dop" + "_v1_" + draw.of(HEX, 64)),
        "Shopify": ("Shopify token", "shpat" + "_" + draw.of(HEX, 32)),
        "Databricks": ("Databricks token", "dapi" + draw.of(HEX, 32)),
        "Docker Hub": ("Docker Hub token", "dckr" + "_pat_" + draw.of(URL64, 27)),
        "Vault": ("Vault token", "hvs" + "." + draw.of(URL64, 90)),
        "Groq": ("Groq key", "gsk" + "_" + draw.of(BASE62, 52)),
        "Replicate": ("Replicate token", "r8" + "_" + draw.of(BASE62, 37)),
    }


def jwt(draw: Draw) -> str:
    claims = {"alg": "HS256", "typ": "JWT"}, {"sub": draw.of(LOWER, 9),
                                              "exp": draw.randrange(10**9, 2 * 10**9)}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
             for part in claims]
    return ".".join([*parts, draw.of(URL64, 43)])


def filled(shapes: dict[str, tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
    """Return {shape: (kind, secret, text)} with the secret in place of the first @ of a text."""
    return {shape: (kind, secret, text.replace("@", secret, 1))
            for shape, (kind, secret, text) in shapes.items()}


def placed(draw: Draw) -> dict[str, tuple[str, str, str]]:
    """Return {shape: (kind, credential, text)} for credentials that are known by their context."""
    basic = base64.b64encode(f"deploy:{draw.of(STRONG, 14)}".encode()).decode()
    return filled({**of_vendors(draw), **of_programs(draw, basic)})


def of_vendors(draw: Draw) -> dict[str, tuple[str, str, str]]:
    """Return {shape: (kind, credential, text with @ in its place)}: those of clouds and chats."""
    return {
        "AWS secret, environment": ("AWS secret key", draw.of(BASE64, 40),
                                    "AWS_SECRET_ACCESS_KEY=@\nAWS_REGION=x"),
        "AWS secret, settings": ("AWS secret key", draw.of(BASE64, 40),
                                 "aws_secret_access_key = @\nregion = eu"),
        "AWS secret, JSON": ("AWS secret key", draw.of(BASE64, 40),
                             '{"SecretAccessKey": "@", "Version": 1}'),
        "AWS secret, prompt": ("AWS secret key", draw.of(BASE64, 40),
                               "AWS Secret Access Key [None]: @\n"),
        "AWS session": ("AWS session token", draw.of(BASE64, 300), "export AWS_SESSION_TOKEN=@\n"),
        "Azure storage": ("Azure key", draw.of(BASE64, 86) + "==",
                          "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=@;"
                          "EndpointSuffix=core.windows.net"),
        "Azure bus": ("Azure key", draw.of(BASE64, 43) + "=",
                      "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=Root;"
                      "SharedAccessKey=@"),
        "Azure signature": ("Azure signature", draw.of(BASE62, 43) + "%3D",
                            "https://a.blob.core.windows.net/c?sv=1&sig=@"),
        "Slack webhook": ("Slack webhook",
                          f"T{draw.of(UPPER, 8)}/B{draw.of(UPPER, 8)}/{draw.of(BASE62, 24)}",
                          'post("https://hooks.slack.com/services/@", data)'),
        "Discord webhook": ("Discord webhook", f"{draw.of('123456789', 18)}/{draw.of(URL64, 68)}",
                            "https://discord.com/api/webhooks/@"),
    }


def of_programs(draw: Draw, basic: str) -> dict[str, tuple[str, str, str]]:
    """Return the same for headers, settings and command lines; `basic` is the one of a header."""
    return {
        "database URL": ("password in a URL", draw.of(STRONG, 16),
                         "DATABASE_URL=postgres://app:@@db-7.somewhere-else.dev/app"),
        "git URL": ("password in a URL", draw.of(BASE62, 20),
                    "git clone https://ci:@@git.somewhere-else.dev/x.git"),
        "x-api-key": ("API key", draw.of(BASE62, 40),
                      "curl -H 'x-api-key: @' https://api.somewhere-else.dev"),
        "X-Api-Key, Python": ("API key", draw.of(HEX, 32),
                              'headers = {"X-Api-Key": "@", "Accept": "*/*"}'),
        "bearer": ("bearer token", draw.of(URL64, 48),
                   'curl -H "Authorization: Bearer @" localhost:8000'),
        "bearer, Python": ("bearer token", draw.of(BASE62, 40), '{"Authorization": "Bearer @"}'),
        "basic": ("basic credentials", basic, "> Authorization: Basic @\n> Accept: */*"),
        "token header": ("token", draw.of(HEX, 40), "PRIVATE-TOKEN: @"),
        "api_key": ("API key", draw.of(BASE62, 32), 'api_key = "@"\n'),
        "apiKey, JavaScript": ("API key", draw.of(LOWER + DIGITS, 32),
                               "const client = new Client({ apiKey: '@' });"),
        "API_KEY, .env": ("API key", draw.of(BASE62, 36), "HOST=x\nWEATHER_API_KEY=@\nPORT=1"),
        "client secret": ("secret", draw.of(URL64, 36), '  client_secret: "@"'),
        "secret key": ("secret", draw.of(LOWER + DIGITS + "!#%^&*-_=+", 50), "SECRET_KEY = '@'"),
        "typed": ("token", draw.of(BASE62, 32), 'access_token: str = "@"'),
        "password, Python": ("password", draw.of(STRONG, 20), 'connect(user="app", password="@")'),
        "password, YAML": ("password", draw.of(BASE62, 24), "db:\n  user: app\n  password: @\n"),
        "password, command": ("password", draw.of(BASE62, 20),
                              "mysql --user app --password=@ shop"),
        "password, environment": ("password", draw.of(BASE62, 20),
                                  "DB_PASS=@ python manage.py migrate"),
        "setting, Go": ("token", draw.of(BASE62, 40), 'token := "@"'),
    }


def private_keys(draw: Draw) -> dict[str, tuple[list[str], str]]:
    """Return {shape: (lines of the key, all of which must be masked, text)}."""
    out = {}
    for name, length in (("RSA ", 1600), ("EC ", 164), ("OPENSSH ", 400), ("", 1620),
                         ("ENCRYPTED ", 1700)):
        block = key_block(draw, name + "PRIVATE KEY", length)
        first, *lines, _ = numbered = block.split("\n")
        label, part = name.strip() or "PKCS8", [*lines[:2], lines[2][:20]]
        out |= {
            f"{label}, a file": (lines, f"$ cat key.pem\n{block}\n$ ls\nkey.pem"),
            f"{label}, in a text": (lines, f"KEY = {json.dumps(block)}\nprint(KEY)"),
            f"{label}, in parts": (lines,
                                   f"KEY = ({' '.join(json.dumps(line) for line in numbered)})"),
            f"{label}, in a line": (lines,
                                    f"KEY='{block.replace(chr(10), ' ')}' "
                                    f"PEM='{block.replace(chr(10), '')}'"),
            f"{label}, cut off": (part, "\n".join([first, *part])),
            f"{label}, cut off by head": (part,
                                          "\n".join([first, *part]) + "\nmore lines follow\n"),
            f"{label}, left out": (part, "\n".join([first, *part]) + "...\n(and more)"),
            f"{label}, a diff": (lines,
                                 "@@ -0,0 +1 @@\n" + "".join(f"+{line}\n" for line in numbered)),
            f"{label}, a listing": (lines,
                                    "".join(f"{n:6}\t{line}\n" for n,
                                            line in enumerate(numbered, 1))),
            f"{label}, indented": (lines,
                                   "key: |\n" + textwrap.indent(block, "    ") + "\nother: 1"),
        }
    block = key_block(draw, "RSA PRIVATE KEY", 1600)
    headers = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{draw.of(HEX, 32).upper()}\n\n"
    out["with headers"] = block.split("\n")[1:-1], block.replace("\n", "\n" + headers, 1)
    pgp = key_block(draw, "PGP PRIVATE KEY BLOCK", 1600).split("\n")
    out["PGP"] = pgp[1:-1], "\n".join([pgp[0], "", *pgp[1:-1], "=" + draw.of(BASE64, 4), pgp[-1]])
    return out


def key_block(draw: Draw, label: str, length: int) -> str:
    begin, end = (f"-----{word} {label}-----" for word in ("BEGIN", "END"))
    return "\n".join([begin, *textwrap.wrap(draw.of(BASE64, length), 64), end])


def personal(draw: Draw) -> dict[str, tuple[str, str, str]]:
    """Return {shape: (kind, datum, text)}."""
    first = draw.choice(("mira", "tomas", "ines"))
    last = draw.choice(("holub", "sandqvist", "okoye"))
    mail = (f"{first}.{last}@"
            f"{draw.choice(('gmail.com', 'posteo.de', 'physics.ox.ac.uk', 'fastmail.fm'))}")
    address = (f"{draw.randrange(80, 95)}.{draw.randrange(20, 200)}.{draw.randrange(255)}."
               f"{draw.randrange(1, 255)}")
    return filled({
        "git log": ("e-mail address", mail,
                    f"commit {draw.of(HEX, 40)}\nAuthor: {first} {last} <@>\nDate: Mon"),
        "author": ("e-mail address", mail, f'__author__ = "{first} (@)"'),
        "setup": ("e-mail address", mail, "setup(name='x', author_email='@', version='1')"),
        "signed off": ("e-mail address", mail, f"+Signed-off-by: {first} {last} <@>"),
        "mailto": ("e-mail address", mail, '<a href="mailto:@">write</a>'),
        "access log": ("IP address", address,
                       '@ - - [10/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" 200 2326'),
        "sshd": ("IP address", address,
                 "sshd[12]: Accepted publickey for app from @ port 4022 ssh2"),
        "nginx": ("IP address", address, "[error] 7#0: *1 open() failed, client: @, server: _"),
        "header": ("IP address", address, "X-Forwarded-For: @"),
    })


HARMLESS = {   # the texts that are always the same
    "placeholder": "OPENAI_API_KEY=sk" + "-" + "x" * 40,
    "placeholder, dots": 'api_key = "sk' + '-..."',
    "your key": 'client = Client(api_key="YOUR_API_KEY_GOES_HERE_1234")',
    "a manual's AWS key": "aws_access_key_id = AKIA" + "IOSFODNN7" + "EXAMPLE",
    "a manual's AWS secret": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCY"
    + "EXAMPLEKEY",
    "environment": 'token = os.environ["GITHUB_TOKEN_2"]\npassword = get_password(user_id_3)',
    "variables": "curl -H \"Authorization: Bearer $API_TOKEN_V2\" -H 'x-api-key: "
                 "${X_API_KEY_2}'",
    "format": 'headers = {"Authorization": f"Bearer {self.access_token_2}"}',
    "marks of a key": f'if text.startswith("-----{"BEGIN"} RSA PRIVATE KEY-----"):\n'
                      '    return parse(text)',
    "tokens of a parser": 'token = Token("NAME", "snake_case_identifier_2")\n'
                          'pad_token = "<pad_token_12345>"',
    "words": 'password = "correct-horse-battery-staple"\n'
             'secret = "this_is_not_a_secret_at_all_1"',
    "decorators": "@pytest.mark.slow\n@app.route('/x')\ny = q@k.T\nz = x@w.transpose(0, 1)",
    "packages": "npm i react@18.2.0 @types/node@20.1.0 uses: actions/checkout@v4 logo@2x.png",
    "logins": "git clone git@github.com:org/x.git && ssh root@db1.example.com && "
              "ssh://hg@hg.somewhere.org/x",
    "addresses": "noreply@github.com 1+x@users.noreply.github.com jane@example.org "
                 "info@python.org foo@bar.com",
    "lists": "python-dev@python.org, help@lists.debian.org, x@googlegroups.com, "
             "aes128-gcm@openssh.com",
    "URL without a secret": "postgres://postgres:postgres@localhost/x "
                            "http://user:pass@proxy:3128 http://h:80/a@b",
    "versions": "from 4.18.0.193 to 5.4.0.1021, OID 1.3.6.1.4.1.311, pip 23.2.1.0 - -",
    "private addresses": "client: 192.168.1.20, from 10.0.0.7 port 22, 127.0.0.1 - - [x], "
                         "203.0.113.9 - - [x]",
    "phone numbers": 'call +49 30 9018 2047 at night, "phone": "+1 (415) 723-4416", tel. +33 '
                     '1 42 68 53 00',
    "numbers": "x = a +1 200 300\n+49 30 9018 2047\n+1 (555) 010-9999 1e+10 +1234567890",
}


def harmless(draw: Draw) -> dict[str, str]:
    """Return {shape: text} for texts in which nothing is to be masked."""
    sha, digest, uuid = draw.of(HEX, 40), draw.of(HEX, 64), "-".join(draw.of(HEX, n)
                                                                     for n in (8, 4, 4, 4, 12))
    return HARMLESS | {
        "git commit": f"commit {sha}\n"
                      f"Merge: {sha[:7]} {digest[:7]}\nindex {sha[:7]}..{digest[:7]} 100644",
        "checkout": f"git checkout {sha}",
        "uuid": f'request_id = "{uuid}"\ntoken = "{uuid}"',
        "sha256": f'"sha256": "{digest}"\nsha256sum: {digest}  file.tar.gz',
        "password hash": f'password_hash = "{digest}"\ntoken_digest = "{digest}"',
        "lock file": f'"integrity": "sha512-{draw.of(BASE64, 86)}==",\n    --hash=sha256:{digest}',
        "base64 data": f'PNG = b"{draw.of(BASE64, 200)}"\n'
                       f"data:image/png;base64,{draw.of(BASE64, 200)}",
        "ssh public key": f"ssh-ed25519 {draw.of(BASE64, 68)} host",
        "certificate": key_block(draw, "CERTIFICATE",
                                 800) + "\n" + key_block(draw, "PUBLIC KEY", 200),
        "page tokens": f'"NextToken": "{draw.of(BASE64, 60)}=="',
    }


def edited(draw: Draw, text: str, share: float) -> str:
    """Return the text with about that share of its words changed, lost or doubled."""
    words = text.split(" ")
    for at in draw.sample(range(len(words)), round(share * len(words))):
        words[at] = draw.choice((draw.of(LOWER, 6), "", f"{words[at]} {words[at]}"))
    return " ".join(words)
