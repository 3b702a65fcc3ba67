; What codedata/code/operators/several_places.py looks for in Python.
(identifier) @name
(call) @call
(function_definition) @function
(parameters [(default_parameter) (typed_default_parameter)] @option)
(expression_statement . (string) @doc .)
(pair value: [(identifier) @listed (attribute attribute: (identifier) @listed)])
(list [(identifier) @listed (attribute attribute: (identifier) @listed)])
(set [(identifier) @listed (attribute attribute: (identifier) @listed)])
(return_statement (_) @made)
