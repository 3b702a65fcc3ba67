"""Break Python files: each of their functions raises when it is called, except by an import.

    python break_python.py < PATHS     a NUL after each path; prints the number of broken files

Modules can be imported as before. No text is removed.
"""
import ast
import sys

RAISE = """
import sys
frame = sys._getframe()
while frame and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
    frame = frame.f_back
if frame is None:
    raise AssertionError("codedata broke this function")
"""
GUARD = f"exec({RAISE!r}, {{}})".encode()


def starts(tree):
    """Return (line, column) of the first statement of each function, after its docstring."""
    places = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        body = node.body if ast.get_docstring(node) is None else node.body[1:]
        if body:
            first = [*getattr(body[0], "decorator_list", []), body[0]][0]
            places.append((first.lineno, body[0].col_offset))
    return sorted(set(places), reverse=True)


def broken(source):
    """Return the source of a module, in bytes, with GUARD at the start of each function."""
    lines = source.splitlines(keepends=True)
    for line, column in starts(ast.parse(source)):
        text = lines[line - 1]
        if text[:column].strip():   # the whole function is on one line
            lines[line - 1] = text[:column] + GUARD + b"; " + text[column:]
        else:
            lines.insert(line - 1, text[:column] + GUARD + b"\n")
    return b"".join(lines)


def main():
    """Break the files. A file that this Python cannot compile stays unchanged."""
    n_broken = 0
    for path in filter(None, sys.stdin.buffer.read().split(b"\0")):
        try:
            with open(path, "rb") as file:
                source = file.read()
            text = broken(source)
            compile(text, path, "exec")
            if text != source:
                with open(path, "wb") as file:
                    file.write(text)
                n_broken += 1
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    print(n_broken)


if __name__ == "__main__":
    main()
