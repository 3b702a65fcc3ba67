; What codedata/code/operators/several_places.py looks for in Python.

(identifier) @name
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
[(default_parameter) (typed_default_parameter)] @option
[(expression_statement . (string) .) (comment)] @text
(pair value: [(identifier) @listed (attribute attribute: (identifier) @listed)])
[(list [(identifier) @listed (attribute attribute: (identifier) @listed)])
 (set [(identifier) @listed (attribute attribute: (identifier) @listed)])]

; How a use of a name (@at) is taken out, the first that applies: @item goes with its comma, of @site stays @keep.
; @falsy, @truthy: only with such a default. @callee: only if this function takes the
; name; @held: only if this is the name; @asked: only if this function asks for it.
(parameters [(default_parameter name: (identifier) @at) (typed_default_parameter name: (identifier) @at)] @item)
(call function: [(identifier) @callee (attribute attribute: (identifier) @callee)]
      arguments: (argument_list (keyword_argument name: (identifier) @at) @item))
(argument_list (keyword_argument value: [(identifier) (attribute)] @at) @item @falsy)
(call function: [(identifier) @callee (attribute attribute: (identifier) @callee)]
      arguments: (argument_list [(identifier) (attribute)] @at @item))
(pair value: [(identifier) (attribute)] @at) @item
(list [(identifier) (attribute)] @at @item)
(set [(identifier) (attribute)] @at @item)
(function_definition name: (identifier) @at) @site
(expression_statement (assignment left: (attribute) @at right: (identifier) @held)) @site

(if_statement condition: [(identifier) @at (attribute) @at
  (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (boolean_operator left: [(identifier) (attribute)] @at "and")
  (boolean_operator left: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)) "and")
  (boolean_operator "and" right: [(identifier) (attribute)] @at)
  (boolean_operator "and" right: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)))] !alternative) @site @falsy
(if_statement condition: [(identifier) @at (attribute) @at
  (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (boolean_operator left: [(identifier) (attribute)] @at "and")
  (boolean_operator left: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)) "and")
  (boolean_operator "and" right: [(identifier) (attribute)] @at)
  (boolean_operator "and" right: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)))] . consequence: (block) . alternative: (else_clause body: (block) @keep)) @site @falsy
(elif_clause condition: [(identifier) @at (attribute) @at
  (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (boolean_operator left: [(identifier) (attribute)] @at "and")
  (boolean_operator left: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)) "and")
  (boolean_operator "and" right: [(identifier) (attribute)] @at)
  (boolean_operator "and" right: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)))]) @site @falsy
(if_statement condition: [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))] . consequence: (block) @keep) @site @truthy
(if_statement condition: [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] . consequence: (block) @keep) @site @falsy
(if_statement condition: [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] !alternative) @site @truthy
(if_statement condition: [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] . consequence: (block) . alternative: (else_clause body: (block) @keep)) @site @truthy
(conditional_expression . (_) . [(identifier) @at (attribute) @at
  (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (boolean_operator left: [(identifier) (attribute)] @at "and")
  (boolean_operator left: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)) "and")
  (boolean_operator "and" right: [(identifier) (attribute)] @at)
  (boolean_operator "and" right: (comparison_operator . [(identifier) (attribute)] @at "is not" (none)))] . (_) @keep .) @site @falsy
(conditional_expression . (_) @keep . [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))] . (_) .) @site @truthy
(conditional_expression . (_) @keep . [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] . (_) .) @site @falsy
(conditional_expression . (_) . [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] . (_) @keep .) @site @truthy
(boolean_operator left: [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))] "or" right: (_) @keep) @site @falsy
(boolean_operator left: (_) @keep "or" right: [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))]) @site @falsy
(boolean_operator left: [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))] "and" right: (_) @keep) @site @falsy
(boolean_operator left: (_) @keep "and" right: [(not_operator argument: [(identifier) (attribute)] @at) (comparison_operator . [(identifier) (attribute)] @at "is" (none))]) @site @falsy
(boolean_operator left: [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))] "and" right: (_) @keep) @site @truthy
(boolean_operator left: (_) @keep "and" right: [(identifier) @at (attribute) @at (comparison_operator . [(identifier) (attribute)] @at "is not" (none))
  (call function: (identifier) @asked arguments: (argument_list . [(identifier) (attribute)] @at))]) @site @truthy
