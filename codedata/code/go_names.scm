; Names in Go: see python_names.scm. Tests of the same package use names without a selector.

[(identifier) (field_identifier) (type_identifier)] @used
(function_declaration name: (_) @given @own)
(method_declaration name: (_) @given @own)
(method_elem name: (_) @given)
(field_declaration name: (_) @given)
(type_spec name: (_) @given @own)
(const_spec name: (identifier) @given @own)
(var_spec name: (identifier) @given @own)
(short_var_declaration left: (expression_list (identifier) @own))
(range_clause left: (expression_list (identifier) @own))
(parameter_declaration name: (identifier) @own)
[(interpreted_string_literal_content) (raw_string_literal_content)] @text
