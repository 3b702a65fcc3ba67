; Names in JavaScript and TypeScript, as far as their grammars agree: see python_names.scm.

(import_specifier name: (_) @used)
(member_expression property: (_) @used)
(call_expression function: (identifier) @used)
(new_expression constructor: (identifier) @used)
(pair key: (property_identifier) @used @given)
(shorthand_property_identifier) @used @given
(shorthand_property_identifier_pattern) @used @given
(function_declaration name: (_) @given @own)
(class_declaration name: (_) @given @own)
(method_definition name: (_) @given @own)
(export_specifier name: (_) @given)
(generator_function_declaration name: (_) @given @own)
(program (lexical_declaration (variable_declarator name: (identifier) @given)))
(export_statement (lexical_declaration (variable_declarator name: (identifier) @given)))
(variable_declarator name: (identifier) @own)
(assignment_expression left: (member_expression property: (_) @given))
(string_fragment) @text
