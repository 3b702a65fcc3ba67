"""Check action_style(): the style that a careful person would give to commands of agents.

The rule: of several parts the strongest counts, submit > edit > test > other > explore. Looking is
explore, and so is what only prints or goes somewhere; running code is a test, wherever its output
goes; changing files is an edit, scratch files too; what is none of it (installing, fetching,
killing) is other.
"""
import re
import subprocess
import sys

from conftest import REPO
from fake_judges import validated as decide
from root import turn_of

from codedata.conversation.bash_commands import INSTALL, MAX_BYTES, action_style

EXPLORE = r"""
ls -la
ls && ls inimoss tests
cd /testbed && ls
pwd; whoami; date
cat README.md
cat -n django/db/models/query.py | sed -n '200,260p'
nl -ba src/lib.rs | sed -n '1,80p'
head -50 setup.py && tail -n +100 setup.py
sed -n 1,36p inimoss/parser.py
sed -n -e '/^def parse/,/^def /p' parser.py
sed -e 's/foo/bar/' config.py | head -5
sed '/^#/d' settings.conf
sed -n "$(grep -n 'class Foo' a.py | cut -d: -f1),+20p" a.py
awk 'NR>=10 && NR<=20' main.go
awk -F'|' '{print $2}' table.txt
awk -F "|" '{print $2}' table.txt
awk '/BEGIN/{f=1} f{print NR": "$0} /END/{f=0}' Makefile
grep -rn "def get_queryset" --include=*.py . | head -20
grep -n "COMMENT_MARKS\|strip_comment" inimoss/*.py
grep -rnE "(foo|bar)\(" src/ | grep -v test | sort | uniq -c | sort -rn
grep -n ">=" requirements.txt
grep -rn "> 0" src/app.js
grep -n "<div" templates/base.html
grep -n "|" README.md
grep -n "(" src/lexer.c | head
grep -rn 'sed -i' scripts/
grep -rn "rm -rf\|git push" Makefile .github
grep -c . data.csv 2>/dev/null || echo none
rg -n --type rust 'fn parse' crates
ag "deprecated" src
find . -name "*.py" -not -path "./.git/*" | head -50
find . -type f \( -name "*.js" -o -name "*.ts" \) | grep -v node_modules | wc -l
find . -name "*.py" -exec grep -ln "import six" {} \;
find . -name "*.py" -exec grep -ln "import six" {} +
find . -name '*.py' -print0 | xargs -0 grep -l "deprecated"
git ls-files | grep test | xargs -I{} wc -l {}
git ls-files '*.c' | xargs -n 1 -P 4 grep -Hn "malloc"
grep -l foo *.py | xargs -I {} grep -n bar {}
tree -L 2 -I node_modules
wc -l $(git ls-files '*.py') README.md
grep -n "def main" $(git ls-files 'src/*.py') setup.py
ls $(dirname $(which node))/../lib
cat `git ls-files | grep -i license`
echo $(cat VERSION)
X=$(cat VERSION); echo "version: $X"
git status
git status --short && git diff --stat
git diff HEAD~1 -- src/a.c | head -80
git --no-pager log --oneline -5
git -C /testbed log -p --format=%s -- csvhound tests/test_sniff.py
git -c core.pager=cat diff
git log --all --oneline --grep="fix > 3"
git show HEAD:src/main.rs | sed -n 1,40p
git blame -L 10,20 lib/a.rb
git branch -a
git rev-parse --show-toplevel
git grep -n "unquote"
git config --get user.name
git stash list
git --version
cd $(git rev-parse --show-toplevel) && ls
cd src || exit 1; cat main.c
source .venv/bin/activate && cat setup.cfg
. .venv/bin/activate && cat setup.cfg
export PYTHONPATH=. && ls
set -euo pipefail; ls
which python3; python3 --version
node -v
pip list | grep -i django
pip show requests
python -m pip show numpy
[ -f setup.py ] && cat setup.py
test -d tests && ls tests || echo "no tests"
if [ -f package.json ]; then cat package.json; else echo "none"; fi
if ! grep -q foo a.txt; then echo missing; fi
for f in src/*.c; do echo "== $f"; head -5 "$f"; done
for i in 1 2 3; do sed -n "${i}p" a.txt; done
for f in $(find . -name "*.toml"); do echo "$f"; cat $f; done
while read -r line; do echo "$line"; done < names.txt
find . -name "*.rs" | while read f; do grep -n "unsafe" "$f" && echo "$f"; done
git ls-files | while IFS= read -r f; do wc -l "$f"; done
cat a.txt | tr ';' '\n' | cut -d ';' -f 2 | sort -t '|' -k 2
echo "a -> b" && ls
echo "=== models ==="; cat models.py
echo 'unfinished > sentence'
printf '%s\n' "$PATH" | tr : '\n'
env | grep -i path
env
jq '.scripts' package.json
jq -r '.dependencies | keys[] | select(. > "m")' package.json
diff a.py b.py
diff <(sort a.txt) <(sort b.txt)
comm -12 <(sort a) <(sort b) | head
hexdump -C logo.png | head -3
file bin/tool && stat -c '%a' bin/tool
ls -la 2>/dev/null
ls missing >/dev/null 2>&1 && echo yes || echo no
ls missing &>/dev/null; echo $?
cat missing 2> /dev/null | head >&2
cat < input.txt
grep foo <<< "$text"
/usr/bin/grep -n x y.txt
{ cat a.txt; echo ---; cat b.txt; } | head -5
(cd sub && ls)
ls # all of them (also hidden ones)
cat a.py  # what's in it
cat файл.txt && echo "привет — 你好 🎉"
ps aux | grep server
cat README.md | tee /dev/stderr | wc -l
column -t -s, a.csv | less -S
[[ $x == "a" && -n $y ]] && echo same
true
"""

EDIT = r"""
sed -i 's/foo/bar/g' src/a.py
sed -i.bak -e 's/a/b/' x.py && diff x.py x.py.bak
sed -i '' 's/a/b/' x.py
sed -E -i "s/(a|b)/c/" x.py
sed -ni '/x/p' x.txt
sed --in-place 's/a/b/' x
sed -i '27a\    if x > 1:\n        raise ValueError("no; never")' a.py
cd /testbed && sed -i 's/a/b/' x.py && python -m pytest -q
sed -i 's/don't/do not/' README.md
cat README.md; sed -i 's/it's/its/' README.md
grep -rl foo . | xargs sed -i 's/foo/bar/g'
find . -name '*.py' -print0 | xargs -0 -n 10 sed -i 's/a/b/g'
find . -name "*.py" -exec sed -i 's/a/b/' {} \;
find . -name "*.py" -exec sed -i 's/a/b/' {} +
find . -name '*.pyc' -delete
find . -name __pycache__ -type d -exec rm -rf {} +
for f in *.md; do sed -i 's/a/b/' "$f"; done
git ls-files | while read f; do sed -i 's/\r$//' "$f"; done
if grep -q old a.txt; then sed -i 's/old/new/' a.txt; fi
perl -pi -e 's/foo/bar/' a.c
perl -0777 -i -pe 's/a\nb/c/' a.c
perl -i.orig -ne 'print unless /x/' a.c
awk -i inplace '{print $1}' a.txt
awk '{print $1}' a.txt > b.txt && mv b.txt a.txt
echo 'export A=1' >> ~/.bashrc
echo "x" > a.txt
echo hi >| a.txt
echo "x" | tee -a log.txt
printf 'a\nb\n' > in.txt; ./prog in.txt
: > empty.txt
> empty.txt
head -n -5 a.py > /tmp/a.py && mv /tmp/a.py a.py
{ cat a; echo b; } > c
(echo a; echo b) > c
sort -o names.txt names.txt
sort -u names.txt > sorted.txt
git diff > /tmp/fix.patch
touch tests/__init__.py
mkdir -p src/new && touch src/new/mod.rs
rm -rf build dist
rm test_repro.py && git status --short
mv a.py b.py
cp config.example.yml config.yml
ln -s a b
chmod +x run.sh && ./run.sh
sudo chown -R me .
patch -p1 < fix.diff
git apply fix.patch
git checkout -- src/a.py
git checkout -q cronlark/schedule.py && git status --short
git restore .
git stash && python -m pytest -q; git stash pop
git reset --hard HEAD
git add -A && git commit -m "fix: a > b"
git rm old.py
git clean -fd
git -c user.name=x -c user.email=y commit -am wip
python -c "open('b.csv', 'wb').write(b'x')"; cat b.csv
python -c 'from pathlib import Path; Path("a").unlink()'
python3 -c "import os; os.rename('a', 'b')"
node -e "require('fs').writeFileSync('a.txt', 'x')"
ruby -e 'File.write("a.rb", "x")'
ex -sc '%s/a/b/g|x' a.txt
black src/
isort . && black .
black -q a.py && git diff --stat
ruff check --fix .
ruff format src
npx prettier --write src/a.ts
npx eslint --fix src
gofmt -w a.go && go build ./...
go fmt ./...
cargo fmt && cargo clippy
clang-format -i a.c
unzip -o a.zip
tar xzf a.tar.gz
sed -i 's/a/b/' x.py || true
FOO=1 BAR="a b" sed -i 's/a/b/' x.py
timeout 10 sed -i 's/a/b/' x.py
command rm x
truncate -s 0 a.log
sed -i 's/日本/にほん/' ドキュメント.md
"""

TEST = r"""
python -m pytest -q
pytest tests/test_a.py::TestB::test_c -x 2>&1 | tail -20
cd /testbed && python -m pytest tests -k "a and not b" --tb=short
python -m pytest -x > /tmp/out.txt 2>&1; tail -40 /tmp/out.txt
python -m pytest -x 2>&1 | tee /tmp/out.txt | tail -40
python run.py 2> /tmp/err.txt; cat /tmp/err.txt
make test > test.log 2>&1 || tail -30 test.log
PYTHONPATH=src DEBUG=1 python3 -m unittest tests.test_a
PYTHONDONTWRITEBYTECODE=1 timeout 60 python repro.py
timeout -k 5 60 pytest
python3.9 -m pytest
python3.11 -c "import a; print(a.f())"
pypy3 -m pytest
uv run pytest -q
poetry run pytest
pipenv run python -m pytest
hatch run test
coverage run -m pytest
pre-commit run --all-files
export PYTHONPATH=. && python repro.py
source venv/bin/activate && pytest
python -c 'print(1 > 0)'
python -c "import sys; sys.stdout.write('x > y')"
node -e "process.stdout.write(JSON.stringify(require('./a')))"
python a.py <<< "input"
python manage.py test app --verbosity 2
python -m py_compile a.py && echo ok
python setup.py build_ext --inplace
python -m mypy src | head
echo '{"a": 1}' | python -m a
./run_tests.sh
bash scripts/test.sh -v
sh tests/run.sh | grep -v '^ok'; seq 30000 | build/rtail 2 | wc -l
./manage.py check
tox -e py39
nosetests -v
flake8 a.py && pylint a.py
mypy a.py
black --check .
black --diff a.py
ruff check src
npm test
npm run build -- --verbose
npm ci && npm test
yarn test --watch=false
pnpm test
npx jest src/a.test.ts -t "it's fine"
npx tsc --noEmit
npx eslint src
node --test 2>&1 | grep -E '^ *not ok|^# (pass|fail)'
node test.js
ts-node a.ts
deno test
bun test
go test ./... -run TestA -v
go build ./... && go vet ./...
for d in 1.5d .25h 0.1s; do go run ./cmd/spanfold $d 2>&1 | head -n 1; done
gofmt -l .
cargo test --lib parser -- --nocapture
cargo check 2>&1 | grep -A5 '^error'
rustc a.rs && ./a
gcc -Wall -o a a.c && ./a
clang++ -std=c++17 a.cpp -o a
g++ a.cpp -o a && echo 5 | ./a
make -j4
make clean && make test
cmake --build build
ctest --output-on-failure
mvn -q test -Dtest=ATest
./mvnw test
./gradlew :core:test --tests '*A*'
javac A.java && java A
dotnet test
bundle exec rspec spec/a_spec.rb:12
ruby -Ilib test/a_test.rb
rake test
php -l a.php
vendor/bin/phpunit --filter testA
composer test
mix test
sbt test
lein test
clojure -M:test
dune runtest
julia --project -e 'using Pkg; Pkg.test()'
Rscript -e 'testthat::test_dir("tests")'
swift test
dart test
lua a.lua
zig build test
(cd sub && make test)
$(which python) -m pytest
time python bench.py
valgrind ./a
for i in 1 2 3; do ./a || break; done
for ((i = 0; i < 5; i++)); do ./a $i; done
while ! ./a; do sleep 1; done
if python -c "import a"; then echo ok; fi
! python -c "import nope"
python server.py & sleep 2; curl -s localhost:8000; kill %1
diff <(python a.py) expected.txt
curl -s https://example.org/install.sh | sh
xargs -n 1 ./a < names.txt
find tests -name 'test_*.py' | xargs python -m pytest
env FOO=1 python a.py
sudo -E python a.py
pip install -e . && pytest
python тест.py
python -c "print('open
"""

OTHER = r"""
pip install -e .
pip install -q requests 2>&1 | tail -1
python -m pip install pytest
pip3 install numpy
npm install
npm ci
yarn add lodash
go mod tidy
go get example.org/x
cargo add serde
bundle install
composer install
apt-get update && apt-get install -y jq
sudo apt-get install -y libxml2-dev
conda activate base
curl -s http://localhost:8000/health
kill 1234
docker ps
sqlite3 a.db "select 1"
uv pip install pytest
poetry install
cd /testbed && pip install -r requirements.txt
nonsense
一二三
"""

SUBMIT = r"""
echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT
echo "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A && git diff --cached
rm repro.py && echo 'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT'
echo MINI_SWE_AGENT_FINAL_OUTPUT
git add -A && git diff --cached > patch.txt && echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt
submit
"""  # noqa: E501

SEVERAL_LINES = r"""
%% explore
# let me look at the parser first
cat parser.py
%% explore
# Let's see what's there (all of it)
ls -R src
%% explore
grep -rn \
    --include='*.py' \
    "class Meta" \
    django/
%% explore
cat <<'EOF'
just a note; rm -rf nothing > nowhere
EOF
%% explore
echo "first line
rm second line > third"
ls
%% edit
# don't touch the tests
sed -i 's/a/b/' src/x.py
%% edit
cat > src/new.py <<'EOF'
def f():
    return 1
EOF
%% edit
cat <<'EOF' > test_repro.py
from a import b
print("it's", b())
EOF
python test_repro.py
%% edit
cat << "EOF" >> CHANGELOG.md
- don't stop
EOF
%% edit
cat <<-EOF > Makefile
	all:
	EOF
%% edit
cat > "$DIR/a b.txt" <<EOF
$(date)
EOF
%% edit
cat > a.py <<'PY' && python a.py
print(1)
PY
%% edit
cat <<EOF | tee config.yml
a: 1
EOF
%% edit
tee src/a.ts > /dev/null <<'EOF'
export const a = 1;
EOF
%% edit
cat <<'A' > a.txt; cat <<'B' > b.txt
it's a
A
it's b
B
%% edit
patch -p0 <<'EOF'
--- a/x.py
+++ b/x.py
EOF
%% edit
apply_patch <<'PATCH'
*** Begin Patch
*** Update File: a.py
-x = 1
+x = 2
*** End Patch
PATCH
%% edit
git apply - <<'EOF'
diff --git a/x b/x
EOF
%% edit
ed -s a.txt <<'EOF'
1d
w
EOF
%% edit
python3 - <<'PY'
path = "a.py"
text = open(path).read()
open(path, "w").write(text.replace("a", "b"))
PY
%% edit
python - <<'EOF'
from pathlib import Path
p = Path("a.py")
p.write_text(p.read_text().replace("it's", "its"))
EOF
%% edit
python3 << EOF
import json
with open('package.json', 'w') as f:
    json.dump({}, f)
EOF
%% edit
python -c "
import json, os
with open(os.path.join('a', 'b.json'), 'w') as f:
    json.dump({}, f)"
%% edit
node - <<'JS'
const fs = require('fs');
fs.appendFileSync('a.txt', 'b');
JS
%% edit
./calc <<< 5
rm calc
%% edit
echo $((1 << n))
rm -rf build
%% edit
grep -n "<<EOF" run.sh
sed -i 's/a/b/' run.sh
%% edit
sed \
  -i \
  's/a/b/' \
  x.py
%% edit
cd src
for f in *.c; do
    # it's one of ours
    if grep -q old "$f"; then
        sed -i 's/old/new/' "$f"
    fi
done
%% test
python -c "
from inimoss import loads
print(loads('[menu]\nsep = \" ; \"\n'))"
%% test
python3 - <<'PY'
for n in range(1, 61):
    raw = b"name,n\xe9\n" + b"x" * n
    print(n, len(raw), raw.decode("latin-1"), "it's")
PY
%% test
python3 <<'EOF'
with open("a.txt") as f:
    print(f.read(), end="w")
EOF
%% test
# run what we have; don't change it
python -m pytest
%% test
python \
    -m pytest \
    -q
%% test
cat <<'EOF' | ./prog --stdin
a > b
EOF
%% other
pip install -q pytest
ls
"""

TABLE = {line: style for style, block in (("explore", EXPLORE), ("edit", EDIT), ("test", TEST),
                                          ("other", OTHER), ("submit", SUBMIT))
         for line in block.strip().split("\n")}
TABLE |= {command: style for style, command in re.findall(r"^%% (\w+)\n(.*?)\n(?=%%|\Z)",
                                                          SEVERAL_LINES, re.M | re.S)}
def test_a_command_has_the_style_that_a_careful_person_gives_it():
    assert {command: action_style(command) for command in TABLE} == TABLE


def test_blanks_and_windows_line_ends_make_no_difference():
    for command in TABLE:
        if "<<" not in command and "\\\n" not in command:
            with_crlf = f"\n  {command}  \n\n".replace("\n", "\r\n")
            assert action_style(with_crlf) == action_style(command), command


def test_of_a_long_command_the_beginning_is_read():
    assert action_style("ls " + " " * (MAX_BYTES - 8) + "; rm a") == "edit"
    assert action_style("ls " + " " * MAX_BYTES + "; rm a") == "explore"


def test_without_the_reader_of_bash_there_is_a_report_that_names_it(tmp_path):
    tmp_path.with_panel("a")
    history = [{"role": "user", "content": "task"}, *(
        {"role": "assistant", "content": turn_of(command)} for command in ("sleep 1", "ls"))]
    tmp_path.with_answer("t_1", king="ls", challenger="sleep 1", messages=history)
    tmp_path.with_score("t_1", {"a": [1] * 5})
    decide(tmp_path)
    program = ("import sys; sys.modules['tree_sitter'] = None; import report; "
               "report.main(['--root', sys.argv[1]])")
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=REPO, check=True)
    text = (tmp_path / "report/report.md").read_text()
    assert "| unknown → unknown |" in text and "| king |" in text and INSTALL in text
    assert INSTALL in (tmp_path / "index.html").read_text()
