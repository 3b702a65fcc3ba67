; Definitions in JavaScript and TypeScript, as far as their grammars agree. entities.py explains the
; captures. A function has a name of its own or is assigned to one, in any of these ways:

(function_declaration name: (_) @name body: (_) @body) @function
(generator_function_declaration name: (_) @name body: (_) @body) @function
(class_declaration name: (_) @name body: (_) @body) @class
(method_definition name: (_) @name body: (_) @body) @function

(export_statement "default" @name value: [
  (function_expression body: (_) @body) (arrow_function body: (_) @body)
  (generator_function body: (_) @body)]) @function
(export_statement "default" @name value: (class body: (_) @body)) @class

(variable_declarator name: (identifier) @name value: [
  (function_expression body: (_) @body) (arrow_function body: (_) @body)
  (generator_function body: (_) @body)]) @function
(variable_declarator name: (identifier) @name value: (class body: (_) @body)) @class
(variable_declarator name: (identifier) @name value: (object) @body) @scope

(pair key: (_) @name value: [
  (function_expression body: (_) @body) (arrow_function body: (_) @body)
  (generator_function body: (_) @body)]) @function
(pair key: (_) @name value: (class body: (_) @body)) @class
(pair key: (_) @name value: (object) @body) @scope

; a, a.b, a.b.c and a.b.c.d
(assignment_expression
  left: [
    (identifier)
    (member_expression object: [(identifier) (this)
      (member_expression object: [(identifier) (this) (member_expression object: (identifier))])])
  ] @name
  right: [
    (function_expression body: (_) @body) (arrow_function body: (_) @body)
    (generator_function body: (_) @body)]) @function
(assignment_expression
  left: [
    (identifier)
    (member_expression object: [(identifier) (this)
      (member_expression object: [(identifier) (this) (member_expression object: (identifier))])])
  ] @name
  right: (class body: (_) @body)) @class
(assignment_expression
  left: [
    (identifier)
    (member_expression object: [(identifier) (this)
      (member_expression object: [(identifier) (this) (member_expression object: (identifier))])])
  ] @name
  right: (object) @body) @scope

(export_statement declaration: (_) @decorated) @outer
(lexical_declaration . (variable_declarator) @decorated .) @outer
(variable_declaration . (variable_declarator) @decorated .) @outer
(expression_statement . (assignment_expression) @decorated .) @outer
(decorator) @decorator
(comment) @comment
