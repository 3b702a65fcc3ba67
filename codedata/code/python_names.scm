; Names in Python. @used: names that another file may define. @given: names that a file defines, or
; that its callers write. @own: names that it defines, and docstrings. @text: string literals. @module:
; parts of the names of imported modules.

(import_from_statement name: [
  (dotted_name (identifier) @used) (aliased_import name: (dotted_name (identifier) @used))])
(import_from_statement module_name: (dotted_name (identifier) @module))
(import_statement name: (dotted_name (identifier) @module))
(attribute object: (identifier) @used)
(attribute attribute: (identifier) @used)
(call function: (identifier) @used)
(keyword_argument name: (identifier) @used)
; a class of the tests may set an attribute of its base
(class_definition body: (block (expression_statement (assignment left: (identifier) @used))))
(function_definition name: (identifier) @given @own)
(class_definition name: (identifier) @given @own)
(assignment left: (identifier) @given)
(aliased_import alias: (identifier) @given)
(parameters [(identifier) @given (_ . (identifier) @given)])
(assignment left: (attribute attribute: (_) @given))
(assignment left: (pattern_list [(identifier) @given (attribute attribute: (_) @given)]))
(string (string_content) @text)
(expression_statement (string (string_content) @own))
