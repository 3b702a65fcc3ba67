; The statements of Python that run: nodes that are @statement and not @nothing.
(module (_) @statement)
(block (_) @statement)
[(decorator) (elif_clause) (except_clause)] @statement
(decorated_definition definition: (_) @statement)

(comment) @nothing
(expression_statement . [(string) (concatenated_string) (ellipsis) (integer)] .) @nothing
[(global_statement) (nonlocal_statement)] @nothing
