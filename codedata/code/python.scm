; Definitions in Python. entities.py explains the captures.

(class_definition name: (identifier) @name ":" @head body: (block) @body) @class

(function_definition name: (identifier) @name ":" @head body: (block) @body) @function

(decorated_definition definition: (_) @decorated) @outer
(decorator) @decorator

; the first statement of a body; docstring_marks tells whether it is a docstring
(_ body: (block . (expression_statement . [(string) (concatenated_string)] @doc .)) @documented)
