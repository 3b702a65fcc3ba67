; Definitions in JavaScript that ecmascript.scm lacks.

(field_definition property: (_) @name value: [
  (function_expression body: (_) @body) (arrow_function body: (_) @body)
  (generator_function body: (_) @body)]) @function
(field_definition property: (_) @name value: (class body: (_) @body)) @class
(field_definition property: (_) @name value: (object) @body) @scope
