; Definitions in Go. entities.py explains the captures.

(function_declaration name: (_) @name body: (_) @body) @function

(method_declaration
  receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @receiver
    (generic_type type: (_) @receiver)
    (pointer_type (type_identifier) @receiver)
    (pointer_type (generic_type type: (_) @receiver))]))
  name: (_) @name body: (_) @body) @method

(type_spec name: (_) @name type: (_) @body) @class

; functions that are assigned to one name
(var_spec name: (identifier) @name value: (expression_list . (func_literal body: (_) @body) .))
  @function
(short_var_declaration left: (expression_list . (identifier) @name .)
  right: (expression_list . (func_literal body: (_) @body) .)) @function

(type_declaration . (type_spec) @decorated .) @outer
(var_declaration . (var_spec) @decorated .) @outer
(comment) @comment
