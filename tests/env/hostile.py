"""Make repositories whose manifests harm their reader: links, FIFOs, noise, endless texts.

`make(place, seed)` writes one repository for each way to make every manifest something other than a
file, one for each way to fill it with rubbish, and as many as TEXTS has for one file. Files in
`place/outside` must be in nothing that comes of them: SECRET is a requirement's name there, so that
a reader that went out would take it.
"""

import os
import random
from pathlib import Path

SECRET = "hostilesecret"
NAMES = """pyproject.toml setup.py setup.cfg tox.ini tox.toml PKG-INFO pytest.ini requirements.txt
    requirements-test.txt package.json Makefile Dockerfile .github/workflows/ci.yml .travis.yml
    .circleci/config.yml package-lock.json go.mod Cargo.toml Cargo.lock pom.xml build.gradle
    gradlew CMakeLists.txt"""
FILES = NAMES.split()
READ = FILES[:15]  # for the other files only their existence matters
POETRY = '[tool.poetry]\nname = "a"\n'

LINKS = {  # name → its target; {outside} is the folder next to the repository
    "device": "/dev/zero",
    "secret": "{outside}/secret.txt",
    "relative": "../../outside/secret.txt",
    "folder": "{outside}",
    "environ": "/proc/self/environ",
    "terminal": "/dev/tty",
    "git": ".git/config",
    "self": "{own}",
}
RUBBISH = {  # name → bytes of every manifest
    "nul": b"[project]\0\nname = '\0'\n",
    "utf16": '[project]\nname = "a"\n'.encode("utf-16"),
    "bom": b"\xef\xbb\xbf{",
    "halves": rb'{"name": "\ud800", "scripts": {"test": "mocha \ud800"}}',
    "deep": b"[" * 40_000,
    "braces": b'{"a":' * 100_000,
    "calls": b"a = " + b"-" * 50_000 + b"1\n",
    "parentheses": b"x = " + b"(" * 100_000,
    "large": b"requests\n" * 120_000,
    "blanks": b" " * 200_000,
    "commas": b"[testenv]\ndeps = " + b"," * 200_000,
    "escapes": b'[project]\nname = "\x1b]52;c;aGk=\x07"\nversion = "1\xe2\x80\xae"\n',
    "one_line": b"a[" * 100_000,
}
TEXTS = {
    "pyproject.toml": [
        "project = []\ntool = 1\nbuild-system = 'x'\n",
        '[project]\nname = 3\nversion = ["1"]\noptional-dependencies = 7\n',
        '[project]\nname = "a\\nrm -rf /tmp/x"\nversion = "1\\ntouch /tmp/owned"\n',
        '[project]\nname="a"\n[dependency-groups]\n'
        'test = [{include-group = "more"}, "x"]\nmore = [{include-group = "test"}]\n',
        "[dependency-groups]\ng0 = ['x']\n"
        + "".join(
            f"g{n} = [{{include-group = 'g{n - 1}'}}, {{include-group = 'g{n - 1}'}}]\n"
            for n in range(1, 60)
        ),
        '[project]\nname = "a"\n[project.optional-dependencies]\n'
        + "".join(f'test{n} = ["a[test{n + 1}]"]\n' for n in range(3000)),
        '[project]\nname="a"\n'
        'optional-dependencies.test = ["b @ file:///etc/passwd", "-r ../x", "c\\n-r /x", '
        '"d\\u0000"]\n',
        POETRY
        + "extras = [1]\ngroup = {test = 3}\n[tool.poetry.dependencies]\n"
          "b = {version = {}, extras = 5}\n",
        POETRY + '[tool.poetry.dev-dependencies]\nb = "^' + "9" * 5000 + '"\nc = ["^1", 2, {}]\n',
        "[tool]\nflit = 1\nhatch = {envs = 2}\ntox = {env_run_base = []}\n"
        "pdm = []\nuv = {dev-dependencies = 1}\n",
        '[tool.pytest.ini_options]\nenv = ["A=1; touch /tmp/owned", "B;touch /tmp/x #=1"]\n'
        'addopts = 5\ntestpaths = {}\n',
        "a." * 5_000 + "a = 1\n",
        "x = " + "9" * 10_000 + "\n",
        '[build-system]\nrequires = ["-r/etc/passwd", 5, "meson-python"]\n',
    ],
    "setup.py": [
        "x0 = 'aaaaaaaa'\n"
        + "".join(f"x{n} = x{n - 1} + x{n - 1}\n" for n in range(1, 80))
        + "setup(name=x79)\n",
        "x0 = ['a']\n"
        + "".join(f"x{n} = [x{n - 1}, x{n - 1}]\n" for n in range(1, 20))
        + "setup(tests_require=x19)\n",
        "setup(extras_require=" + "{1: " * 80 + "1" + "}" * 80 + ")\n",
        "setup(name={[]: 1}, version=[1], tests_require={})\n",
        "setup(extras_require={'test': 5, 3: ['x'], None: None})\n",
        "setup(name=" + "'a' + " * 20_000 + "'b')\n",
        "setup(setup_requires=7, name=0x" + "f" * 100_000 + ")\n",
        "a" + ".b" * 100_000 + "()\n",
    ],
    "setup.cfg": [
        "[metadata]\nname = a\n name\n[metadata]\nname = b\n[options.extras_require\n",
        "no section\n",
        "[options.extras_require]\ntest\n  x\n  -r ../../outside/secret.txt\n",
        "[metadata]\n" + " x\n" * 100_000,
    ],
    "tox.ini": [
        "[testenv]\ndeps =\n -r{outside}/secret.txt\n"
        " -r {toxinidir}/../../outside/secret.txt\n -c {outside}/secret.txt\n",
        "[testenv]\ndeps = -r ../../outside/secret.txt\n"
        "setenv =\n  A=$(touch /tmp/owned)\n  B\u00e9=1\n",
        "[testenv]\ndeps = -rtests/../.git/config\n -r /proc/self/environ\n",
    ],
    "tox.toml": [
        '[env_run_base]\n'
        'deps = ["-r {outside}/secret.txt", "-e ../outside", "x @ file://{outside}"]\nextras = {}\n'
    ],
    "requirements.txt": [
        "-r ../../outside/secret.txt\n"
        "--requirement={outside}/secret.txt\n-r{outside}/secret.txt\nsix\n",
        "-r requirements.txt\n" * 50_000,
        "-c {outside}/secret.txt\n-e ../../outside\n../../outside\nsix;touch /tmp/owned\n",
    ],
    "requirements-test.txt": [
        "-r /proc/self/environ\n-r ../../outside/./secret.txt\n"
        "-r link/secret.txt\n$(touch\u00a0x)\n",
        "-r .git/config\nfile:///etc/passwd\nb @ file:../../outside\n"
        + "-r "
        + "a/" * 200_000
        + "\n",
        "".join(f"-r {n}.txt\n" for n in range(5000)),
    ],
    "PKG-INFO": [
        "Name: a\n b\nVersion: 1\n\ttouch /tmp/owned\nRequires-Dist: \n"
        + "Requires-Dist: x; extra == 'a'\n" * 9999,
        f"Name: a\nRequires-Dist: x; extra == 'a' b{' ' * 900_000}c\n",
    ],  # a pattern tries each blank again
    "package.json": [
        "[]",
        "3",
        '{"scripts": [1], "dependencies": 7, "name": {}}',
        '{"scripts": {"test": ["mocha"]}, "main": ["x"]}',
        '{"name": "a\\ntouch /tmp/owned", "version": "\\n\\nx", "scripts": {"test": "mocha"}}',
        '{"scripts": {"test": "%s", "a": "%s"}}' % (("npm run a && " * 2000,) * 2),
        '{"engines": {"node": "%s"}, "main": "../../outside/secret.txt", "scripts": {"test": '
        '"mocha"}}'
        % ("9" * 9000),
        '{"scripts": {"test": "mocha"}, "dependencies": {"$(touch x)": "1", "a\\nb": "2", "-g": '
        '"3"}}',
    ],
    "Makefile": [
        "a" * 900_000 + "\ntest:\n",
        "test\n" * 90_000 + ":\n",
        "include {outside}/secret.txt\ntest: ; cat {outside}/secret.txt\n",
    ],
    ".github/workflows/ci.yml": [
        "a0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
        + "services: *a11\n",
        "a: &a\n  run: *a\n  b: [*a, *a, *a]\n",
        "&a [*a, *a]\n",
        "? [1, 2]\n: 3\n? {a: b}\n: 4\n",
        "run: !!python/object/apply:os.system [id]\n",
        "run: [apt install $(touch /tmp/owned), {a: b}]\n",
        "run: 2001-99-99\nservices: !!binary a\n",
    ],
    "Dockerfile": [
        "RUN apt-get install " + "-a " * 9000 + "b;c\n" + "\\\n" * 90_000,
        "RUN " + "apt -apt " * 9000 + "\n",
    ],
}


def make(place: Path, seed: int = 0) -> list[Path]:
    """Write the repositories below `place`."""
    rng, outside = random.Random(seed), place / "outside"
    outside.mkdir(parents=True)
    (outside / "secret.txt").write_text(f"{SECRET}==1.0\nPASSWORD={SECRET}\n")
    for name, target in LINKS.items():
        for file in FILES:
            own = _file(place / f"link-{name}", file)
            own.symlink_to(target.format(outside=outside, own=own.name))
    for file in FILES:
        os.mkfifo(_file(place / "fifo", file))
        _file(place / "folder", file).mkdir()
        _file(place / "noise", file).write_bytes(rng.randbytes(rng.randrange(1, 50_000)))
        for name, content in RUBBISH.items():
            _file(place / f"rubbish-{name}", file).write_bytes(content)
        for n, text in enumerate(TEXTS.get(file, [])):
            own = text.replace("{outside}", str(outside))
            _file(place / f"text-{n}", file).write_text(own)
            _file(place / "half", file).write_text(own[: rng.randrange(len(own))])
    found = sorted(path for path in place.iterdir() if path != outside)
    for repository in found:
        (repository / ".git").mkdir()
        (repository / ".git" / "config").write_text(f"{SECRET}\n")
        (repository / "link").symlink_to(outside)
        if repository.name.startswith("link-"):
            (repository / "tests").symlink_to(outside)
    return found


def _file(repository: Path, name: str) -> Path:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
