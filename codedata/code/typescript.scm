; Definitions in TypeScript that ecmascript.scm lacks. Signatures without a body define nothing that
; runs.

(abstract_class_declaration name: (_) @name body: (_) @body) @class
(internal_module name: (_) @name body: (_) @body) @scope
(module name: (_) @name body: (_) @body) @scope

(public_field_definition name: (_) @name value: [
  (function_expression body: (_) @body) (arrow_function body: (_) @body)
  (generator_function body: (_) @body)]) @function
(public_field_definition name: (_) @name value: (class body: (_) @body)) @class
(public_field_definition name: (_) @name value: (object) @body) @scope
