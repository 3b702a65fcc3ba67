; Parts of a test file in JavaScript or TypeScript that note what they do: recorded_javascript.py
; changes them. The form of a pattern is what stands for its @node: {name} is the changed text of a
; capture, {file} the file's path, {raw} the node's text as it was, both as literals. What is
; @inside loses its brackets. Later forms of a node are around earlier ones. @kept nodes have no
; form, and @raw nodes are not changed at all. What `start` gives goes before the first statement.

((call_expression
    function: (member_expression object: (_) @owner property: (property_identifier) @key)
    arguments: (arguments) @inside) @node
  (#not-match? @owner "[?]\\.|^(super|expect|it|test|specify|describe|suite|context)\\b")
  (#not-match? @node "^[^(]*[?]\\.")
  (#set! form "__cd.m({owner}, \"{key}\", [{inside}])"))
((call_expression function: (subscript_expression object: (_) @owner index: (_) @key)
    arguments: (arguments) @inside) @node
  (#not-match? @owner "[?]\\.|^(super|expect)\\b")
  (#not-match? @node "^[^(]*[?]\\.")
  (#set! form "__cd.m({owner}, {key}, [{inside}])"))
((call_expression function: [(identifier) (call_expression) (parenthesized_expression)] @callee
    arguments: (arguments) @inside) @node
  (#not-match? @callee "[?]\\.|^(require|eval)$")
  (#not-match? @callee "^(expect|it|test|specify|describe|suite|context)\\b")
  (#not-match? @callee "^(before|after)(Each|All)?$")
  (#not-match? @node "^[^(]*[?]\\.")
  (#set! form "__cd.c({callee}, [{inside}])"))
((call_expression function: (identifier) @callee arguments: (arguments . (string) @name)) @node
  (#eq? @callee "require")
  (#set! form "__cd.r({file}, {name}, require({name}))"))
((new_expression constructor: (_) @callee arguments: (arguments) @inside) @node
  (#set! form "__cd.n({callee}, [{inside}])"))

((member_expression object: (_) @owner property: (property_identifier) @key) @node
  (#not-match? @node "[?]\\.|^(super|import|module|exports|expect|it|test|describe)\\b")
  (#set! form "__cd.g({owner}, \"{key}\")"))
((subscript_expression object: (_) @owner index: (_) @key) @node
  (#not-match? @node "[?]\\.|^super\\b")
  (#set! form "__cd.g({owner}, {key})"))
((assignment_expression
    left: (member_expression object: (_) @owner property: (property_identifier) @key)
    right: (_) @value) @node
  (#not-match? @owner "[?]\\.|^(super|module|exports)\\b")
  (#set! form "__cd.p({owner}, \"{key}\", {value})"))
((assignment_expression left: (subscript_expression object: (_) @owner index: (_) @key)
    right: (_) @value) @node
  (#not-match? @owner "[?]\\.|^super\\b")
  (#set! form "__cd.p({owner}, {key}, {value})"))
(assignment_expression left: (_) @kept)
(augmented_assignment_expression left: (_) @kept)
(update_expression argument: (_) @kept)
(unary_expression "delete" argument: (_) @kept)
(for_in_statement left: (_) @kept)
(call_expression function: (_) @kept)
(array_pattern (_) @kept)
(pair_pattern value: (_) @kept)
(rest_pattern (_) @kept)
((call_expression function: (member_expression object: (identifier) @mocks)) @raw
  (#any-of? @mocks "jest" "vi"))

; the titles of tests; what runs before and after them has none
((call_expression function: (_) @callee
    arguments: (arguments . [(string) (template_string) (identifier) (member_expression)] @title
      [(arrow_function body: (statement_block) @node @inside)
       (function_expression body: (_) @node @inside)]))
  (#match? @callee "^(it|test|specify)\\b|\\.test$")
  (#set! form "{{ __cd.t(() => {title}); {inside} }}"))
((call_expression function: (_) @callee
    arguments: (arguments . [(string) (template_string) (identifier) (member_expression)] @title
      (arrow_function body: (expression) @node)))
  (#match? @callee "^(it|test|specify)\\b|\\.test$")
  (#set! form "(__cd.t(() => {title}), {node})"))
((call_expression function: (_) @callee
    arguments: (arguments [(arrow_function body: (statement_block) @node @inside)
                           (function_expression body: (_) @node @inside)]))
  (#match? @callee "^(describe|suite|context|before|after)((Each|All)?$|\\.)")
  (#set! form "{{ __cd.t(() => ''); {inside} }}"))

; functions that may be arguments of what is noted
((arguments [(arrow_function) (function_expression)] @node)
  (#not-match? @node "^(.|\n){300}")
  (#set! form "__cd.o({node}, {raw})"))

((import_statement (import_clause (identifier) @name) source: (_) @source)
  (#set! start "__cd.i({file}, {source}, 'default', () => {name}); "))
((import_statement (import_clause (namespace_import (identifier) @name)) source: (_) @source)
  (#set! start "__cd.i({file}, {source}, '*', () => {name}); "))
((import_statement
    (import_clause (named_imports (import_specifier name: (identifier) @name !alias)))
    source: (_) @source)
  (#set! start "__cd.i({file}, {source}, '{name}', () => {name}); "))
((import_statement
    (import_clause (named_imports (import_specifier name: (identifier) @name alias: (_) @alias)))
    source: (_) @source)
  (#set! start "__cd.i({file}, {source}, '{name}', () => {alias}); "))

; literals that are JSON, too
([(string) (number) (true) (false)] @literal
  (#match? @literal "^(\".*|true|false|[0-9.]+(e[+-]?[0-9]+)?)$"))
