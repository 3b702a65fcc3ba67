# Run a reproduction in the source folder. The Python that has pytest comes before others in PATH.
python=$(find / "$PWD" -xdev -type d -name _pytest -not -path '/usr/lib/*' -printf '%h\n' 2>/dev/null | LC_ALL=C sort | head -n 1)
[ -z "$python" ] || export PATH=${python%/lib*/python*}/bin:$PATH
exec 2>&1   # one stream: two arrive in any order
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONHASHSEED=0 NO_COLOR=1 CI=1
{path}
export PATH=$PWD/node_modules/.bin:$PATH
case {name} in
    *.py) exec python3 -W ignore::ResourceWarning {name} </dev/null ;;
    *) exec bash {name} </dev/null ;;
esac
