; What codedata/code/operators/several_places.py looks for in Python.

(function_definition name: (identifier) @defined parameters: (parameters) @ordered)
; a name that is also imported from the standard library counts as defined twice
((import_from_statement module_name: (dotted_name . (identifier) @module) name: (dotted_name . (identifier) @defined .))
  (#any-of? @module "abc" "ast" "asyncio" "base64" "binascii" "bisect" "bz2" "calendar" "codecs" "collections" "concurrent"
    "contextlib" "copy" "csv" "ctypes" "dataclasses" "datetime" "decimal" "difflib" "email" "enum" "fnmatch" "fractions" "functools"
    "glob" "gzip" "hashlib" "heapq" "hmac" "html" "http" "importlib" "inspect" "io" "itertools" "json" "keyword" "locale" "logging"
    "lzma" "math" "mimetypes" "multiprocessing" "numbers" "operator" "os" "pathlib" "pickle" "pkgutil" "platform" "posixpath" "pprint"
    "queue" "random" "re" "secrets" "select" "shlex" "shutil" "signal" "socket" "ssl" "stat" "statistics" "string" "struct"
    "subprocess" "sys" "tempfile" "textwrap" "threading" "time" "timeit" "tokenize" "traceback" "types" "typing" "unicodedata"
    "unittest" "urllib" "uuid" "warnings" "weakref" "xml" "zipfile" "zlib" "zoneinfo"))
(call function: [(identifier) @called (attribute attribute: (identifier) @called)] arguments: (argument_list) @ordered)
(return_statement (_)? @ordered) @returned
(function_definition name: (identifier) @returned return_type: (type (generic_type (type_parameter) @ordered)))
(assignment left: (_) @ordered
  right: [(call function: [(identifier) @unpacked (attribute attribute: (identifier) @unpacked)])
    (await (call function: [(identifier) @unpacked (attribute attribute: (identifier) @unpacked)]))])
