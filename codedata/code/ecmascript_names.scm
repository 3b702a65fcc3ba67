; Names in JavaScript and TypeScript, as far as their grammars agree: see python_names.scm.

(import_specifier name: (_) @used)
(member_expression property: (_) @used)
(call_expression function: (identifier) @used)
(new_expression constructor: (identifier) @used)
(pair key: (property_identifier) @key)
(shorthand_property_identifier) @key
(shorthand_property_identifier_pattern) @key
(function_declaration name: (_) @new)
(class_declaration name: (_) @new)
(method_definition name: (_) @new)
(export_specifier name: (_) @new)
(export_statement (lexical_declaration (variable_declarator name: (identifier) @new)))
(variable_declarator name: (identifier) @own)
((assignment_expression left: (member_expression object: (_) @self property: (_) @given))
  (#match? @self "^(this|module[.]exports|exports)$"))
