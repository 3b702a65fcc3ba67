; Names in TypeScript that ecmascript_names.scm lacks.

(property_signature name: (property_identifier) @given)
(public_field_definition name: (property_identifier) @given)
(method_signature name: (property_identifier) @given @own)
