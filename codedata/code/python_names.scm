; Names in Python. @used: of something that may lie in another file. @new: what a file defines, also
; for others; @top: the same, if it stands at the beginning of a line. @own: what it defines for
; itself. @given: what callers or readers have to name. @key: both @used and @given.

(import_from_statement name: [
  (dotted_name (identifier) @used) (aliased_import name: (dotted_name (identifier) @used))])
(attribute attribute: (identifier) @used)
(call function: (identifier) @used)
(keyword_argument name: (identifier) @used)
(function_definition name: (identifier) @new)
(class_definition name: (identifier) @new)
(assignment left: (identifier) @top)
(parameters [(identifier) @given (_ . (identifier) @given)])
((assignment left: (attribute object: (_) @self attribute: (_) @given)) (#eq? @self "self"))
