"""Record the calls of a project that its tests make, while pytest runs them.

place_plugin.sh copies this plugin next to pytest as codedata_calls. It runs on Python 3.9 and
later. It changes the test files on import: each call, subscript, attribute, comparison and operator
in them also records its operands and its outcome. The project's code is not changed, so calls
inside it cost nothing. To inspect an object, the plugin calls no code of the project, and it keeps
only a weak reference if the object allows one.

FOLDER/settings.json names the source folder and the test files. Each process writes a file in
FOLDER/data, with a JSON object in each line. An event has an expression in source form (r12 is the
result of event 12), the lines that the expression needs before it, and its outcome.
"""
import ast
import builtins
import collections
import datetime
import decimal
import enum
import fcntl
import fractions
import functools
import importlib.abc
import importlib.machinery
import itertools
import json
import keyword
import operator
import os
import pathlib
import re
import sys
import tempfile
import threading
import types
import uuid
import weakref

import pytest

FOLDER = "/tmp/codedata-calls"
HOOK = "__codedata__"          # a builtin while tests run; classes do not mangle this name
OUTERMOST = "CODEDATA_CALLS_PROCESS"   # id of the process of the outermost run
MAX_EVENTS = 60                # events of one callee in one test
MAX_OF_TEST = 600              # events of one test
MAX_OF_RUN = 40000             # events of one process
MAX_CHARS, MAX_ITEMS, MAX_DEPTH = 1500, 60, 8   # limits of an operand
MAX_KEY = 60                   # characters of a key in a result's path
BY_REPR = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
           decimal.Decimal, fractions.Fraction, uuid.UUID, range)
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented))
A, B = ast.Name("a", ast.Load()), ast.Name("b", ast.Load())   # the operands of an operator
CONTAINERS = (list, tuple, set, frozenset, dict, collections.OrderedDict, collections.deque,
              collections.Counter, collections.defaultdict)
METHODS = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
# functions that take a callable and its arguments
RAISING = {"raises", "assertRaises", "assertRaisesRegex"}
write = os.write   # a test may replace os.write
recorder = None


class Opaque(ValueError):
    """Report that an object has no source form."""


def owner_of(callee):
    """Return the object of a bound method, else None. Do not ask other objects for __self__, since
    they may compute any attribute."""
    return callee.__self__ if type(callee) in METHODS else None


def module_of(value):
    """Return the name of the module that defines a class, a function, or the class of an object."""
    look = type if issubclass(type(value), type) else object
    try:
        return look.__getattribute__(value, "__module__")
    except AttributeError:
        return type(value).__module__


@functools.lru_cache(None)
def operator_of(form):
    """Return the function of an operator that is given as "a + b"."""
    return eval(f"lambda a, b: {form}")


def is_module(value):
    """Return whether an object is a module, without calling code of the object."""
    return issubclass(type(value), types.ModuleType)


# the change of tests -----------------------------------------------------------------------------

class Instrument(ast.NodeTransformer):
    """Insert calls of the recorder's hooks into the tree of a test file. A call still happens in
    its own frame: hook.pre() returns the callee, and hook.post() gets and returns the result."""

    def hooked(self, node, name, *args):
        """Return a call of one of the recorder's hooks."""
        hook = ast.Attribute(ast.Name(HOOK, ast.Load()), name, ast.Load())
        return ast.copy_location(ast.Call(hook, [*args], []), node)

    def visit_Call(self, node):
        """Record a call; for a method call, first look up the method."""
        method, node.func = node.func, ast.Constant(None)
        self.generic_visit(node)
        if not isinstance(method, ast.Attribute):
            node.func = self.visit(method)
        else:   # looking up a method is not an outcome
            node.func, method.value = method, self.visit(method.value)
            if not method.attr.startswith("__"):
                node.func = self.hooked(node, "method", method.value, ast.Constant(method.attr))
        callee = self.hooked(node, "pre", node.func, *node.args)
        callee.keywords = node.keywords
        args = ast.Starred(self.hooked(node, "args"), ast.Load())
        kwargs = ast.keyword(None, self.hooked(node, "kwargs"))
        call = ast.copy_location(ast.Call(callee, [args], [kwargs]), node)
        return self.hooked(node, "post", call)

    def visit_Subscript(self, node):
        """Record `x[key]`."""
        self.generic_visit(node)
        key = node.slice
        if isinstance(key, ast.Slice):
            ends = [one or ast.Constant(None) for one in (key.lower, key.upper, key.step)]
            key = ast.copy_location(ast.Call(ast.Name("slice", ast.Load()), ends, []), node)
        if not isinstance(node.ctx, ast.Load) or not isinstance(key, ast.expr) or any(
                isinstance(one, (ast.Slice, ast.Starred)) for one in ast.walk(key)):
            return node
        return self.hooked(node, "item", node.value, key)

    def visit_Attribute(self, node):
        """Record `x.name`."""
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("__"):
            return node
        return self.hooked(node, "attribute", node.value, ast.Constant(node.attr))

    def visit_Compare(self, node):
        """Record a comparison of two operands, except by `is`."""
        self.generic_visit(node)
        if len(node.ops) > 1 or isinstance(node.ops[0], (ast.Is, ast.IsNot)):
            return node
        return self.binary(node, ast.Compare(A, node.ops, [B]), node.left, node.comparators[0])

    def visit_BinOp(self, node):
        """Record an operator."""
        self.generic_visit(node)
        return self.binary(node, ast.BinOp(A, node.op, B), node.left, node.right)

    def binary(self, node, form, left, right):
        """Return the call of hook.binary() for an operator and its operands."""
        return self.hooked(node, "binary", ast.Constant(ast.unparse(form)), left, right)

    def visit_Assign(self, node):
        """Record `x[key] = value`."""
        self.generic_visit(node)
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Subscript) or not isinstance(
                target.slice, ast.expr) or isinstance(target.slice, (ast.Slice, ast.Tuple)):
            return node
        call = self.hooked(node, "put", node.value, target.value, target.slice)
        return ast.copy_location(ast.Expr(call), node)

    def visit_MatchValue(self, node):
        """Leave a pattern unchanged, since a call is not a pattern."""
        return node

    visit_MatchMapping = visit_MatchClass = visit_TypeAlias = visit_MatchValue

    def generic_visit(self, node):
        """Change the children of a node, except annotations, which may never be evaluated."""
        kept = {name: vars(node).pop(name, None) for name in ("annotation", "returns")}
        super().generic_visit(node)
        vars(node).update(kept)
        return node

    def visit(self, node):
        """Change a node. Put each statement with a call into `try`, to record its exception."""
        has_call = isinstance(node, ast.stmt) and not isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and any(
            isinstance(one, ast.Call) for one in ast.walk(node))
        node = super().visit(node)
        if not has_call:
            return node
        handler = ast.ExceptHandler(None, None, [
            ast.Expr(self.hooked(node, "failed")), ast.Raise(None, None)])
        return ast.copy_location(ast.Try([node], [handler], [], []), node)


class Loader(importlib.machinery.SourceFileLoader):
    """Load a changed test file, without reading or writing a cache."""

    def get_code(self, fullname):
        """Return the code of the changed file, or of the original if that is nested too deeply."""
        data = self.get_data(self.path)
        try:
            tree = ast.parse(data, self.path)
            tree = ast.fix_missing_locations(Instrument().visit(tree))
            return compile(tree, self.path, "exec", dont_inherit=True)
        except (RecursionError, MemoryError):
            return compile(data, self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    """Find the modules of test files, before any other finder."""

    def find_spec(self, fullname, path=None, target=None):
        """Return the spec of a module that is a test file, else None."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin not in recorder.tests:
            return None
        spec.loader = Loader(fullname, spec.origin)
        return spec


# objects in source form --------------------------------------------------------------------------

class SourceWriter:
    """Write the operands of an event in source form, and collect the import lines that they need.
    """

    def __init__(self, recorder):
        self.recorder, self.lines, self.uses, self.left = recorder, [], set(), MAX_CHARS

    def expression(self, kind, callee, args, kwargs):
        """Return the expression of an event in source form."""
        if kind == "call":
            parts = [self.text(one) for one in args]
            parts += [f"{key}={self.text(one)}" if key.isidentifier()
                      and not keyword.iskeyword(key) else f"**{{{key!r}: {self.text(one)}}}"
                      for key, one in kwargs.items()]
            return f"{self.callee(callee)}({', '.join(parts)})"
        first, *others = args
        texts = [self.text(first)]
        if kind == "attribute":
            return f"{texts[0]}.{others[0]}"
        texts += map(self.text, others)
        if kind == "item":
            if isinstance(others[0], slice) and others[0].step is None:
                ends = others[0].start, others[0].stop
                texts[1] = ":".join("" if one is None else self.text(one) for one in ends)
            return f"{texts[0]}[{texts[1]}]"
        if kind == "put":
            return f"{texts[0]}[{texts[1]}] = {texts[2]}"
        return f"{texts[0]} {kind[2:-2]} {texts[1]}"

    def callee(self, callee):
        """Return the callee of an event in source form."""
        owner = owner_of(callee)
        if owner is None or is_module(owner):
            return self.text(callee)
        name = getattr(callee, "__name__", "__")
        if name[:2] == "__":
            raise Opaque("private")
        return f"{self.text(owner)}.{name}"

    def text(self, value, depth=0):
        """Return an object in source form. Raise Opaque if it has none."""
        self.left -= 1   # count empty objects, too: the same one may occur in many others
        if depth > MAX_DEPTH or self.left < 0:
            raise Opaque("too large")
        kind = type(value)
        if kind in CONTAINERS:
            return self.container(kind, value, depth + 1)
        if kind not in PLAIN:
            return self.other(kind, value, depth + 1)
        text = self.plain(value)
        self.left -= len(text)
        return text

    def joined(self, values, depth):
        """Return objects in source form, separated by commas."""
        return ", ".join(self.text(one, depth) for one in values)

    def plain(self, value):
        """Return a number, a text or a constant in source form."""
        n_bits = value.bit_length() if isinstance(value, int) else 0
        if n_bits > MAX_CHARS or (isinstance(value, (str, bytes)) and len(value) > MAX_CHARS):
            raise Opaque("too large")
        if isinstance(value, str):
            value = self.recorder.relative(value)
        if (isinstance(value, float) and value in (float("inf"), -float("inf"))) or value != value:
            return f"float({str(value)!r})"
        return "..." if value is ... else repr(value)

    def container(self, kind, value, depth):
        """Return a built-in container in source form."""
        if len(value) > MAX_ITEMS:
            raise Opaque("too large")
        if issubclass(kind, dict):
            inner = ", ".join(f"{self.text(key, depth)}: {self.text(one, depth)}"
                              for key, one in value.items())
            if kind is dict:
                return f"{{{inner}}}"
            first = ""
            if kind is collections.defaultdict:
                first = self.text(value.default_factory, depth) + ", "
            return f"{self.imported(kind.__module__, kind.__name__)}({first}{{{inner}}})"
        items = list(value)
        if kind in (set, frozenset):
            items.sort(key=lambda one: (type(one).__name__, self.text(one, depth)))
        inner = self.joined(items, depth)
        if kind is list:
            return f"[{inner}]"
        if kind is tuple:
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        if kind is set and items:
            return f"{{{inner}}}"
        if kind is collections.deque:
            return f"{self.imported('collections', 'deque')}([{inner}])"
        return f"{kind.__name__}([{inner}])" if items else f"{kind.__name__}()"

    def other(self, kind, value, depth):
        """Return an object of another class in source form."""
        if origin := self.recorder.origin(value):
            self.uses.add(origin[0])
            return f"r{origin[0]}{origin[1]}"
        path = self.recorder.path(value)
        if path:
            return self.imported(*path)
        if kind is types.ModuleType:
            return self.module(value)
        if issubclass(kind, enum.Enum):
            return f"{self.text(kind, depth)}.{value._name_}"
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return f"{self.text(kind, depth)}({self.joined(value, depth)})"
        if kind in BY_REPR:
            return self.by_repr(kind, value, depth)
        if kind is slice:
            return f"slice({self.joined((value.start, value.stop, value.step), depth)})"
        if kind is re.Pattern:
            name = self.imported("re", "compile")
            return f"{name}({self.text(value.pattern, depth)}, {value.flags})"
        if issubclass(kind, pathlib.PurePath) and kind.__module__[:7] == "pathlib":
            return f"{self.imported('pathlib', 'Path')}({self.text(str(value), depth)})"
        if issubclass(kind, type) or kind in (types.FunctionType, types.BuiltinFunctionType):
            return self.definition(value)
        raise Opaque(kind.__name__)

    def by_repr(self, kind, value, depth):
        """Return the repr() of an object, which is its source form, and import what it names."""
        if zone := getattr(value, "tzinfo", None):   # the project may define its repr()
            text = f"{value.replace(tzinfo=None)!r}.replace(tzinfo={self.text(zone, depth)})"
        else:
            text = repr(value)
        if kind.__module__ == "datetime":
            self.need("import datetime")
        elif kind is not range:
            self.imported(kind.__module__, kind.__name__)
        return text

    def module(self, value):
        """Return the name of a public module, and require the line that imports it."""
        name = value.__name__
        is_test = getattr(value, "__file__", None) in self.recorder.tests
        if is_test or any(part[:1] == "_" for part in name.split(".")):
            raise Opaque(name)
        self.need(f"import {name}")
        return name

    def imported(self, module, name):
        """Return an object's name, and require the line that imports it."""
        if hasattr(builtins, name):
            self.need(f"import {module}")
            return f"{module}.{name}"
        self.need(f"from {module} import {name}")
        return name

    def need(self, line):
        """Add a line that must come before the expression."""
        if line not in self.lines:
            self.lines.append(line)

    def definition(self, value):
        """Return the name of a class or function of Python or of another library. Raise Opaque for
        the project's own, which have no public path."""
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        if getattr(builtins, name, None) is value:
            return name
        owner = getattr(value, "__self__", None)
        is_bound = owner is not None and not is_module(owner)
        if type(value) is types.BuiltinFunctionType and is_bound:
            raise Opaque("a method of a builtin")
        found = sys.modules.get(module or "")
        file = getattr(found, "__file__", None)
        if found is None or file in self.recorder.tests:
            raise Opaque("of a test")
        is_private = any(part[:1] == "_" for part in (*module.split("."), name))
        if self.recorder.is_own(file) or is_private or getattr(found, name, None) is not value:
            raise Opaque("private")
        return self.imported(module, name)


# the recorder ------------------------------------------------------------------------------------

class CallRecorder:
    """Record the events of a process. Changed test files call its methods through the builtin HOOK.
    """

    def __init__(self):
        with open(os.path.join(FOLDER, "settings.json")) as file:
            settings = json.load(file)
        self.source = settings["source"].rstrip("/") + "/"
        self.tests = {self.source + path for path in settings["tests"]}
        out = os.open(os.path.join(FOLDER, "data", uuid.uuid4().hex + ".jsonl"),
                      os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.out = fcntl.fcntl(out, fcntl.F_DUPFD_CLOEXEC, 500)   # a number that no test will use
        os.close(out)
        self.pid, self.test = os.getpid(), ""
        self.n = self.first = MAX_OF_RUN * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
        self.thread = threading.local()
        self.n_modules, self.paths = 0, {}
        # {id of an object: (event, the object's path in its result, function that returns it)}
        self.origins = {}
        self.plain = {}          # {event: [(argument, its source form before the call)]}
        self.counts = collections.Counter()
        self.folders = sorted({tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir())})

    # owners of objects

    def is_own(self, file):
        """Return whether a file is part of the project and not a test."""
        if not isinstance(file, str) or not file.startswith(self.source) or file in self.tests:
            return False
        parts = file[len(self.source):].split("/")
        return "site-packages" not in parts and not any(part[:1] == "." for part in parts)

    def is_own_module(self, name):
        """Return whether a module is part of the project."""
        return self.is_own(getattr(sys.modules.get(name), "__file__", None))

    def is_own_object(self, value):
        """Return whether the project defines an object or its class."""
        kind = type(value)
        if kind in PLAIN or kind in (list, dict, tuple, set):
            return False
        if issubclass(kind, type) or kind is types.FunctionType:
            return self.is_own_module(value.__module__)
        return any(self.is_own_module(one.__module__) for one in kind.__mro__[:-1]) or (
            self.origin(value) is not None)

    def relative(self, text):
        """Return the last part of a path in the temporary folder, or any other text unchanged.
        Raise Opaque if the text contains other paths of this machine."""
        for folder in self.folders:
            if text.startswith(folder + "/"):
                text = os.path.basename(text.rstrip("/"))
        if self.source[:-1] in text or any(folder + "/" in text for folder in self.folders):
            raise Opaque("a path")
        return text

    # names

    def path(self, value):
        """Return the public (module, name) from which an object can be imported, or None."""
        if self.n_modules != len(sys.modules):
            self.index()
        known = self.paths.get(id(value))
        return known[1] if known and known[2] is value else None

    def index(self):
        """Collect the names in the project's modules. Prefer public names, then short paths."""
        self.n_modules = len(sys.modules)
        for name, module in sorted(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if type(module) is types.ModuleType and self.is_own(file):
                for key, value in list(vars(module).items()):
                    self.add(name, key, value)

    def add(self, module, key, value):
        """Add a name of a module, if the project defines its object."""
        of = module_of(value)
        is_own = isinstance(of, str) and self.is_own_module(of)
        if key[:2] == "__" or is_module(value) or not is_own:
            return
        is_private = "._" in f".{module}.{key}"
        rank = (is_private, module.count("."), module != of, len(module), module, key)
        if id(value) not in self.paths or rank < self.paths[id(value)][0]:
            self.paths[id(value)] = (rank, (module, key), value)

    # identities

    def origin(self, value):
        """Return (event, path in its result) of an object that an event returned, or None."""
        known = self.origins.get(id(value))
        return known[:2] if known and known[2]() is value else None

    def track(self, value, event, path=""):
        """Record that an event returned an object, or a container with the object."""
        kind = type(value)
        if kind in (list, tuple, dict):
            pairs = value.items() if kind is dict else enumerate(value)
            for key, one in list(itertools.islice(pairs, MAX_ITEMS)) if path.count("[") < 2 else ():
                if type(key) is int or (type(key) is str and len(key) < MAX_KEY):
                    self.track(one, event, f"{path}[{key!r}]")
        elif not (kind in (*PLAIN, *BY_REPR, set, frozenset) or self.origin(value)
                  or issubclass(kind, (types.ModuleType, type, enum.Enum))):
            self.remember(value, event, path)

    def remember(self, value, event, path):
        """Record the event whose result scripts use for an object."""
        try:
            self.origins[id(value)] = (event, path, weakref.ref(value))
        except TypeError:   # a class with slots may not allow weak references
            self.origins[id(value)] = (event, path, lambda: value)

    # hooks of the changed tests

    def pre(self, callee, /, *args, **kwargs):
        """Record a call before it is made, and return its callee."""
        local = self.thread
        is_raising = type(callee) in (types.FunctionType, types.MethodType) and (
            callee.__name__ in RAISING)
        if is_raising and len(args) > 1 and callable(args[1]):
            error, function, *given = args
            call = functools.partial(self.made, "call", function, given, kwargs)
            args, kwargs = (error, lambda: call()), {}   # repr() of a partial shows its arguments
        frame = sys._getframe(1)
        if not self.is_busy(frame) and self.is_wanted(callee, args, kwargs):
            local.open = (frame, self.begin("call", callee, args, kwargs))
        local.args, local.kwargs = args, kwargs
        return callee

    def args(self):
        """Return the positional arguments of the call."""
        return self.thread.args

    def kwargs(self):
        """Return the keyword arguments of the call."""
        kwargs, self.thread.args, self.thread.kwargs = self.thread.kwargs, (), {}
        return kwargs

    def post(self, result):
        """Record the result of a call and return it."""
        local = self.thread
        opened = getattr(local, "open", None)
        if opened and opened[0] is sys._getframe(1):
            local.open = None
            self.end(opened[1], result)
        return result

    def failed(self):
        """Record the exception that ends a statement of a test."""
        opened = getattr(self.thread, "open", None)
        _, error, trace = sys.exc_info()
        while opened and trace:
            if trace.tb_frame is opened[0]:
                self.thread.open = None
                self.end(opened[1], error=error)
                return
            trace = trace.tb_next

    def item(self, value, key):
        """Read a subscript."""
        return self.made("item", operator.getitem, (value, key), {})

    def put(self, new, value, key):
        """Set a subscript. Python evaluates the new value first."""
        return self.made("put", operator.setitem, (value, key, new), {})

    def attribute(self, value, name):
        """Read an attribute."""
        if type(value) in PLAIN or issubclass(type(value), (types.ModuleType, type)):
            return getattr(value, name)
        return self.made("attribute", getattr, (value, name), {})

    def method(self, value, name):
        """Look up a method. If the object forwards to another one, scripts use the first object."""
        found = getattr(value, name)
        owner, origin = owner_of(found), self.origin(value)
        if origin and owner is not None and not self.origin(owner):
            self.remember(owner, *origin)
        return found

    def binary(self, form, left, right):
        """Apply an operator, given as "a + b"."""
        function = operator_of(form)
        if type(left) in PLAIN and type(right) in PLAIN:
            return function(left, right)
        return self.made(form, function, (left, right), {})

    def made(self, kind, function, args, kwargs):
        """Call a function and return its result. Record the event if it involves the project."""
        # do not assign the frame to a local name: that cycle would keep the result alive
        if self.is_busy(sys._getframe()) or not (
                self.is_wanted(function, args, kwargs) if kind == "call"
                else any(map(self.is_own_object, args))):
            return function(*args, **kwargs)
        event = self.begin(kind, function, args, kwargs)
        self.thread.open = (sys._getframe(), event)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self.thread.open = None
            self.end(event, error=error)
            raise
        self.thread.open = None
        self.end(event, result)
        return result

    def is_busy(self, frame):
        """Return whether to record nothing now: a recorded call still runs in this thread, or this
        process has reached its limit."""
        opened = getattr(self.thread, "open", None)
        if not opened:
            return self.n >= self.first + MAX_OF_RUN or os.getpid() != self.pid
        while frame:
            if frame is opened[0]:
                return True
            frame = frame.f_back
        self.thread.open = None   # the call raised an exception that was not recorded
        self.end(opened[1], error=Opaque())
        return False

    def is_wanted(self, callee, args, kwargs):
        """Return whether a call is of the project's code, or has one of its objects as argument."""
        owner = owner_of(callee)
        if type(callee) in (types.FunctionType, type) and self.is_own_module(callee.__module__):
            return True
        if owner is not None and not is_module(owner):
            return self.is_own_object(owner)
        if self.path(callee) or self.is_own_object(callee):
            return True
        if issubclass(type(callee), type) or type(callee) is types.BuiltinFunctionType:
            return callee is not isinstance and any(
                self.is_own_object(one) for one in (*args, *kwargs.values()))
        return False

    # events

    def begin(self, kind, callee, args, kwargs):
        """Return the event of an expression, with its operands in source form."""
        self.n += 1
        event = {"n": self.n, "test": self.test, "kind": kind, "expr": None, "why": "too many",
                 "of": "", "lines": [], "uses": [], "raised": "", "type": "", "result": None}
        what = callee.__func__ if type(callee) is types.MethodType else callee
        if kind != "call":
            what = type(args[0])
        key = (self.test, kind, id(what), args[1] if kind == "attribute" else "")
        self.counts[key] += 1
        self.counts[self.test] += 1
        if self.counts[key] > MAX_EVENTS or self.counts[self.test] > MAX_OF_TEST:
            return event
        writer, event["why"] = SourceWriter(self), ""
        try:
            event["expr"] = writer.expression(kind, callee, args, kwargs)
        except (RuntimeError, ValueError) as error:
            event["why"] = str(error)[:80]
        event["of"] = re.sub(r"\br\d+", "", (event["expr"] or "").partition("(")[0])[:80]
        event.update(lines=writer.lines, uses=sorted(writer.uses))
        if kind == "call" and event["expr"] and not event["uses"]:
            self.plain[self.n] = [(one, self.plain_text(one)) for one in args
                                  if type(one) in (list, dict, set)]
        return event

    def end(self, event, result=None, error=None):
        """Write an event with its outcome, or unchanged if its callee has too many events."""
        if event["why"] == "too many":
            self.write(event)
            return
        event["type"] = type(result).__name__
        if error is None:
            self.track(result, event["n"])
            event["result"] = self.plain_text(result)
        else:
            event["raised"] = type(error).__name__
        self.write(event)
        for one, before in self.plain.pop(event["n"], ()):
            after = self.plain_text(one)
            if before and after and before != after:
                self.write_effect(event, before, after)

    def write_effect(self, event, before, after):
        """Write an event for an argument that a call has changed."""
        self.n += 1
        call = event["expr"].replace(before, "value", 1)
        lines = [*event["lines"], f"value = {before}", call]
        self.write({**event, "n": self.n, "kind": "effect", "expr": "value", "lines": lines,
                    "raised": "", "result": after, "type": ""})

    def write(self, words):
        """Append a line to this process's file."""
        try:
            write(self.out, (json.dumps(words) + "\n").encode())
        except (OSError, ValueError):
            pass

    def plain_text(self, value):
        """Return the source form of a value that consists only of plain values, else None."""
        writer = SourceWriter(self)
        try:
            text = writer.text(value)
        except (RuntimeError, ValueError):
            return None
        return None if writer.uses or writer.lines else text


# pytest ------------------------------------------------------------------------------------------

@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests():
    """Begin recording before pytest imports anything of the project."""
    global recorder
    first = int(os.environ.setdefault(OUTERMOST, str(os.getpid())))
    is_worker = "PYTEST_XDIST_WORKER" in os.environ and first == os.getppid()
    if not hasattr(builtins, HOOK) and (is_worker or first == os.getpid()):
        recorder = CallRecorder()
        setattr(builtins, HOOK, recorder)
        sys.meta_path.insert(0, Finder())
    yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Set the test that runs."""
    if recorder is None:
        yield
        return
    before, recorder.test = recorder.test, item.nodeid
    recorder.thread.open = None
    yield
    recorder.test = before


def pytest_runtest_logreport(report):
    """Write the id of a test that did not pass, since its calls do not become facts."""
    if recorder is not None and report.outcome != "passed":
        recorder.write({"failed": report.nodeid})
